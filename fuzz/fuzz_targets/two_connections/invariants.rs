//! What must hold: at any time, and of what each side was told once both have come to
//! their end.

use crate::{Party, Sent, World};
use sealpipe_core::{AckLevel, ConnectionError, Event, MessageId, Outcome, SendErrorReason};

impl World {
    /// Looks at the events, and at what must always hold.
    pub(crate) fn look(&mut self, i: usize) {
        let (window, window_messages, queue_messages) = self.limits[i];
        let party = &mut self.parties[i];
        party.side.take(false);
        for at in party.looked..party.side.events.len() {
            match &party.side.events[at] {
                Event::Open(_) => assert_eq!(at, party.opened_at(), "open, but not at once"),
                Event::Outcome { id, outcome } => {
                    let mut sent = party.sent.iter_mut().filter(|sent| sent.id == Some(*id));
                    let sent = sent.next().expect("an outcome of what was sent");
                    assert_eq!(sent.outcome, None, "two outcomes");
                    sent.outcome = Some(outcome.clone());
                }
                // Numbers may be left out where streams were lost.
                Event::Cancelled { seq } => assert!(
                    self.streams > 0 || *seq < party.side.connection.stats().messages_received
                ),
                Event::Suspended(why) => {
                    assert!(self.resumes, "not to be resumed: {why}");
                }
                Event::Resumed(_) => assert!(self.streams > 0),
                Event::Pong { .. } => party.pongs += 1,
                Event::PeerFinished => assert!(party.side.connection.peer_finished()),
                Event::Closed(why) => assert_eq!(party.side.connection.end(), Some(why)),
                other => panic!("unknown: {other:?}"),
            }
        }
        party.looked = party.side.events.len();
        assert!(party.pongs <= party.pings);
        let stats = party.side.connection.stats();
        // What leaves nothing behind goes past what may have to be sent again.
        let again = usize::from(self.streams > 0);
        assert!(
            stats.queued <= queue_messages * (1 + again),
            "the queue is over its limit"
        );
        assert!(
            stats.waiting + party.owed.len() <= window_messages,
            "the window is over its messages"
        );
        assert!(party.owed.iter().map(|(_, _, size)| size).sum::<usize>() <= window);
        if let Some(why) = party.side.connection.end() {
            let fault = matches!(
                why,
                ConnectionError::Violation(_)
                    | ConnectionError::Authentication(_)
                    | ConnectionError::Internal(_)
                    | ConnectionError::Mismatch(_)
                    | ConnectionError::Refused(_)
                    | ConnectionError::Timeout(_)
                    | ConnectionError::KeysUsedUp
            );
            // A responder that has ended has no session for those who come back.
            let late = self.streams > 0 && matches!(why, ConnectionError::Refused(_));
            assert!(!fault || late, "between two honest sides: {why}");
            assert!(!party.side.connection.is_open());
        }
    }

    pub(crate) fn check(&self) {
        for i in [0, 1] {
            let (own, other) = (&self.parties[i], &self.parties[1 - i]);
            let end = own.side.closed().expect("the last event");
            let quiet = !own.closes && !other.closes && !self.cut;
            match end {
                ConnectionError::Finished => assert!(own.finishes && other.finishes),
                ConnectionError::ClosedLocally(_) => assert!(!quiet),
                ConnectionError::ClosedByPeer(_) => assert!(other.closes, "closed by nobody"),
                ConnectionError::Lost(_) => assert!(!quiet, "lost by nobody"),
                ConnectionError::Refused(_) => assert!(self.streams > 0 && !quiet),
                end => panic!("an end that cannot be: {end}"),
            }
            assert!(!quiet || *end == ConnectionError::Finished);
            // Whatever was cut, nothing that asked for an ack is lost then.
            let other_end = other.side.closed().expect("the last event");
            let whole = [end, other_end] == [&ConnectionError::Finished; 2];
            for (tag, sent) in own.sent.iter().enumerate() {
                let keeps = sent.ack != AckLevel::None && !sent.unwanted;
                let quiet = quiet || self.streams > 0 && whole && keeps;
                self.check_message(i, tag, sent, quiet);
            }
            let all = own
                .sent
                .iter()
                .enumerate()
                .filter(|(_, sent)| sent.id.is_some() && sent.outcome != Some(Outcome::NotSent))
                .filter(|(_, sent)| {
                    // A cut may take these with it for good.
                    let lasts =
                        sent.ack != AckLevel::None && sent.outcome != Some(Outcome::Unknown);
                    self.streams == 0 || lasts
                })
                .all(|(tag, _)| other.has(tag));
            if own.side.connection.all_arrived() && !other.closes {
                assert!(all, "all arrived, it said");
            }
        }
    }

    fn check_message(&self, i: usize, tag: usize, sent: &Sent, quiet: bool) {
        let other = &self.parties[1 - i];
        let here = other.has(tag);
        let fits = sent.size <= other.max_message;
        if sent.id.is_none() {
            assert_eq!(sent.outcome, None);
            assert!(here || !quiet || !fits, "an untracked message was lost");
            return;
        }
        let what = format!("message {tag} of side {i}: {:?}", sent.outcome);
        assert!(
            !sent.cancelled || sent.outcome == Some(Outcome::NotSent),
            "{what}"
        );
        match (sent.outcome.as_ref().expect("an outcome"), sent.ack) {
            (Outcome::Sent, AckLevel::None) => assert!(here || !quiet, "{what}"),
            (Outcome::Received, AckLevel::Received) => assert!(here || other.closes, "{what}"),
            (Outcome::Processed, AckLevel::Processed) => {
                assert_eq!(other.verdicts.get(&tag), Some(&Ok(())), "{what}");
            }
            (Outcome::Rejected(why), AckLevel::Processed) => {
                assert_eq!(other.verdicts.get(&tag), Some(&Err(why.clone())), "{what}");
            }
            (Outcome::NotSent, _) => {
                assert!(!here, "delivered: {what}");
                assert!(!quiet || sent.cancelled || sent.short || !fits, "{what}");
            }
            (Outcome::Unknown, _) => assert!(!quiet || sent.short, "{what}"),
            _ => panic!("not an outcome of this level: {what}"),
        }
    }
}

impl Party {
    pub(crate) fn accepted(
        &mut self,
        id: Option<MessageId>,
        ack: AckLevel,
        size: usize,
        short: bool,
    ) {
        assert!(size <= self.max_message, "took what is too large");
        assert!(!self.finishes && !self.closes, "took one after the end");
        self.sent.push(Sent {
            id,
            ack,
            size,
            outcome: None,
            cancelled: false,
            unwanted: false,
            short,
        });
    }

    pub(crate) fn refused(&self, reason: &SendErrorReason, size: usize) {
        match reason {
            SendErrorReason::TooLarge { max, .. } => assert!(size > *max),
            SendErrorReason::Finished => assert!(self.finishes || self.closes),
            SendErrorReason::Closed(why) => {
                assert!(self.closes || self.side.connection.end() == Some(why));
            }
            _ => assert_eq!(*reason, SendErrorReason::Full),
        }
    }

    fn has(&self, tag: usize) -> bool {
        self.got.binary_search_by_key(&tag, |(tag, _)| *tag).is_ok()
    }

    /// Only outcomes of what was withdrawn or expired come before `Open`.
    fn opened_at(&self) -> usize {
        let events = self.side.events.iter();
        events
            .take_while(|event| {
                matches!(
                    event,
                    Event::Outcome {
                        outcome: Outcome::NotSent,
                        ..
                    }
                )
            })
            .count()
    }
}
