//! Both directions at once, full windows, many hands on one connection.

use sealpipe_driver::{
    SendError,
    vocabulary::{
        AckLevel, Close, Config, ConfigBuilder, ConnectionError, Message, Outcome, SendErrorReason,
    },
};
use sealpipe_tests::{
    Adapter, Random,
    api::{Connection, Permit},
    connected, eventually, modes, within,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

sealpipe_tests::on_every_adapter! {
    both_send_as_fast_as_they_can_and_neither_reads_for_a_while,
    both_close_while_their_windows_are_full,
    a_full_queue_hands_the_message_back,
    a_permit_keeps_its_room,
    finishing_with_full_windows_delivers_all;
    on two threads:
        the_same_from_two_tasks_a_side,
        many_senders_at_once,
        what_is_refused_holds_up_nobody
}

const SOON: Duration = Duration::from_secs(10);
/// Messages that a window takes.
pub(crate) const WINDOW: usize = 4;

/// Windows and queues of a few messages.
pub(crate) fn small(builder: ConfigBuilder) -> Config {
    builder
        .max_message(4096)
        .receive_window(4 * 4096, WINDOW)
        .send_queue(4 * 4096, 8)
        .build()
        .unwrap()
}

/// A message that says its number, of some length, at some ack level.
pub(crate) fn numbered(n: u32, random: &mut Random) -> Message {
    let mut payload = n.to_be_bytes().to_vec();
    payload.resize(4 + random.below(4000) as usize, n as u8);
    Message::new(payload).with_ack(match n % 3 {
        0 => AckLevel::None,
        1 => AckLevel::Received,
        _ => AckLevel::Processed,
    })
}

pub(crate) fn number(payload: &[u8]) -> u32 {
    assert!(payload[4..].iter().all(|byte| *byte == payload[3]));
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

async fn send_all(connection: &impl Connection, count: u32) {
    let mut random = Random::new(u64::from(count));
    for n in 0..count {
        let message = numbered(n, &mut random);
        // As fast as room comes: the outcome is not waited for.
        let permit = connection.reserve().await.unwrap();
        drop(permit.send(message).unwrap());
    }
}

async fn receive_all(connection: &impl Connection, count: u32) {
    for n in 0..count {
        let message = connection.recv().await.unwrap().unwrap();
        assert_eq!(number(&message.payload), n);
        message.accept();
    }
}

async fn both_send_as_fast_as_they_can_and_neither_reads_for_a_while<R: Adapter>() {
    const COUNT: u32 = 2_000;
    for (name, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let reads = async {
                eventually(SOON, "both windows are full", || {
                    a.stats().waiting == WINDOW && b.stats().waiting == WINDOW
                })
                .await;
                tokio::join!(receive_all(&a, COUNT), receive_all(&b, COUNT));
            };
            tokio::join!(send_all(&a, COUNT), send_all(&b, COUNT), reads);
            let (end, other) = tokio::join!(a.finish(), b.finish());
            end.unwrap();
            other.unwrap();
            for side in [&a, &b] {
                assert_eq!(side.end(), Some(ConnectionError::Finished), "{name}");
                assert_eq!(side.stats().messages_received, u64::from(COUNT));
                assert_eq!((side.stats().not_sent, side.stats().unknown), (0, 0));
            }
        })
        .await;
    }
}

async fn the_same_from_two_tasks_a_side<R: Adapter>() {
    const COUNT: u32 = 5_000;
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let mut tasks = Vec::new();
            for side in [a, b] {
                let sender = Arc::new(side);
                let receiver = sender.clone();
                tasks.push(tokio::spawn(async move {
                    let mut random = Random::new(u64::from(COUNT));
                    for n in 0..COUNT {
                        let permit = sender.reserve().await.unwrap();
                        drop(permit.send(numbered(n, &mut random)).unwrap());
                    }
                    sender.finish().await.unwrap();
                }));
                tasks.push(tokio::spawn(async move {
                    for n in 0..COUNT {
                        let message = receiver.recv().await.unwrap().unwrap();
                        assert_eq!(number(&message.payload), n);
                        message.accept();
                    }
                    assert!(receiver.recv().await.unwrap().is_none());
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        })
        .await;
    }
}

async fn both_close_while_their_windows_are_full<R: Adapter>() {
    for (name, builder) in modes() {
        for seed in 0..20 {
            let config = small(builder.clone().close_timeout(Duration::from_secs(5)));
            within(async {
                let (a, b, _place) = connected::<R>(config.clone(), config).await;
                let mut random = Random::new(seed);
                let mut deliveries = Vec::new();
                for side in [&a, &b] {
                    let mut own = Vec::new();
                    for n in 0.. {
                        match side.try_send(numbered(n, &mut random)) {
                            Ok(delivery) => own.push(delivery),
                            // So many fit once the system has taken what the window allows.
                            Err(SendError::NotTaken { message, .. }) if own.len() < 8 => {
                                let permit = side.reserve().await.unwrap();
                                own.push(permit.send(*message).unwrap());
                            }
                            Err(_) => break,
                        }
                    }
                    deliveries.push(own);
                }
                eventually(SOON, "both windows are full", || {
                    a.stats().waiting >= WINDOW - 1 && b.stats().waiting >= WINDOW - 1
                })
                .await;
                // Each takes a few, settles some.
                let mut taken = [BTreeSet::new(), BTreeSet::new()];
                let mut settled = [BTreeSet::new(), BTreeSet::new()];
                let mut undecided = Vec::new();
                for (side, other) in [(&a, 1), (&b, 0)] {
                    for _ in 0..random.below(WINDOW as u64) {
                        let message = side.recv().await.unwrap().unwrap();
                        let n = number(&message.payload);
                        taken[other].insert(n);
                        if random.below(2) == 0 {
                            message.accept();
                            settled[other].insert(n);
                        } else {
                            // Neither accepted nor rejected when the end comes.
                            undecided.push(message);
                        }
                    }
                }
                let closing = std::time::Instant::now();
                tokio::join!(a.close(Close::new(1, "a")), b.close(Close::new(1, "b")));
                assert!(closing.elapsed() < Duration::from_secs(5), "the deadline");
                // One that heard of the other's close before its own answered that
                // its program may still take what has come: nobody can say more.
                let answered = [&b, &a]
                    .map(|other| matches!(other.end(), Some(ConnectionError::ClosedByPeer(_))));
                for ((own, answered), (taken, settled)) in deliveries
                    .into_iter()
                    .zip(answered)
                    .zip(taken.iter().zip(&settled))
                {
                    for (n, delivery) in (0u32..).zip(own) {
                        let outcome = delivery.await.unwrap_or_else(|error| error.outcome());
                        let there = taken.contains(&n);
                        let fits = match outcome {
                            // Said to the system, and to the peer's queue.
                            Outcome::Sent | Outcome::Received => true,
                            Outcome::Processed => settled.contains(&n),
                            Outcome::NotSent => !there,
                            Outcome::Unknown => there || answered,
                            _ => false,
                        };
                        assert!(fits, "{name}, seed {seed}, message {n}: {outcome}, {there}");
                    }
                }
                for (side, answered) in [(&a, answered[1]), (&b, answered[0])] {
                    assert!(side.end().unwrap().is_orderly(), "{:?}", side.end());
                    while side.recv().await.unwrap().is_some() {
                        assert!(answered, "{name}, seed {seed}: after its own close");
                    }
                }
            })
            .await;
        }
    }
}

async fn many_senders_at_once<R: Adapter>() {
    const SENDERS: u32 = 64;
    const EACH: u32 = 40;
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let sender = Arc::new(a);
            let mut tasks = Vec::new();
            for who in 0..SENDERS {
                let sender = sender.clone();
                tasks.push(tokio::spawn(async move {
                    for n in 0..EACH {
                        let message = Message::new([who.to_be_bytes(), n.to_be_bytes()].concat());
                        let level = [AckLevel::None, AckLevel::Received, AckLevel::Processed]
                            [(n % 3) as usize];
                        let outcome = sender.send(message.with_ack(level)).await.unwrap();
                        let wanted = [Outcome::Sent, Outcome::Received, Outcome::Processed]
                            [(n % 3) as usize]
                            .clone();
                        assert_eq!(outcome, wanted);
                    }
                }));
            }
            let mut next = [0; SENDERS as usize];
            for _ in 0..SENDERS * EACH {
                let message = b.recv().await.unwrap().unwrap();
                let (who, n) = message.payload.split_at(4);
                let who = u32::from_be_bytes(who.try_into().unwrap()) as usize;
                assert_eq!(u32::from_be_bytes(n.try_into().unwrap()), next[who]);
                next[who] += 1;
                message.accept();
            }
            // Answers go out while nobody of this side's waits any more.
            for task in tasks {
                task.await.unwrap();
            }
            drop(sender);
            assert!(b.recv().await.unwrap().is_none());
        })
        .await;
    }
}

async fn a_full_queue_hands_the_message_back<R: Adapter>() {
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let mut sent = 0;
            let (message, reason) = loop {
                match a.try_send(Message::new(vec![sent; 4000]).with_ack(AckLevel::Received)) {
                    Ok(delivery) => drop(delivery),
                    Err(SendError::NotTaken { message, reason }) => break (message, reason),
                    Err(error) => panic!("{error}"),
                }
                sent += 1;
            };
            assert_eq!(reason, SendErrorReason::Full);
            assert_eq!(message.payload()[..], vec![sent; 4000][..]);
            assert_eq!(message.ack(), AckLevel::Received);
            let too_large = a.try_send(vec![0; 4097]).unwrap_err();
            let SendError::NotTaken { message, reason } = too_large else {
                panic!("{too_large}")
            };
            assert_eq!(message.size(), 4097);
            assert!(
                matches!(
                    reason,
                    SendErrorReason::TooLarge {
                        size: 4097,
                        max: 4096,
                        ..
                    }
                ),
                "{reason}"
            );
            for n in 0..sent {
                assert_eq!(b.recv().await.unwrap().unwrap().payload, vec![n; 4000]);
            }
            eventually(SOON, "there is room again", || a.try_send("again").is_ok()).await;
        })
        .await;
    }
}

async fn a_permit_keeps_its_room<R: Adapter>() {
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let permit = a.reserve().await.unwrap();
            while a.try_send(vec![1; 4000]).is_ok() {}
            // The queue is full for everybody else.
            let delivery = permit.send("kept").unwrap();
            let reading = async { while b.recv().await.unwrap().unwrap().payload != "kept" {} };
            let (outcome, ()) = tokio::join!(delivery, reading);
            assert_eq!(outcome.unwrap(), Outcome::Sent);
            eventually(SOON, "all has gone out", || a.stats().queued == 0).await;
            // Dropped, it gives the room back to one who waits for it.
            let mut permits = Vec::new();
            for _ in 0..4 {
                permits.push(a.reserve().await.unwrap());
            }
            let mut reserving = std::pin::pin!(a.reserve());
            let early = tokio::time::timeout(Duration::from_millis(50), reserving.as_mut()).await;
            assert!(early.is_err(), "a fifth has room");
            drop(permits.pop());
            drop((permits, reserving.await.unwrap()));
            // One that is too small for the peer is known before anything is made.
            let permit = a.reserve().await.unwrap();
            assert!(matches!(
                permit.send(vec![0; 5000]),
                Err(SendError::NotTaken {
                    reason: SendErrorReason::TooLarge { .. },
                    ..
                })
            ));
        })
        .await;
    }
}

async fn finishing_with_full_windows_delivers_all<R: Adapter>() {
    const COUNT: u32 = 200;
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let side = async |side: &R::Connection| {
                let receives = async {
                    for n in 0..COUNT {
                        let message = side.recv().await.unwrap().unwrap();
                        assert_eq!(number(&message.payload), n);
                        message.accept();
                    }
                    assert!(side.recv().await.unwrap().is_none());
                };
                let sends = async {
                    send_all(side, COUNT).await;
                    side.finish().await.unwrap();
                };
                tokio::join!(sends, receives);
            };
            tokio::join!(side(&a), side(&b));
        })
        .await;
    }
}

/// A message that is too large is found to be so while another thread sends.
async fn what_is_refused_holds_up_nobody<R: Adapter>() {
    const COUNT: u32 = if cfg!(windows) { 500 } else { 5_000 };
    let config = small(Config::plain());
    within(async {
        let (a, b, _place) = connected::<R>(config.clone(), config).await;
        let (a, done) = (Arc::new(a), Arc::new(AtomicBool::new(false)));
        let (refused, until) = (a.clone(), done.clone());
        let refuses = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                assert!(refused.try_send(vec![0; 4097]).is_err());
                tokio::task::yield_now().await;
            }
        });
        let receives = tokio::spawn(async move {
            while let Some(message) = b.recv().await.unwrap() {
                message.accept();
            }
        });
        for n in 0..COUNT {
            let message = Message::new(n.to_be_bytes().to_vec());
            let sent = a.send(message.with_ack(AckLevel::Processed)).await;
            assert_eq!(sent.unwrap(), Outcome::Processed);
        }
        done.store(true, Ordering::Relaxed);
        refuses.await.unwrap();
        a.finish().await.unwrap();
        receives.await.unwrap();
    })
    .await;
}
