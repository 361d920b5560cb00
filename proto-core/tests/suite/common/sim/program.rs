//! What the two programs do, and what they are told.

use super::{Last, Sent, Sim, payload};
use core::time::Duration;
use sealpipe_core::{AckLevel, Close, Event, Kind, Message, Received, Rejection, SendErrorReason};

impl Sim {
    pub(super) fn take_events(&mut self, i: usize) {
        let now = self.now;
        let reads = self.programs[i].takes_from <= now || self.programs[i].finishing;
        let mut got = Vec::new();
        if reads {
            // Sometimes not all at once.
            let most = if self.choices.percent(80) {
                usize::MAX
            } else {
                self.choices.below(3)
            };
            for _ in 0..most {
                let Some(message) = self.programs[i].side.connection.recv() else {
                    break;
                };
                got.push(message);
            }
        }
        for message in got {
            self.got(i, message);
        }
        if self.programs[i].side.connection.has_messages() {
            let program = &mut self.programs[i];
            program.wake = program
                .wake
                .min(now.saturating_add(Duration::from_millis(5)))
                .max(now);
        }
        while let Some(event) = self.programs[i].side.connection.poll_event() {
            if self.trace {
                println!("{:?} {:?} {event:?}", self.now, self.programs[i].role);
            }
            let program = &mut self.programs[i];
            match &event {
                Event::Outcome { id, outcome } => {
                    let sent = program
                        .sent
                        .iter_mut()
                        .find(|sent| sent.id == Some(*id))
                        .expect("an outcome of what was sent");
                    assert_eq!(sent.outcome, None, "a message has two outcomes");
                    sent.outcome = Some(outcome.clone());
                }
                Event::Pong { .. } => {
                    program.pongs += 1;
                    assert!(program.pongs <= program.pings);
                }
                _ => {}
            }
            program.side.events.push(event);
        }
    }

    fn got(&mut self, i: usize, message: Received) {
        if self.trace {
            println!(
                "{:?} {:?} got {} {:?} {}",
                self.now,
                self.programs[i].role,
                message.seq,
                message.ack,
                message.size()
            );
        }
        let tag = match (message.correlation(), &message.topic) {
            (Some(correlation), _) => correlation,
            (None, Some(topic)) => topic.trim_matches('x').parse().expect("a tag as topic"),
            (None, None) => {
                let bytes = message.payload.first_chunk::<8>().expect("a tag in front");
                u64::from_be_bytes(*bytes)
            }
        };
        let other = &self.programs[1 - i];
        let sent = other
            .sent
            .iter()
            .find(|sent| sent.tag == tag)
            .expect("what was never sent");
        assert_eq!(message.ack, sent.ack);
        assert_eq!(message.size(), sent.size);
        match message.kind {
            Kind::Message => assert_eq!(
                message.payload[8..],
                payload(tag, message.payload.len())[8..]
            ),
            _ => assert_eq!(message.payload, payload(tag, message.payload.len())),
        }
        let ack = message.ack;
        let (seq, size) = (message.seq, message.size());
        let program = &mut self.programs[i];
        if let Some((last, previous)) = program.received.last() {
            assert!(previous.seq < message.seq, "numbers do not rise");
            assert!(*last < tag, "out of order, or twice");
        }
        assert!(program.closed_at.is_none(), "a message after close");
        program.received.push((tag, message));
        if ack == AckLevel::Processed {
            program.owed.push((seq, size));
            if self.choices.percent(60) {
                self.settle(i, seq);
            }
        } else {
            let refused = self.programs[i].side.connection.settle(seq, Ok(()));
            assert!(refused.is_err(), "a verdict where none is due");
        }
    }

    fn settle(&mut self, i: usize, seq: u64) {
        let verdict = match self.choices.below(4) {
            0 => Err(Rejection::new(
                256 + seq,
                "no".repeat(self.choices.below(140)),
            )),
            _ => Ok(()),
        };
        let program = &mut self.programs[i];
        let tag = program
            .received
            .iter()
            .find(|(_, m)| m.seq == seq)
            .expect("received")
            .0;
        program.owed.retain(|(owed, _)| *owed != seq);
        if program.side.connection.settle(seq, verdict.clone()).is_ok() {
            program.verdicts.insert(tag, verdict);
            let again = program.side.connection.settle(seq, Ok(()));
            assert!(again.is_err(), "a second verdict");
        } else {
            assert!(
                program.side.connection.end().is_some(),
                "a verdict that is due was refused"
            );
        }
    }

    /// The program does something.
    pub(super) fn act(&mut self, i: usize) {
        let now = self.now;
        let pause = match self.choices.below(10) {
            0 => self.choices.below(200),
            1..=4 => 0,
            _ => self.choices.below(10),
        } as u64;
        // At least a little, so that time moves.
        self.programs[i].wake =
            now.saturating_add(Duration::from_millis(pause) + Duration::from_micros(10));
        if self.programs[i].side.connection.end().is_some() {
            return;
        }
        for _ in 0..self.programs[i].owed.len() {
            if self.choices.percent(40) || self.programs[i].finishing {
                let seq = self.programs[i].owed[0].0;
                self.settle(i, seq);
            }
        }
        if self.programs[i].steps_left == 0 {
            return self.last(i);
        }
        self.programs[i].steps_left -= 1;
        match self.choices.below(20) {
            0..=12 => {
                for _ in 0..self.choices.range(1, 4) {
                    self.send(i);
                }
            }
            13 if self.programs[i].cancels => {
                let from = self.programs[i].sent.len().saturating_sub(4);
                for at in from..self.programs[i].sent.len() {
                    let program = &mut self.programs[i];
                    let Some(id) = program.sent[at].id else {
                        continue;
                    };
                    if program.sent[at].outcome.is_some() {
                        assert!(
                            !program.side.connection.cancel(id),
                            "withdrew what has its outcome"
                        );
                    } else if program.side.connection.cancel(id) {
                        program.sent[at].cancelled = true;
                    } else {
                        program.sent[at].unwanted = true;
                    }
                }
            }
            14 => {
                let most = self.choices.below(300) as u64;
                self.programs[i].takes_from = now.saturating_add(Duration::from_millis(most));
            }
            15 => {
                self.programs[i].pings += 1;
                self.programs[i]
                    .side
                    .connection
                    .ping()
                    .expect("the native wire has pings");
            }
            16 => self.programs[i].side.connection.handle_idle(),
            17 => {
                // A permit, used or given back.
                let size = self.choices.below(self.configs[i].max_message() + 1);
                let program = &mut self.programs[i];
                if program.side.connection.reserve(size).is_ok() {
                    if self.choices.percent(50) {
                        self.send_sized(i, size, true);
                    } else {
                        self.programs[i].side.connection.unreserve(size);
                    }
                }
            }
            _ => {}
        }
    }

    fn last(&mut self, i: usize) {
        let now = self.now;
        let program = &mut self.programs[i];
        if program.finishing {
            return;
        }
        program.finishing = true;
        match program.last {
            Last::Finish => program.side.connection.finish(now),
            Last::Close => {
                program.closed_at = Some((now, program.side.connection.stats().waiting));
                program
                    .side
                    .connection
                    .close(now, Close::new(300 + i as u64, "enough"));
            }
            Last::Abandon => {
                program.closed_at = Some((now, program.side.connection.stats().waiting));
                program.side.connection.abandon(now);
            }
        }
    }

    fn send(&mut self, i: usize) {
        let max = self.configs[i].max_message();
        let size = match self.choices.below(12) {
            0 => 0,
            1 => max,
            2 => max + 1,
            3..=6 => self.choices.below(max + 1),
            _ => self.choices.below(max.min(300) + 1),
        };
        self.send_sized(i, size, false);
    }

    fn send_sized(&mut self, i: usize, size: usize, reserved: bool) {
        let tag = self.next_tag;
        let ack = self.choices.pick(&[
            AckLevel::None,
            AckLevel::Received,
            AckLevel::Processed,
            AckLevel::Processed,
        ]);
        let topic = format!("{tag}{}", "x".repeat(self.choices.below(4)));
        let room = size.saturating_sub(topic.len());
        let message = match self.choices.below(6) {
            0 if size >= topic.len() => Message::event(topic, payload(tag, room)),
            1 if size >= topic.len() => {
                let kind = self.choices.pick(&[Kind::Subscribe, Kind::Unsubscribe]);
                Message::subscription(kind, tag, topic)
            }
            2 | 3 if size >= 8 => {
                let mut bytes = payload(tag, size).to_vec();
                bytes[..8].copy_from_slice(&tag.to_be_bytes());
                Ok(Message::new(bytes))
            }
            _ => {
                let kind = self
                    .choices
                    .pick(&[Kind::Request, Kind::Reply, Kind::Error]);
                Message::correlated(kind, tag, payload(tag, size))
            }
        };
        let mut message = message.expect("valid").with_ack(ack);
        let actual = message.size();
        let short = self.programs[i].short_deadlines && self.choices.percent(30);
        if short {
            message = message.with_deadline(Duration::from_millis(self.choices.below(50) as u64));
        }
        let tracked = reserved || self.choices.percent(85);
        let own_max = self.configs[i].max_message();
        let peer_max = self.configs[1 - i].max_message();
        let program = &mut self.programs[i];
        let connection = &program.side.connection;
        let open = connection.is_open() || connection.is_suspended();
        let result = if reserved {
            program
                .side
                .connection
                .send_reserved(self.now, message, size)
                .map(Some)
        } else if tracked {
            program.side.connection.send(self.now, message).map(Some)
        } else {
            program
                .side
                .connection
                .send_untracked(self.now, message)
                .map(|()| None)
        };
        match result {
            Ok(id) => {
                assert!(actual <= own_max, "took what is too large");
                self.next_tag += 1;
                program.sent.push(Sent {
                    tag,
                    id,
                    ack,
                    size: actual,
                    outcome: None,
                    cancelled: false,
                    unwanted: false,
                    short,
                });
            }
            Err(error) => match error.reason {
                SendErrorReason::TooLarge { .. } => {
                    assert!(actual > own_max || open && actual > peer_max);
                }
                SendErrorReason::Full => assert!(!reserved, "a permit found no room"),
                SendErrorReason::Closed(_) => assert!(program.side.connection.end().is_some()),
                other => panic!("refused: {other}"),
            },
        }
    }
}
