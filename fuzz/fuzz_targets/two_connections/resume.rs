//! What drivers do for a session that goes on over another stream.

use crate::{Party, World};
use sealpipe_core::{Event, Role, Time, wire::Status};
use sealpipe_fuzz::common::{Rng, Side, lossy::new_stream};

impl World {
    /// The initiator opens another stream, if it is suspended and the responder is not
    /// at its end; says whether it did.
    pub(crate) fn reconnect(&mut self) -> bool {
        let wants = self.parties[0].side.connection.wants_stream();
        if !wants || !self.parties[0].read_end || self.parties[1].gone {
            return false;
        }
        // What the responder has not read of the old stream it reads first.
        self.read(1, usize::MAX);
        self.look(1);
        let [initiator, responder] = &mut self.parties;
        if responder.side.connection.end().is_some() {
            return false;
        }
        self.wires = Default::default();
        self.broken = [false; 2];
        self.streams += 1;
        let resumed = initiator
            .side
            .connection
            .resume(&mut Rng(self.streams), self.now);
        resumed.expect("suspended");
        let config = responder.side.connection.config().clone();
        let fresh = Side::new(config.into(), Role::Responder, !self.streams, self.now);
        responder.fresh = Some(fresh);
        initiator.read_end = false;
        responder.read_end = false;
        true
    }

    /// What the responder's driver does with a stream that is to be resumed over.
    pub(crate) fn answer(&mut self, i: usize) {
        let (now, party) = (self.now, &mut self.parties[i]);
        while let Some(fresh) = &mut party.fresh
            && let Some(event) = fresh.connection.poll_event()
        {
            match event {
                Event::ResumeAsked { .. } => match party.side.connection.resume_point() {
                    Some(point) => fresh.connection.answer_resume(now, Some(point)),
                    None => fresh.connection.refuse(Status::Busy),
                },
                Event::ResumeReady => {
                    let adopted = party.side.connection.adopt(now, &mut fresh.connection);
                    if let Some(fresh) = party.fresh.take_if(|_| adopted.is_ok()) {
                        (party.side.input, party.side.output) = (fresh.input, fresh.output);
                        let _ = party
                            .side
                            .connection
                            .handle_input(now, &mut party.side.input);
                    } else {
                        assert!(party.side.connection.end().is_some(), "{adopted:?}");
                    }
                }
                Event::Closed(_) => {
                    self.wires[i].extend(fresh.take_output(now));
                    self.broken = [true; 2];
                    party.read_end = true;
                    party.fresh = None;
                }
                other => panic!("unknown: {other:?}"),
            }
        }
    }
}

impl Party {
    pub(crate) fn end_of_stream(&mut self, now: Time) {
        if self.fresh.take().is_some() {
            return;
        }
        self.side.eof(now);
        if self.side.connection.is_suspended() {
            new_stream(&mut self.side);
        }
    }
}
