//! Other systems' wires over real sockets and pipes, on every adapter.

use bytes::Bytes;
use sealpipe_driver::{
    Client, ConnectOptions, Error, Handler, Incoming, ReconnectingClient, RequestError, Runtime,
    SendError, Server, SubscribeError,
    vocabulary::{
        AckLevel, Asked, Close, Config, ConfigBuilder, ConnectionError, Format, Json, Kind, Lost,
        Message, Mismatch, Outcome, Rejection, Sealed, SendErrorReason, Violation, Wire, WireError,
    },
};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    connected, eventually, key, place, raw, within,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

sealpipe_tests::on_every_adapter! {
    messages_cross_both_ways_and_both_sides_end_in_order,
    what_the_wire_lacks_is_told_before_anything_is_sent,
    what_breaks_the_wire_ends_the_connection_and_says_why,
    a_native_peer_and_this_side_tell_each_other_apart,
    a_legacy_sealed_message_that_is_repeated_is_taken_again,
    who_half_closes_still_gets_the_answer,
    a_peer_that_is_gone_is_noticed_by_the_next_message,
    a_program_that_takes_nothing_holds_its_peer_back,
    dropping_a_connection_sends_what_was_queued,
    ends_in_memory_speak_it_too,
    ; of futures:
    servers_and_clients_that_return_work_as_far_as_the_wire_can,
}

const LIMIT: Duration = Duration::from_secs(20);
const WIRES: [Wire; 4] = [
    Wire::Le32,
    Wire::Be32,
    Wire::LegacySealed,
    Wire::Base64Lines,
];

fn on(wire: Wire) -> ConfigBuilder {
    let builder = match wire {
        Wire::LegacySealed => Config::sealed(key(7)),
        _ => Config::plain(),
    };
    builder.wire(wire)
}

fn config(wire: Wire) -> Config {
    on(wire).build().unwrap()
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

const SIZES: [usize; 8] = [0, 1, 2, 3, 1_000, 70_000, 1 << 20, 4 << 20];

async fn messages_cross_both_ways_and_both_sides_end_in_order<R: Adapter>() {
    for wire in WIRES {
        within(async {
            let (client, server, _place) = connected::<R>(config(wire), config(wire)).await;
            assert!(client.peer().is_some() && client.handshake_hash().is_none());
            for size in SIZES {
                let payload = Bytes::from(payload(size));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (sent, received) = tokio::join!(from.send(payload.clone()), to.recv());
                    assert_eq!(sent.unwrap(), Outcome::Sent);
                    let received = received.unwrap().unwrap();
                    assert!(received.payload == payload, "{wire} {size}");
                    received.accept();
                }
            }
            // Who it is is known with its first bytes at the latest.
            assert!(server.peer().is_some());
            for n in 0..100u8 {
                client.send(vec![n]).await.unwrap();
            }
            let (finished, ()) = tokio::join!(client.finish(), async {
                for n in 0..100 {
                    assert_eq!(server.recv().await.unwrap().unwrap().payload[..], [n]);
                }
                assert!(server.recv().await.unwrap().is_none());
                assert!(!server.is_connected());
                server.finish().await.unwrap();
            });
            finished.unwrap();
            assert_eq!(client.end(), Some(ConnectionError::Finished));
            assert!(client.recv().await.unwrap().is_none());
        })
        .await;
    }
}

async fn what_the_wire_lacks_is_told_before_anything_is_sent<R: Adapter>() {
    for wire in WIRES {
        within(async {
            let (client, server, _place) = connected::<R>(config(wire), config(wire)).await;
            for (level, asked) in [
                (AckLevel::Received, Asked::Ack(AckLevel::Received)),
                (AckLevel::Processed, Asked::Ack(AckLevel::Processed)),
            ] {
                let message = Message::new("hello").with_ack(level);
                let Err(SendError::NotTaken { message, reason }) = client.send(message).await
                else {
                    panic!("there are no acks");
                };
                assert_eq!(message.payload(), "hello");
                assert_eq!(reason, SendErrorReason::Wire(WireError { wire, asked }));
            }
            let asked = Asked::Ping;
            let Err(Error::Wire(error)) = client.ping().await else {
                panic!("there are no pings");
            };
            assert_eq!(error, WireError { wire, asked });
            // None of that has done any harm.
            client.send("after").await.unwrap();
            assert_eq!(server.recv().await.unwrap().unwrap().payload, "after");
        })
        .await;
    }
}

async fn what_breaks_the_wire_ends_the_connection_and_says_why<R: Adapter>() {
    let whole = [&5u32.to_le_bytes()[..], b"hello"].concat();
    let forged = [&28u32.to_le_bytes()[..], &[0; 28]].concat();
    let huge = u32::MAX.to_le_bytes();
    let violation = ConnectionError::Violation;
    let truncated = ConnectionError::Lost(Lost::Truncated);
    let cases: [(Wire, &[u8], ConnectionError); 7] = [
        (
            Wire::Le32,
            &huge,
            violation(Violation::LengthPrefix {
                length: u32::MAX,
                max: 4 << 20,
            }),
        ),
        (
            Wire::Be32,
            &huge,
            violation(Violation::LengthPrefix {
                length: u32::MAX,
                max: 4 << 20,
            }),
        ),
        (Wire::Le32, &whole[..6], truncated.clone()),
        (Wire::Base64Lines, b"aGVsb", truncated),
        (
            Wire::Base64Lines,
            b"what is this?\n",
            violation(Violation::NotBase64),
        ),
        (
            Wire::LegacySealed,
            &whole,
            violation(Violation::SealedTooShort { length: 5 }),
        ),
        // As of another key.
        (
            Wire::LegacySealed,
            &forged,
            ConnectionError::Authentication(Sealed::Message),
        ),
    ];
    for (wire, bytes, expected) in cases {
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config(wire)).unwrap();
            let mut stranger = raw::connect_patiently(&place.endpoint).await;
            let server = listener.accept().await.unwrap();
            stranger.write_all(bytes).await.unwrap();
            if expected == ConnectionError::Lost(Lost::Truncated) {
                drop(stranger);
            } else {
                let told = raw::read_to_end(&mut stranger, LIMIT).await;
                assert!(told.is_empty(), "there is no word for it");
            }
            let Err(Error::Connection(error)) = server.recv().await else {
                panic!("{wire}: {bytes:?} is no message");
            };
            assert_eq!(error, expected, "{wire}");
            assert!(!server.is_connected());
        })
        .await;
    }
}

async fn a_native_peer_and_this_side_tell_each_other_apart<R: Adapter>() {
    for wire in [Wire::Le32, Wire::Be32] {
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config(wire)).unwrap();
            let client = R::connect(&place.endpoint, Config::default());
            let (client, server) = tokio::join!(client, listener.accept());
            let own = wire;
            let Err(Error::Connection(error)) = server.unwrap().recv().await else {
                panic!("a preface is no message");
            };
            assert_eq!(error, ConnectionError::Mismatch(Mismatch::Wire { own }));
            client.unwrap_err();
        })
        .await;
    }
}

/// By that wire's rule: its documentation says so.
async fn a_legacy_sealed_message_that_is_repeated_is_taken_again<R: Adapter>() {
    let wire = Wire::LegacySealed;
    within(async {
        let between = place();
        let mut eavesdropper = raw::Listener::bind(&between.endpoint);
        let client = R::connect(&between.endpoint, config(wire));
        let (client, mut wiretap) = tokio::join!(client, eavesdropper.accept());
        let client = client.unwrap();
        client.send("pay 5").await.unwrap();
        let mut recorded = [0; 4 + 28 + 5];
        wiretap.read_exact(&mut recorded).await.unwrap();
        assert!(!recorded.windows(3).any(|bytes| bytes == b"pay"));

        let place = place();
        let mut listener = R::bind(&place.endpoint, config(wire)).unwrap();
        let mut thief = raw::connect_patiently(&place.endpoint).await;
        let server = listener.accept().await.unwrap();
        for _ in 0..2 {
            thief.write_all(&recorded).await.unwrap();
            assert_eq!(server.recv().await.unwrap().unwrap().payload, "pay 5");
        }
    })
    .await;
}

async fn who_half_closes_still_gets_the_answer<R: Adapter>() {
    // A pipe can only be closed whole.
    if cfg!(windows) {
        return;
    }
    within(async {
        let place = place();
        let mut listener = R::bind(&place.endpoint, config(Wire::Base64Lines)).unwrap();
        let mut peer = raw::connect_patiently(&place.endpoint).await;
        let server = listener.accept().await.unwrap();
        peer.write_all(b"cXVlc3Rpb24=\n").await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap().payload, "question");
        assert!(server.recv().await.unwrap().is_none());
        server.send("answer").await.unwrap();
        server.finish().await.unwrap();
        let answer = raw::read_to_end(&mut peer, LIMIT).await;
        assert_eq!(answer, b"YW5zd2Vy\n");
    })
    .await;
}

async fn a_peer_that_is_gone_is_noticed_by_the_next_message<R: Adapter>() {
    within(async {
        let place = place();
        let mut listener = R::bind(&place.endpoint, config(Wire::Le32)).unwrap();
        let peer = raw::connect_patiently(&place.endpoint).await;
        let server = listener.accept().await.unwrap();
        drop(peer);
        // Also if nobody asks.
        eventually(LIMIT, "the end is noticed", || !server.is_connected()).await;
        assert!(server.recv().await.unwrap().is_none());
        let error = server.send("too late").await.unwrap_err();
        assert!(matches!(
            error.outcome(),
            Outcome::NotSent | Outcome::Unknown
        ));
        assert_eq!(server.end(), Some(ConnectionError::Lost(Lost::Idle)));
    })
    .await;
}

async fn a_program_that_takes_nothing_holds_its_peer_back<R: Adapter>() {
    const MESSAGE: usize = 60_000;
    const COUNT: usize = 200;
    within(async {
        let server = on(Wire::Le32)
            .max_message(MESSAGE)
            .receive_window(4 * MESSAGE, 100)
            .build()
            .unwrap();
        let (client, server, _place) = connected::<R>(config(Wire::Le32), server).await;
        let sending = async {
            for n in 0..COUNT {
                let sent = client.send(vec![n as u8; MESSAGE]).await.unwrap();
                assert_eq!(sent, Outcome::Sent);
            }
            client.finish().await.unwrap();
        };
        let receiving = async {
            // The first are there, and wait; no more than the window holds.
            eventually(LIMIT, "the window is full", || server.stats().waiting == 4).await;
            for n in 0..COUNT {
                let message = server.recv().await.unwrap().unwrap();
                assert_eq!(
                    (message.payload[0], message.payload.len()),
                    (n as u8, MESSAGE)
                );
                assert!(server.stats().waiting <= 4);
            }
            assert!(server.recv().await.unwrap().is_none());
            server.finish().await.unwrap();
        };
        tokio::join!(sending, receiving);
    })
    .await;
}

async fn dropping_a_connection_sends_what_was_queued<R: Adapter>() {
    for wire in WIRES {
        within(async {
            let (client, server, _place) = connected::<R>(config(wire), config(wire)).await;
            let deliveries: Vec<_> = (0..10)
                .map(|n: u8| client.try_send(vec![n; 50_000]).unwrap())
                .collect();
            drop(client);
            for n in 0..10 {
                let message = server.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, vec![n; 50_000]);
            }
            assert!(server.recv().await.unwrap().is_none());
            for delivery in deliveries {
                assert_eq!(delivery.await.unwrap(), Outcome::Sent);
            }
            server.close(Close::new(Close::DONE, "")).await;
            assert!(matches!(
                server.end(),
                Some(ConnectionError::ClosedLocally(_))
            ));
        })
        .await;
    }
}

async fn ends_in_memory_speak_it_too<R: Adapter>() {
    for wire in WIRES {
        within(async {
            let (a, b) = R::pair(config(wire)).await.unwrap();
            let (sent, received) = tokio::join!(a.send(payload(100_000)), b.recv());
            sent.unwrap();
            assert!(received.unwrap().unwrap().payload == payload(100_000));
            let (first, second) = tokio::join!(a.finish(), b.finish());
            first.unwrap();
            second.unwrap();
        })
        .await;
    }
}

/// Adds up what it is sent, and answers with a message.
struct Sums;

impl<R: Runtime> Handler<R> for Sums {
    async fn message(
        &self,
        client: &Client<R>,
        message: &mut Incoming<R>,
    ) -> Result<(), Rejection> {
        let numbers: Vec<i64> = Json::decode(&message.payload)?;
        let sum = Json::message(&numbers.iter().sum::<i64>())?;
        client.send(sum).await.unwrap();
        Ok(())
    }
}

async fn servers_and_clients_that_return_work_as_far_as_the_wire_can<R: Runtime>() {
    for wire in WIRES {
        within(async {
            let place = place();
            let options = ConnectOptions::<R>::new(config(wire)).wait_for_server(true);
            let client = ReconnectingClient::new(place.endpoint.clone(), options);
            for _ in 0..2 {
                let server = Server::<R>::start(&place.endpoint, config(wire), Sums).unwrap();
                client
                    .send(Json::message(&[1, 2, 4]).unwrap())
                    .await
                    .unwrap();
                let sum: i64 = Json::decode(&client.recv().await.unwrap().payload).unwrap();
                assert_eq!(sum, 7);

                let unsupported = |error: &SendError, kind| {
                    let SendError::NotTaken { reason, .. } = error else {
                        panic!("{error}");
                    };
                    let asked = Asked::Kind(kind);
                    assert_eq!(*reason, SendErrorReason::Wire(WireError { wire, asked }));
                };
                let asked = client.request("x", LIMIT).await;
                let Err(RequestError::Send(error)) = asked else {
                    panic!("there are no requests");
                };
                unsupported(&error, Kind::Request);
                let subscribed = client.subscribe("news/*").await;
                let Err(SubscribeError::Refused(RequestError::Send(error))) = subscribed else {
                    panic!("there are no subscriptions");
                };
                unsupported(&error, Kind::Subscribe);

                // Its clients are told by the end of their streams, and come to the next.
                let first = client.connection().await.unwrap();
                let report = server.stop(LIMIT).await;
                assert_eq!((report.clients, report.accepted), (1, 1), "{wire}");
                eventually(LIMIT, "the client knows", || !first.is_connected()).await;
            }
        })
        .await;
    }
}
