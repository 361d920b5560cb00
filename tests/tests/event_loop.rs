//! The event loop of `examples/event-loop`, and so the core as one embeds it: a
//! thousand clients on one thread, and what must not disturb them.

use futures_util::future::join_all;
use sealpipe_event_loop::{Server, Waker};
use sealpipe_tests::{Hand, Place, data, eventually, key, modes, place, raw, role, within};
use sealpipe_tokio::{
    AckLevel, Close, Config, ConfigBuilder, Connection, ConnectionError, Endpoint, Error, Message,
    Role, SendError,
};
use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt;

const KIB: usize = 1 << 10;
const MAX: usize = 256 * KIB;

/// What a connection holds is small, for there are many.
fn small(builder: ConfigBuilder) -> ConfigBuilder {
    builder
        .max_message(MAX)
        .receive_window(2 * MAX, 64)
        .send_queue(MAX, 64)
}

/// A server on a thread of its own, stopped when this is dropped.
struct Running {
    stopper: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start(place: &Place, config: Config, max_clients: usize) -> Running {
        let server = Server::bind(&place.endpoint, config, max_clients).unwrap();
        Running {
            stopper: server.stopper(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    /// Tells it to stop, and waits until it has.
    async fn stop(mut self) {
        self.stopper.wake().unwrap();
        let thread = self.thread.take().unwrap();
        let joined = tokio::task::spawn_blocking(|| thread.join());
        joined.await.unwrap().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where a test has failed, that may be why.
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            println!("the server has ended: {:?}", thread.join());
        }
        // Its thread does not outlive the test for long.
        let _ = self.stopper.wake();
    }
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let endpoint: Endpoint = arguments[0].parse().unwrap();
    match role.as_str() {
        #[cfg(unix)]
        "few descriptors" => exhausted::few_descriptors(&endpoint),
        other => panic!("{other} at {endpoint}"),
    }
}

/// Bytes that differ from client to client and from place to place.
fn payload(client: usize, size: usize) -> Vec<u8> {
    (0..size).map(|i| (client + i + i / 251) as u8).collect()
}

/// Sends, and checks that the same comes back.
async fn echo(client: &Connection, bytes: &[u8]) {
    let message = Message::new(bytes.to_vec()).with_ack(AckLevel::Processed);
    let (sent, reply) = tokio::join!(client.send(message), client.recv());
    sent.unwrap();
    assert!(reply.unwrap().unwrap().payload == bytes);
}

/// Both sides finish, and all has arrived.
async fn part(client: Connection) {
    client.finish().await.unwrap();
    assert!(client.recv().await.unwrap().is_none());
}

/// As many clients, up to 1,000, as both their ends may have descriptors for.
#[cfg(unix)]
fn clients() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // For the other tests of this file and what the test harness has open.
    const OTHERS: u64 = 200;
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * 1_000 + OTHERS;
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let current = limit.current.map_or(wanted, |now| now.max(current));
    let raised = Rlimit {
        current: Some(current),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let clients = 1_000.min((current.saturating_sub(OTHERS) / 2) as usize);
    if clients < 1_000 {
        println!("the limit on descriptors allows {clients} clients instead of 1,000");
    }
    clients
}

#[cfg(windows)]
fn clients() -> usize {
    1_000
}

#[tokio::test]
async fn a_thousand_clients_on_one_thread() {
    let clients = clients();
    for (name, builder) in modes() {
        // Whoever comes last waits for all others, on a machine that may be busy.
        let patient = small(builder)
            .handshake_timeout(MINUTE)
            .record_timeout(MINUTE)
            .message_timeout(MINUTE)
            .send_timeout(MINUTE);
        let config = Arc::new(patient.build().unwrap());
        let start = Instant::now();
        let place = place();
        let server = Running::start(&place, (*config).clone(), clients);
        // All of them are connected before any speaks.
        let connect = |_| Connection::connect(&place.endpoint, config.clone());
        let connections = tokio::time::timeout(MINUTE, join_all((0..clients).map(connect)))
            .await
            .expect("connecting hangs");
        let connected = start.elapsed();
        let talk = connections
            .into_iter()
            .enumerate()
            .map(async |(n, client)| {
                let client = client.unwrap();
                // One in ten sends more than a pipe or socket holds.
                let large = if n % 10 == 0 { 200_000 } else { 5_000 };
                for size in [0, 1, 1_000, large, 20_000] {
                    echo(&client, &payload(n, size)).await;
                }
                client
            });
        let connections = tokio::time::timeout(MINUTE, join_all(talk))
            .await
            .expect("talking hangs");
        println!(
            "{name}: {clients} clients connected after {connected:?}, answered after {:?}",
            start.elapsed()
        );
        tokio::time::timeout(MINUTE, join_all(connections.into_iter().map(part)))
            .await
            .expect("parting hangs");
        within(server.stop()).await;
    }
}

/// Generous: the machine may be busy, and Wine is slow.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn strangers_disturb_nobody() {
    within(async {
        let place = place();
        let config = small(Config::sealed(key(7))).build().unwrap();
        let server = Running::start(&place, config.clone(), 100);
        let honest = Connection::connect(&place.endpoint, config.clone())
            .await
            .unwrap();
        let other_key = small(Config::sealed(key(8))).build().unwrap();
        let no_key = small(Config::plain()).build().unwrap();
        for round in 0..5 {
            for stranger in [&other_key, &no_key] {
                let refused = Connection::connect(&place.endpoint, stranger.clone()).await;
                assert!(
                    matches!(
                        refused,
                        Err(Error::Connection(ConnectionError::Mismatch(_)))
                    ),
                    "{refused:?}"
                );
            }
            let mut garbage = raw::connect_patiently(&place.endpoint).await;
            garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let vanishing = raw::connect_patiently(&place.endpoint).await;
            let silent = raw::connect_patiently(&place.endpoint).await;
            drop(vanishing);
            echo(&honest, &payload(round, 10_000)).await;
            // It is told that this is something else, or nothing, and let go of.
            raw::read_to_end(&mut garbage, Duration::from_secs(10)).await;
            drop(silent);
        }
        part(honest).await;
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_does_not_read_cannot_send() {
    for (name, builder) in modes() {
        within(async {
            let place = place();
            let config = builder
                .max_message(64 * KIB)
                .receive_window(128 * KIB, 64)
                .send_queue(64 * KIB, 64)
                .build()
                .unwrap();
            let server = Running::start(&place, config.clone(), 100);
            let greedy = Connection::connect(&place.endpoint, config.clone())
                .await
                .unwrap();
            let other = Connection::connect(&place.endpoint, config).await.unwrap();
            let mut sent = 0;
            let mut full = 0;
            // An answered ping has been the whole way round: if there is no room
            // after several, there will be none.
            while full < 5 {
                match greedy.try_send(payload(sent, 10 * KIB)) {
                    Ok(_) => (sent, full) = (sent + 1, 0),
                    Err(SendError::NotTaken { .. }) => {
                        full += 1;
                        greedy.ping().await.unwrap();
                        echo(&other, &payload(full, 1_000)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            // Two queues, two windows, and what the system holds.
            assert!((20..200).contains(&sent), "{name}: {sent} messages");
            for n in 0..sent {
                let reply = greedy.recv().await.unwrap().unwrap();
                assert!(reply.payload == payload(n, 10 * KIB), "{name}: {n}");
            }
            part(greedy).await;
            part(other).await;
            server.stop().await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_echo_that_its_client_would_not_take_is_left_out() {
    within(async {
        let place = place();
        let server = Running::start(&place, small(Config::plain()).build().unwrap(), 100);
        // It sends what it would not accept, which takes frames by hand.
        let little = small(Config::plain()).max_message(KIB).build().unwrap();
        let stream = raw::connect_patiently(&place.endpoint).await;
        let mut hand = Hand::open(stream, Role::Initiator, little).await;
        hand.write(&data(0, None, &payload(0, 2 * KIB)))
            .await
            .unwrap();
        hand.write(&data(1, None, b"short")).await.unwrap();
        let reply = loop {
            match hand.core.recv() {
                Some(reply) => break reply,
                None => assert!(hand.read().await),
            }
        };
        assert_eq!(reply.payload, "short");
        drop(hand);
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_is_let_go_of_and_makes_room() {
    within(async {
        let place = place();
        let config = small(Config::plain())
            .handshake_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        // One at a time: the second waits until the first has gone.
        let server = Running::start(&place, config, 1);
        let mut silent = raw::connect_patiently(&place.endpoint).await;
        let next = async {
            let client = Connection::connect(&place.endpoint, Config::default())
                .await
                .unwrap();
            echo(&client, b"my turn").await;
            part(client).await;
        };
        let limit = Duration::from_secs(10);
        let (left, ()) = tokio::join!(raw::read_to_end(&mut silent, limit), next);
        assert!(left.is_empty());
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_breaks_the_protocol_and_reads_nothing_makes_room() {
    within(async {
        let place = place();
        let config = small(Config::plain())
            .close_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        let server = Running::start(&place, config, 1);
        let generous = Config::plain().receive_window(16 << 20, 64);
        let stream = raw::connect_patiently(&place.endpoint).await;
        let mut hand = Hand::open(stream, Role::Initiator, generous.build().unwrap()).await;
        // More than a socket or pipe holds: the goodbye cannot go out.
        for n in 0..2 {
            let message = Message::new(payload(n, MAX));
            hand.core.send_untracked(hand.now(), message).unwrap();
        }
        hand.flush().await.unwrap();
        hand.write(&[0xff; 64]).await.unwrap();
        let next = Connection::connect(&place.endpoint, Config::default()).await;
        let next = next.unwrap();
        echo(&next, b"my turn").await;
        part(next).await;
        drop(hand);
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_sends_what_it_has_and_says_goodbye() {
    for (name, builder) in modes() {
        within(async {
            let place = place();
            let config = small(builder).build().unwrap();
            let server = Running::start(&place, config.clone(), 100);
            let client = Connection::connect(&place.endpoint, config.clone())
                .await
                .unwrap();
            for n in 0..5 {
                let message = Message::new(payload(n, 30_000)).with_ack(AckLevel::Processed);
                client.send(message).await.unwrap();
            }
            let stopping = server.stop();
            let reading = async {
                for n in 0..5 {
                    let reply = client.recv().await.unwrap().unwrap();
                    assert!(reply.payload == payload(n, 30_000), "{name}");
                }
                assert!(client.recv().await.unwrap().is_none(), "{name}");
                let away = ConnectionError::ClosedByPeer(Close::new(Close::GOING_AWAY, ""));
                assert_eq!(client.end(), Some(away), "{name}");
            };
            tokio::join!(stopping, reading);
            drop(client);
            // The name is free again; a pipe's when its last handle is closed.
            let mut next = Server::bind(&place.endpoint, config.clone(), 100);
            eventually(Duration::from_secs(10), "the name is free", || {
                if next.is_err() {
                    next = Server::bind(&place.endpoint, config.clone(), 100);
                }
                next.is_ok()
            })
            .await;
        })
        .await;
    }
}

/// Unix only: a process on Windows has no such limit to run into.
#[cfg(unix)]
mod exhausted {
    use super::*;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use sealpipe_tests::{Helper, say};

    /// Serves with no descriptor left, until it is told to give some back. The
    /// limit is the process's own, hence a process for it.
    pub(super) fn few_descriptors(endpoint: &Endpoint) {
        let config = small(Config::plain()).build().unwrap();
        let server = Server::bind(endpoint, config, 100).unwrap();
        let stopper = server.stopper();
        let thread = std::thread::spawn(|| server.run().unwrap());
        say("listening");
        let mut lines = std::io::stdin().lines();
        lines.next();
        let limit = getrlimit(Resource::Nofile);
        // It bounds the numbers of new descriptors, and the standard streams have these.
        let current = Some(3);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
        say("out of descriptors");
        lines.next();
        setrlimit(Resource::Nofile, limit).unwrap();
        lines.next();
        stopper.wake().unwrap();
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn without_descriptors_accepting_rests_and_then_goes_on() {
        within(async {
            let place = place();
            let mut server = Helper::at(&place.endpoint, "few descriptors", &[]);
            assert_eq!(server.line(), "listening");
            let first = Connection::connect(&place.endpoint, Config::default())
                .await
                .unwrap();
            server.tell("take them all");
            let (mut server, said) = server.heard().await;
            assert_eq!(said, "out of descriptors");
            // The system lets it connect; nobody answers. Others are served on.
            let mut second =
                std::pin::pin!(Connection::connect(&place.endpoint, Config::default()));
            for n in 0..20 {
                let bytes = payload(n, 10_000);
                tokio::select! {
                    early = second.as_mut() => panic!("there was a descriptor left: {early:?}"),
                    () = echo(&first, &bytes) => {}
                }
            }
            server.tell("give them back");
            let second = second.await.unwrap();
            echo(&second, b"after the drought").await;
            part(second).await;
            part(first).await;
            server.tell("stop");
            tokio::task::spawn_blocking(|| server.end()).await.unwrap();
        })
        .await;
    }
}
