//! Streams that are cut at random bytes, and the sessions that go on over others.

use super::{Choices, Link, Program, Sim};
use crate::common::Side;
use core::time::Duration;
use sealpipe_core::{
    AckLevel, Config, ConnectionError, Event, Outcome, RecvBuf, Role, SendBuf, Time,
};
use std::sync::Arc;

pub(super) struct Resuming {
    /// The cuts of the streams to come: which side's bytes, and after how many.
    cuts: Vec<(usize, u64)>,
    pub(super) resumed: usize,
    /// When the initiator tries again.
    again_at: Option<Time>,
}

impl Sim {
    pub(super) fn draw_cuts(&mut self) {
        let mut cuts = Vec::new();
        for _ in 0..self.choices.range(1, 8) {
            // The handshake takes some 200 bytes a side.
            let within = self.choices.pick(&[60, 300, 600, 1_500, 10_000]);
            cuts.push((self.choices.below(2), self.choices.below(within) as u64));
        }
        // Only what was open can be resumed.
        self.cut = cuts.pop().map(|(side, after)| (side, after + 300));
        self.resuming = Some(Resuming {
            cuts,
            resumed: 0,
            again_at: None,
        });
    }

    /// When the initiator opens another stream, if it does.
    pub(super) fn reconnects_at(&self) -> Option<Time> {
        let [initiator, responder] = &self.programs;
        let wants = initiator.read_end
            && initiator.side.connection.is_suspended()
            && responder.side.connection.end().is_none();
        let at = self.resuming.as_ref().filter(|_| wants)?.again_at;
        Some(at.unwrap_or(self.now))
    }

    pub(super) fn reconnect(&mut self) {
        let now = self.now;
        if self.reconnects_at().is_none_or(|at| at > now) {
            return;
        }
        let resuming = self.resuming.as_mut().expect("it reconnects");
        if resuming.again_at.take().is_none() && self.choices.percent(50) {
            let pause = self.choices.below(50) as u64;
            resuming.again_at = Some(now.saturating_add(Duration::from_millis(pause)));
            return;
        }
        self.cut = resuming.cuts.pop();
        // What the responder had not read of the old stream it reads first.
        let [initiator, responder] = &mut self.programs;
        if !responder.read_end {
            for (_, bytes) in core::mem::take(&mut self.links[0].chunks) {
                responder.read(now, &bytes, &mut self.resuming);
            }
            responder.eof(now);
        }
        self.links = [0, 1].map(|_| Link {
            last_arrival: now,
            ..Link::default()
        });
        initiator.new_stream();
        let rng = &mut self.choices.rng;
        let resumed = initiator.side.connection.resume(rng, now);
        resumed.expect("it is suspended");
        let config: Arc<Config> = self.configs[1].clone();
        responder.read_end = false;
        responder.fresh = Some(Side::new(config, Role::Responder, rng.next(), now));
    }

    /// Where both sides came to a good end, nothing that asked for an ack was lost.
    pub(super) fn check_resumed(&self, i: usize) {
        let (own, other) = (&self.programs[i], &self.programs[1 - i]);
        let finished = [own, other]
            .iter()
            .all(|p| *p.side.closed().expect("checked") == ConnectionError::Finished);
        if self.resuming.is_none() || !finished {
            return;
        }
        let stats = own.side.connection.stats();
        assert_eq!((stats.queued, stats.queued_bytes, stats.waiting), (0, 0, 0));
        for sent in &own.sent {
            let what = format!("message {} of side {i}: {:?}", sent.tag, sent.outcome);
            let times = other.received.iter().filter(|(tag, _)| *tag == sent.tag);
            let times = times.count();
            assert!(times <= 1, "twice: {what}");
            let fits = sent.size <= self.configs[1 - i].max_message();
            let wanted = !sent.short && !sent.cancelled && !sent.unwanted && fits;
            if sent.ack == AckLevel::None || !wanted {
                continue;
            }
            assert_eq!(times, 1, "lost: {what}");
            let told = match sent.ack {
                AckLevel::Received => sent.outcome == Some(Outcome::Received),
                _ => matches!(
                    sent.outcome,
                    Some(Outcome::Processed | Outcome::Rejected(_))
                ),
            };
            assert!(told || sent.id.is_none(), "{what}");
        }
    }
}

/// Some of what was on its way is lost with the stream.
pub(super) fn lose(choices: &mut Choices, links: &mut [Link; 2]) {
    for link in links {
        if choices.percent(50) {
            let keep = choices.below(link.chunks.len() + 1);
            link.chunks.truncate(keep);
            if let Some((_, last)) = link.chunks.back_mut() {
                let keep = choices.range(1, last.len());
                last.truncate(keep);
            }
        }
        link.held = link.chunks.iter().map(|(_, bytes)| bytes.len()).sum();
    }
}

impl Program {
    /// Buffers belong to a stream.
    fn new_stream(&mut self) {
        self.side.input = RecvBuf::new();
        self.side.output = SendBuf::new();
        self.read_end = false;
    }

    pub(super) fn read(&mut self, now: Time, bytes: &[u8], resuming: &mut Option<Resuming>) {
        let Some(fresh) = &mut self.fresh else {
            return self.side.feed(now, bytes);
        };
        fresh.feed(now, bytes);
        while let Some(event) = self.fresh.as_mut().and_then(|f| f.connection.poll_event()) {
            match event {
                Event::ResumeAsked { session } => {
                    let connection = &self.side.connection;
                    assert_eq!(connection.session(), Some(session));
                    let point = connection.resume_point();
                    assert!(point.is_some(), "the old stream has ended");
                    let fresh = self.fresh.as_mut().expect("it asked");
                    fresh.connection.answer_resume(now, point);
                }
                Event::ResumeReady => {
                    let mut fresh = self.fresh.take().expect("it is ready");
                    self.new_stream();
                    (self.side.input, self.side.output) = (fresh.input, fresh.output);
                    let adopted = self.side.connection.adopt(now, &mut fresh.connection);
                    adopted.expect("nothing has happened since");
                    let _ = self.side.connection.handle_input(now, &mut self.side.input);
                    resuming.as_mut().expect("it resumes").resumed += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn eof(&mut self, now: Time) {
        // An attempt that came to nothing.
        match self.fresh.take() {
            Some(_) => {}
            None => self.side.eof(now),
        }
    }
}
