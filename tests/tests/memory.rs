//! What a connection may take of the heap: bounded by its configuration for a
//! hostile peer, and little for an idle one.
//!
//! One test at a time: they share the counter.

use sealpipe_tests::{
    Hand, connected, data, eventually, heap, heap::peak, key, place, raw, within,
};
use sealpipe_tokio::{AckLevel, Config, ConfigBuilder, Connection, Listener, Message, Role};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

const MAX: usize = 1 << 20;
const WINDOW: usize = 2 << 20;
const QUEUE: usize = 256 << 10;
/// Of what the configuration does not name: buffers of a read and a write, one
/// message under way that may be in two places while it grows, and the test's
/// own.
const SLACK: usize = 1 << 20;

fn config(builder: ConfigBuilder) -> Config {
    builder
        .max_message(MAX)
        .receive_window(WINDOW, 64)
        .send_queue(QUEUE, 64)
        .close_timeout(Duration::from_millis(200))
        .build()
        .unwrap()
}

async fn attacked(builder: ConfigBuilder) -> (Hand, Connection, impl Drop) {
    struct Keep(
        #[expect(dead_code, reason = "kept")] Listener,
        sealpipe_tests::Place,
    );
    impl Drop for Keep {
        fn drop(&mut self) {
            let _ = &self.1;
        }
    }
    let place = place();
    let config = config(builder);
    let mut listener = Listener::bind(&place.endpoint, config.clone()).unwrap();
    let (hand, server) = tokio::join!(
        async {
            let stream = raw::connect_patiently(&place.endpoint).await;
            Hand::open(stream, Role::Initiator, config.clone()).await
        },
        listener.accept()
    );
    (hand, server.unwrap(), Keep(listener, place))
}

/// Lets the server read all that was written, while its program reads nothing.
async fn let_it_read(server: &Connection, messages: u64) {
    eventually(Duration::from_secs(10), "it has read", || {
        server.stats().messages_received >= messages || !server.is_connected()
    })
    .await;
}

#[test]
fn a_message_that_is_announced_takes_no_room_until_it_comes() {
    let _alone = alone();
    runtime().block_on(within(async {
        let (mut hand, server, _keep) = attacked(Config::plain()).await;
        // The largest, of which 1 KiB comes.
        let bytes = data(0, Some(MAX as u64), &[7; 1024]);
        let (peak, ()) = peak(async {
            hand.write(&bytes).await.unwrap();
            for _ in 0..50 {
                assert!(
                    tokio::time::timeout(Duration::from_millis(2), server.recv())
                        .await
                        .is_err()
                );
            }
        })
        .await;
        println!("1 KiB of a message of {MAX} bytes takes {peak} bytes");
        assert!(peak < 400 << 10, "{peak}");
    }));
}

#[test]
fn messages_that_nobody_takes_stay_within_the_window() {
    let _alone = alone();
    for (name, builder) in [
        ("plain", Config::plain()),
        ("sealed", Config::sealed(key(7))),
    ] {
        runtime().block_on(within(async {
            let (mut hand, server, _keep) = attacked(builder).await;
            // As much as the credit allows, then one that never ends. The attacker's
            // copy is made before counting.
            let mut attack = Vec::new();
            if name == "plain" {
                attack.extend(whole(0, MAX));
                attack.extend(data(1, Some(MAX as u64), &vec![7; 100_000]));
                for _ in 0..8 {
                    attack.extend(middle(&vec![7; 100_000]));
                }
            } else {
                for size in [MAX, MAX - 1] {
                    hand.core
                        .send_untracked(hand.now(), Message::new(vec![7; size]))
                        .unwrap();
                    attack.extend(hand.take_output());
                }
                // Without its last record.
                attack.truncate(attack.len() - 100);
            }
            let (peak, ()) = peak(async {
                let write = hand.write(&attack);
                tokio::join!(async { write.await.unwrap() }, let_it_read(&server, 1));
                let read_on = async {
                    for _ in 0..100 {
                        let _ = tokio::time::timeout(Duration::from_millis(1), server.ping()).await;
                    }
                };
                read_on.await;
            })
            .await;
            // On Windows the attacker's write is one of mio's, which copies it whole.
            let copy = if cfg!(windows) { attack.len() } else { 0 };
            let peak = peak.saturating_sub(copy);
            println!("{name}: a full window and one that never ends take {peak} bytes");
            assert!(server.is_connected(), "{:?}", server.end());
            assert!(peak < WINDOW + MAX + SLACK, "{peak}");
            assert!(peak > WINDOW / 2, "the attack did not arrive: {peak}");
        }));
    }
}

/// A whole message in fragments.
fn whole(seq: u64, size: usize) -> Vec<u8> {
    let payload = vec![7; size];
    let (first, rest) = payload.split_at(100_000);
    let mut bytes = data(seq, Some(size as u64), first);
    let mut chunks = rest.chunks(100_000).peekable();
    while let Some(chunk) = chunks.next() {
        let mut frame = middle(chunk);
        if chunks.peek().is_none() {
            frame[0] |= 0x20;
        }
        bytes.extend(frame);
    }
    bytes
}

/// A fragment that is neither first nor last.
fn middle(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend((payload.len() as u32 | 0x8000_0000).to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn tiny_messages_count_by_their_number() {
    let _alone = alone();
    runtime().block_on(within(async {
        let (mut hand, server, _keep) = attacked(Config::plain()).await;
        let attack: Vec<u8> = (0..64).flat_map(|seq| data(seq, None, &[1])).collect();
        let (peak, ()) = peak(async {
            hand.write(&attack).await.unwrap();
            for _ in 0..50 {
                let _ = tokio::time::timeout(Duration::from_millis(1), server.ping()).await;
            }
        })
        .await;
        assert_eq!(server.stats().waiting, 64);
        println!("64 messages of a byte take {peak} bytes");
        assert!(peak < 128 << 10, "{peak}");
    }));
}

#[test]
fn a_peer_that_asks_and_never_reads_gets_no_more_than_the_queue() {
    let _alone = alone();
    runtime().block_on(within(async {
        let (mut hand, server, _keep) = attacked(Config::plain()).await;
        let pings: Vec<u8> = (0..900u64)
            .flat_map(|n| {
                let mut frame = vec![6, 8];
                frame.extend(n.to_be_bytes());
                frame
            })
            .collect();
        let payload = bytes::Bytes::from(vec![7; 10_000]);
        let (peak, ()) = peak(async {
            // The program answers as fast as it can; its peer asks, and reads nothing.
            let mut refused = 0;
            while refused < 200 {
                let message = Message::new(payload.clone()).with_ack(AckLevel::Processed);
                match server.try_send(message) {
                    Ok(delivery) => drop(delivery),
                    Err(_) => {
                        refused += 1;
                        tokio::task::yield_now().await;
                    }
                }
            }
            hand.write(&pings).await.unwrap();
            for _ in 0..100 {
                let _ = tokio::time::timeout(Duration::from_millis(1), server.recv()).await;
            }
        })
        .await;
        println!("a peer that never reads costs {peak} bytes");
        assert!(peak < QUEUE + SLACK, "{peak}");
    }));
}

#[test]
fn a_handshake_that_never_ends_takes_little() {
    let _alone = alone();
    runtime().block_on(within(async {
        let place = place();
        let config = Config::sealed(key(7)).build().unwrap();
        let _listener = Listener::bind(&place.endpoint, config.clone()).unwrap();
        let mut first = {
            let (a, _b) = tokio::io::duplex(1);
            Hand::new(Box::new(a), Role::Initiator, config).take_output()
        };
        first.pop();
        let mut streams = Vec::new();
        let (_, ()) = peak(async {
            for _ in 0..100 {
                streams.push(raw::connect_patiently(&place.endpoint).await);
            }
        })
        .await;
        let (peak, ()) = peak(async {
            for stream in &mut streams {
                tokio::io::AsyncWriteExt::write_all(stream, &first)
                    .await
                    .unwrap();
            }
            // No sign tells that they have been read: some turns of the reactor.
            for _ in 0..200 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        println!(
            "a handshake without its last byte takes {} bytes",
            peak / 100
        );
        assert!(peak / 100 < 16 << 10, "{peak}");
    }));
}

#[test]
fn an_idle_connection_is_small() {
    const COUNT: usize = 200;
    let _alone = alone();
    for (name, builder) in [
        ("plain", Config::plain()),
        ("sealed", Config::sealed(key(7))),
    ] {
        // Shared, as a program does; a copy each would be counted as the connection's.
        let config = std::sync::Arc::new(builder.build().unwrap());
        runtime().block_on(within(async {
            let mut warm = Vec::new();
            for _ in 0..10 {
                warm.push(connected::<sealpipe_tokio::Tokio>(config.clone(), config.clone()).await);
            }
            drop(warm);
            let place = place();
            let mut listener = Listener::bind(&place.endpoint, config.clone()).unwrap();
            let mut all = Vec::with_capacity(COUNT);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let before = heap::held();
            for _ in 0..COUNT {
                let (client, server) = tokio::join!(
                    Connection::connect(&place.endpoint, config.clone()),
                    listener.accept()
                );
                let (client, server) = (client.unwrap(), server.unwrap());
                // Used, also by a large message, before it is idle.
                let message = Message::new(vec![1; 100_000]).with_ack(AckLevel::Received);
                let (sent, received) = tokio::join!(client.send(message), server.recv());
                sent.unwrap();
                drop(received.unwrap());
                all.push((client, server));
            }
            // Idle is when the buffers have been given back.
            let each = || (heap::held() - before) / (2 * COUNT);
            let mut least = usize::MAX;
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                least = least.min(each());
            }
            println!("{name}: an idle connection holds {least} bytes of heap (the aim: 1,024)");
            // Far from the buffers that it had, of 100 KiB and more. On Windows mio
            // keeps those that it made for each pipe.
            let limit = if cfg!(windows) { 80 << 10 } else { 8 << 10 };
            assert!(least < limit, "{least}");
            assert!(
                all.iter()
                    .all(|(a, b)| a.is_connected() && b.is_connected())
            );
        }));
    }
}
