//! Messages that are sent past the queue.

use crate::common;
use bytes::Buf;
use common::woken::counted;
use common::{Pair, Rng, Side, builder, message};
use sealpipe_core::session::{Session, Waiters};
use sealpipe_core::{
    AckLevel, Close, ConfigBuilder, Message, MessageId, Outcome, RecvBuf, SendBuf, Time,
};
use std::time::Duration;

/// A session, what its driver holds, and its peer.
struct Sender {
    now: Time,
    session: Session,
    waiters: Waiters,
    input: RecvBuf,
    output: SendBuf,
    peer: Side,
}

impl Sender {
    fn new(builder: ConfigBuilder) -> Sender {
        let Pair {
            now,
            client,
            server,
            ..
        } = Pair::open(builder);
        Sender {
            now,
            session: Session::new(client.connection),
            waiters: Waiters::new(),
            input: client.input,
            output: client.output,
            peer: server,
        }
    }

    fn through(&mut self, message: &Message) -> Option<u64> {
        self.session
            .send_through(message, &mut self.output, &mut self.waiters)
    }

    fn expect(&mut self, seq: u64, message: &Message) -> Option<MessageId> {
        self.session
            .expect_through(self.now, seq, message, &self.output)
    }

    fn send(&mut self, message: Message) -> MessageId {
        self.session.send(self.now, message).expect("room")
    }

    fn fill(&mut self) -> bool {
        self.session
            .poll_transmit(self.now, &mut self.output, &mut self.waiters)
    }

    /// The stream takes at most `n` bytes, and the peer has them at once.
    fn write(&mut self, n: usize) {
        let n = n.min(self.output.chunk().len());
        self.peer.feed(self.now, &self.output.chunk()[..n]);
        self.output.advance(n);
    }

    fn write_all(&mut self) {
        while self.fill() {
            self.write(usize::MAX);
        }
    }

    /// The peer's program takes what has come and accepts it; its bytes come back.
    fn answer(&mut self) {
        let taken = self.peer.received.len();
        self.peer.connection.handle_idle();
        self.peer.take(true);
        for message in &self.peer.received[taken..] {
            if message.ack == AckLevel::Processed {
                let settled = self.peer.connection.settle(message.seq, Ok(()));
                settled.expect("a verdict is due");
            }
        }
        self.input.fill_from(&self.peer.take_output(self.now));
        self.session
            .handle_input(self.now, &mut self.input, &mut self.waiters);
    }
}

#[test]
fn order_and_outcomes_are_those_of_the_queue() {
    use AckLevel::{None, Processed, Received};
    let mut ways = [0; 3];
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut sender = Sender::new(
            builder(false)
                .receive_window(64 << 10, 64)
                .max_message(8 << 10),
        );
        let (mut payloads, mut outcomes) = (Vec::new(), Vec::new());
        for number in 0u32..60 {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(rng.pick(&[4, 5, 64, 1_000, 5_000]), 7);
            let message = message(
                payload.clone(),
                rng.pick(&[None, None, Received, Processed]),
            );
            if let Some(seq) = sender.through(&message) {
                assert_eq!(message.ack(), None);
                sender.write(rng.pick(&[0, 1, 30, usize::MAX, usize::MAX]));
                if sender.output.has_remaining() {
                    let id = sender.expect(seq, &message).expect("it has not ended");
                    assert_eq!(sender.session.take_outcome(id), Option::None, "seed {seed}");
                    outcomes.push((id, Outcome::Sent));
                    ways[1] += 1;
                } else {
                    ways[0] += 1;
                }
            } else {
                let outcome = match message.ack() {
                    None => Outcome::Sent,
                    Received => Outcome::Received,
                    Processed => Outcome::Processed,
                };
                outcomes.push((sender.send(message), outcome));
                ways[2] += 1;
            }
            payloads.push(payload);
            if rng.percent(30) && sender.fill() {
                sender.write(rng.range(0, 2_000));
            }
            if rng.percent(30) {
                sender.write_all();
            }
            if rng.percent(20) {
                sender.answer();
            }
        }
        while sender.peer.connection.stats().messages_received < 60 {
            sender.write_all();
            sender.answer();
        }
        sender.write_all();
        sender.answer();
        assert_eq!(sender.peer.payloads(), payloads, "seed {seed}");
        for (id, outcome) in outcomes {
            let told = sender.session.take_outcome(id);
            assert_eq!(told, Some(outcome), "seed {seed}");
        }
        let stats = sender.session.connection().stats();
        assert_eq!((stats.messages_sent, stats.queued_bytes), (60, 0));
    }
    assert!(ways.iter().all(|&way| way > 500), "{ways:?}");
}

#[test]
fn acks_go_along() {
    for sealed in [false, true] {
        let mut sender = Sender::new(builder(sealed));
        let id = sender
            .peer
            .connection
            .send(sender.now, message("x", AckLevel::Received))
            .expect("room");
        sender.answer();
        assert!(sender.through(&Message::new("y")).is_some());
        sender.write(usize::MAX);
        sender.peer.take(true);
        assert_eq!(sender.peer.outcome(id), Some(Outcome::Received));
    }
}

#[test]
fn what_has_to_wait_does() {
    let small = Message::new("x");
    let refused = |why: &str, builder: ConfigBuilder, spoil: fn(&mut Sender)| {
        let mut sender = Sender::new(builder);
        spoil(&mut sender);
        let made = sender.output.remaining();
        assert_eq!(sender.through(&Message::new("x")), None, "{why}");
        assert_eq!(sender.output.remaining(), made, "{why}");
    };
    let plain = || builder(false);
    refused("one that may go on", plain().resumption(true), |_| {});
    refused("another is queued", plain(), |sender| {
        sender.send(Message::new("x"));
    });
    refused("another is under way", plain(), |sender| {
        sender.send(Message::new("x"));
        assert!(sender.fill());
    });
    refused("the program has finished", plain(), |sender| {
        let now = sender.now;
        sender
            .session
            .with(&mut sender.waiters, |core| core.finish(now));
    });
    refused("it is closed", plain(), |sender| {
        let (now, why) = (sender.now, Close::new(Close::GOING_AWAY, ""));
        sender
            .session
            .with(&mut sender.waiters, |core| core.close(now, why));
    });
    refused("writing has failed", plain(), |sender| {
        sender.session.handle_write_failed(&mut sender.waiters);
    });
    refused("a PING is due", plain(), |sender| {
        sender.session.ping().expect("a wire with PINGs");
    });
    refused(
        "the peer takes no more",
        plain().receive_window(32 << 20, 1),
        |sender| {
            assert!(sender.through(&Message::new("first")).is_some());
            sender.write(usize::MAX);
        },
    );
    let mut sender = Sender::new(plain().max_message(2 << 10));
    for message in [
        small.clone().with_ack(AckLevel::Received),
        Message::request("x"),
        Message::event("a", "x").expect("a topic"),
        Message::new(vec![0; (2 << 10) + 1]),
    ] {
        assert_eq!(sender.through(&message), None, "{message:?}");
        assert!(!sender.output.has_remaining());
    }
    assert!(sender.through(&small).is_some());
}

/// The stream takes nothing any more.
#[test]
fn what_is_not_written_has_an_outcome_too() {
    let mut sender = Sender::new(builder(false));
    let late = Message::new("x").with_deadline(Duration::from_secs(1));
    let seq = sender.through(&late).expect("nothing is before it");
    let id = sender.expect(seq, &late).expect("it has not ended");
    sender.now = sender.now.saturating_add(Duration::from_secs(1));
    let now = sender.now;
    sender.session.background(now, true, &mut sender.waiters);
    assert_eq!(sender.session.take_outcome(id), Some(Outcome::Unknown));

    let mut sender = Sender::new(builder(false));
    let message = Message::new("x");
    let seq = sender.through(&message).expect("nothing is before it");
    let id = sender.expect(seq, &message).expect("it has not ended");
    sender
        .session
        .handle_eof(sender.now, &sender.input, &mut sender.waiters);
    assert_eq!(sender.session.take_outcome(id), Some(Outcome::Unknown));
    // Another thread has found the end while this one wrote.
    assert_eq!(sender.expect(seq, &message), None);
    assert_eq!(sender.session.connection().stats().unknown, 2);
}

/// While one thread writes, another may send what nobody asks the outcome of.
#[test]
fn others_may_follow_before_it_is_written() {
    let mut sender = Sender::new(builder(false));
    let message = Message::new("first");
    let seq = sender.through(&message).expect("nothing is before it");
    sender.write(1);
    let second = sender
        .session
        .send_untracked(sender.now, Message::new("second"));
    second.expect("room");
    let id = sender.expect(seq, &message).expect("it has not ended");
    sender.write(usize::MAX);
    sender.peer.take(true);
    let close = Close::new(Close::GOING_AWAY, "the first is enough");
    sender.peer.connection.close(sender.now, close);
    sender.answer();
    assert_eq!(sender.peer.payloads(), [b"first"]);
    assert_eq!(sender.session.take_outcome(id), Some(Outcome::Sent));
}

/// The time that it does not ask for must not rouse the background at each message.
#[test]
fn the_background_sleeps_through_a_conversation() {
    let mut sender = Sender::new(builder(false));
    let (background, woken) = counted();
    sender.waiters.set_background(&background);
    let mut look_at = sender.now;
    let (mut looks, mut seen) = (0, 0);
    for _ in 0..1_000 {
        sender.now = sender.now.saturating_add(Duration::from_millis(1));
        assert!(sender.through(&Message::new("x")).is_some());
        sender.write(usize::MAX);
        sender.session.leave(true, &mut sender.waiters);
        sender.waiters.take_woken().wake();
        let roused = woken() > seen;
        seen = woken();
        if roused || look_at <= sender.now {
            looks += 1;
            sender
                .session
                .background(sender.now, true, &mut sender.waiters);
            look_at = sender.session.background_sleeps().expect("a next look");
        }
    }
    // One each 50 ms.
    assert!(looks <= 25, "{looks}");
}
