//! What must hold while a simulation runs and when it has ended.

use super::{Last, Sim};
use sealpipe_core::{AckLevel, ConnectionError, Lost, Outcome, Received};
use std::collections::BTreeMap;

impl Sim {
    /// Never above what the configurations allow.
    pub(super) fn check_limits(&self, i: usize) {
        let program = &self.programs[i];
        let limits = self.limits[i];
        let stats = program.side.connection.stats();
        assert!(
            stats.queued <= limits.queue_messages,
            "the send queue is over its limit"
        );
        let owed: usize = program.owed.iter().map(|(_, size)| size).sum();
        assert!(
            stats.waiting + program.owed.len() <= limits.window_messages,
            "the window is over its messages"
        );
        assert!(owed <= limits.window_bytes, "the window is over its bytes");
    }

    pub(super) fn check(&self) {
        for i in [0, 1] {
            self.check_end(i);
            self.check_messages(i);
            self.check_resumed(i);
        }
    }

    fn check_end(&self, i: usize) {
        let (own, other) = (&self.programs[i], &self.programs[1 - i]);
        let end = own.side.closed().expect("the last event");
        let quiet = own.closed_at.is_none() && other.closed_at.is_none();
        match end {
            ConnectionError::Finished => {
                assert!(
                    own.finishing && other.finishing,
                    "finished, but not by both"
                );
            }
            ConnectionError::ClosedLocally(_) => {
                assert!(
                    !quiet || self.was_cut,
                    "{i} closed locally, but nobody asked for it: {}",
                    self.describe()
                );
            }
            ConnectionError::ClosedByPeer(_) => assert!(!quiet, "closed by nobody"),
            ConnectionError::Lost(lost) => {
                // A peer that closes before it is open has no goodbye to say.
                let unopened = other.closed_at.is_some()
                    && matches!(lost, Lost::Silent | Lost::Preface | Lost::Handshake);
                // One whose close timed out has none either.
                let timed_out = other.closed_at.is_some();
                assert!(self.was_cut || unopened || timed_out, "{i} lost: {lost}");
            }
            other => panic!("side {i} ended with a fault between two honest sides: {other}"),
        }
        if quiet && !self.was_cut {
            assert_eq!(*end, ConnectionError::Finished);
        }
        if let ConnectionError::ClosedByPeer(close) = end
            && other.last == Last::Close
            && other.closed_at.is_some()
            && own.closed_at.is_none()
        {
            assert_eq!(close.reason, "enough");
        }
    }

    fn check_messages(&self, i: usize) {
        let (own, other) = (&self.programs[i], &self.programs[1 - i]);
        let received: BTreeMap<u64, &Received> =
            other.received.iter().map(|(tag, m)| (*tag, m)).collect();
        let last = other.received.last().map_or(0, |(tag, _)| *tag);
        let peer_max = self.configs[1 - i].max_message();
        // What was in the peer's queue when its program closed: the next so many.
        let dropped = other.closed_at.map_or(0, |(_, waiting)| waiting);
        let dropped: Vec<u64> = own
            .sent
            .iter()
            .filter(|sent| {
                sent.tag > last && sent.outcome != Some(Outcome::NotSent) && sent.size <= peer_max
            })
            .filter(|sent| sent.id.is_some() || !sent.cancelled)
            .map(|sent| sent.tag)
            .take(dropped)
            .collect();
        let clean = !self.was_cut && own.closed_at.is_none() && other.closed_at.is_none();
        for sent in &own.sent {
            let here = received.contains_key(&sent.tag);
            let what = || format!("message {} of side {i}: {:?}", sent.tag, sent.outcome);
            let Some(_) = sent.id else {
                assert_eq!(sent.outcome, None);
                let missing = !here && sent.size <= peer_max;
                // What asks for no ack may be lost with a stream.
                let lossy = self.resuming.is_some() && sent.ack == AckLevel::None;
                let cut_off = !clean && (sent.tag > last || lossy);
                assert!(!missing || cut_off, "lost: {}", what());
                continue;
            };
            let outcome = sent
                .outcome
                .as_ref()
                .unwrap_or_else(|| panic!("no outcome: {}", what()));
            match (outcome, sent.ack) {
                (Outcome::Sent, AckLevel::None) => {
                    assert!(here || !clean, "{}", what());
                }
                (Outcome::Received, AckLevel::Received) => {
                    assert!(
                        here || dropped.contains(&sent.tag)
                            // Which ones it dropped is not known where some were lost.
                            || self.resuming.is_some() && other.closed_at.is_some(),
                        "never in the queue: {}",
                        what()
                    );
                }
                (Outcome::Processed, AckLevel::Processed) => {
                    assert_eq!(other.verdicts.get(&sent.tag), Some(&Ok(())), "{}", what());
                }
                (Outcome::Rejected(rejection), AckLevel::Processed) => {
                    assert_eq!(
                        other.verdicts.get(&sent.tag),
                        Some(&Err(rejection.clone())),
                        "{}",
                        what()
                    );
                }
                (Outcome::NotSent, _) => {
                    assert!(!here, "was delivered: {}", what());
                    let why = sent.cancelled || sent.short || sent.size > peer_max;
                    assert!(why || !clean, "without a reason: {}", what());
                }
                (Outcome::Unknown, _) => {
                    assert!(sent.short || !clean, "without a reason: {}", what())
                }
                _ => panic!("not an outcome of this level: {}", what()),
            }
            assert!(
                !sent.cancelled || *outcome == Outcome::NotSent,
                "withdrawn: {}",
                what()
            );
            if sent.tag < last && !here && self.resuming.is_none() {
                assert_eq!(*outcome, Outcome::NotSent, "a gap: {}", what());
            }
        }
    }
}
