//! When things happen: nothing waits out a timer that need not, and every
//! deadline holds.

use sealpipe_core::wire::Frame;
use sealpipe_driver::{
    Error, RequestError, SendError,
    vocabulary::{
        AckLevel, Close, Config, ConfigBuilder, ConnectionError, Message, Outcome, Role,
        SendErrorReason,
    },
};
use sealpipe_tests::{
    Adapter, Hand,
    api::{Connection, Listener},
    connected, data, eventually, modes, place, raw, within,
};
use std::time::{Duration, Instant};

sealpipe_tests::on_every_adapter! {
    awaited_sends_run_back_to_back,
    who_only_receives_writes_the_rest,
    an_ack_does_not_wait_for_the_program_to_come_back,
    a_server_that_greets_and_goes_is_heard,
    a_client_that_tells_and_goes_is_heard,
    dropped_without_finish_what_was_queued_still_goes_out,
    a_verdict_given_just_before_the_end_arrives,
    a_peer_that_finishes_is_the_end_of_its_messages,
    after_finish_nothing_more_is_sent,
    the_end_can_be_waited_for_while_nothing_is_received,
    a_send_ends_at_its_deadline_and_says_what_is_known,
    a_deadline_covers_the_wait_for_room,
    operations_end_after_send_timeout,
    close_waits_for_the_answer_and_no_longer_than_its_deadline,
    a_peer_that_hangs_is_found_out,
    pings_that_share_an_answer_all_get_it,
    a_listener_is_dropped_while_clients_connect,
}

const SOON: Duration = Duration::from_secs(5);

fn built(builder: ConfigBuilder) -> Config {
    builder.build().unwrap()
}

/// That `run` takes no more than twice as long as `other` did right before, and `slack`: in
/// one of some tries, for the machine may have more to do during the one than the other.
async fn keeps_up(what: &str, slack: Duration, other: impl AsyncFn(), run: impl AsyncFn()) {
    let mut tries = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        other().await;
        let limit = 2 * start.elapsed() + slack;
        let start = Instant::now();
        run().await;
        let took = start.elapsed();
        if took < limit {
            return;
        }
        tries.push((took, limit));
    }
    panic!("{what}, and what it may take: {tries:?}");
}

async fn awaited_sends_run_back_to_back<R: Adapter>() {
    for (name, builder) in modes() {
        let config = built(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let received = tokio::spawn(async move {
                while let Some(message) = b.recv().await.unwrap() {
                    if message.ack == AckLevel::None {
                        b.send("pong").await.unwrap();
                    }
                    message.accept();
                }
            });
            // Not a question of speed: what the machine has to do for a message there and
            // back, it has to do for one and its ack.
            let there_and_back = async || {
                for _ in 0..100 {
                    a.send("ping").await.unwrap();
                    assert_eq!(a.recv().await.unwrap().unwrap().payload, "pong");
                }
            };
            // An ack that waited for its timer, of 5 ms, would make this 500 ms longer, for
            // the background, of 2 ms, 200 ms.
            let slack = Duration::from_millis(100);
            for level in [AckLevel::Received, AckLevel::Processed] {
                keeps_up(name, slack, there_and_back, async || {
                    for _ in 0..100 {
                        a.send(Message::new("x").with_ack(level)).await.unwrap();
                    }
                })
                .await;
            }
            drop(a);
            received.await.unwrap();
        })
        .await;
    }
}

async fn who_only_receives_writes_the_rest<R: Adapter>() {
    // The stream takes a few bytes at a time, and nobody waits for the message to go
    // out: whoever waits for something else writes on.
    for (name, builder) in modes() {
        let config = built(builder);
        within(async {
            let (a, b) = tokio::io::duplex(64);
            let (a, b) = tokio::join!(
                R::over(Box::new(a), Role::Initiator, config.clone()),
                R::over(Box::new(b), Role::Responder, config),
            );
            let (a, b) = (a.unwrap(), b.unwrap());
            let answers = async || {
                assert_eq!(b.recv().await.unwrap().unwrap().size(), 100_000);
                b.send("all of it").await.unwrap();
            };
            let waited_for = async || {
                let (sent, ()) = tokio::join!(a.send(vec![7; 100_000]), answers());
                sent.unwrap();
                assert!(a.recv().await.unwrap().is_some());
            };
            // 1,600 small writes: if the background did them, each would take its 2 to 4 ms.
            keeps_up(name, Duration::from_secs(1), waited_for, async || {
                drop(a.try_send(vec![7; 100_000]).unwrap());
                let (answer, ()) = tokio::join!(a.recv(), answers());
                assert_eq!(answer.unwrap().unwrap().payload, "all of it");
            })
            .await;
        })
        .await;
    }
}

async fn an_ack_does_not_wait_for_the_program_to_come_back<R: Adapter>() {
    for (name, builder) in modes() {
        let config = built(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let sending = tokio::spawn(async move {
                let start = Instant::now();
                let message = Message::new("one").with_ack(AckLevel::Received);
                a.send(message).await.unwrap();
                (start.elapsed(), a)
            });
            // Takes it, and never asks again.
            let message = b.recv().await.unwrap();
            let (took, _a) = sending.await.unwrap();
            println!("{name}: acknowledged after {took:?} by a program that is busy");
            assert!(took < Duration::from_secs(1), "{took:?}");
            drop(message);
        })
        .await;
    }
}

async fn a_server_that_greets_and_goes_is_heard<R: Adapter>() {
    // Its messages and its goodbye may come with the end of the handshake.
    for (_, builder) in modes() {
        let config = built(builder);
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let server = tokio::spawn(async move {
                for _ in 0..20 {
                    let server = listener.accept().await.unwrap();
                    server.send("full, try later").await.unwrap();
                }
            });
            for _ in 0..20 {
                let client = R::connect(&place.endpoint, config.clone()).await.unwrap();
                let message = client.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, "full, try later");
                assert!(client.recv().await.unwrap().is_none());
            }
            server.await.unwrap();
        })
        .await;
    }
}

async fn a_client_that_tells_and_goes_is_heard<R: Adapter>() {
    for (_, builder) in modes() {
        let config = built(builder);
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            for n in 0..20u8 {
                // All of it before the listener looks again.
                let client = async {
                    let client = R::connect(&place.endpoint, config.clone()).await.unwrap();
                    client.send(vec![n]).await.unwrap();
                };
                let ((), server) = tokio::join!(client, listener.accept());
                let server = server.unwrap();
                assert_eq!(server.recv().await.unwrap().unwrap().payload, vec![n]);
                assert!(server.recv().await.unwrap().is_none());
            }
        })
        .await;
    }
}

async fn dropped_without_finish_what_was_queued_still_goes_out<R: Adapter>() {
    for (_, builder) in modes() {
        let config = built(builder.max_message(1 << 20).receive_window(1 << 20, 64));
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            for n in 0..40u8 {
                drop(a.try_send(vec![n; 200_000]).unwrap());
            }
            drop(a);
            for n in 0..40u8 {
                let message = b.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, vec![n; 200_000]);
            }
            assert!(b.recv().await.unwrap().is_none());
            assert!(
                matches!(b.end(), Some(ConnectionError::ClosedByPeer(close)) if close.is_orderly())
            );
        })
        .await;
    }
}

async fn a_verdict_given_just_before_the_end_arrives<R: Adapter>() {
    for (_, builder) in modes() {
        let config = built(builder);
        for closes in [false, true] {
            let config = config.clone();
            within(async {
                let (a, b, _place) = connected::<R>(config.clone(), config).await;
                let message = |text: &'static str| Message::new(text).with_ack(AckLevel::Processed);
                let first = a.try_send(message("accepted")).unwrap();
                let second = a.try_send(message("taken, no verdict")).unwrap();
                let third = a.try_send(message("never taken")).unwrap();
                eventually(SOON, "all three are there", || {
                    a.stats().acknowledged == 3 || b.stats().waiting == 3 || {
                        let _ = futures_util::FutureExt::now_or_never(b.ping());
                        false
                    }
                })
                .await;
                b.recv().await.unwrap().unwrap().accept();
                let taken = b.recv().await.unwrap().unwrap();
                if closes {
                    b.close(Close::new(300, "enough")).await;
                } else {
                    drop(b);
                }
                assert_eq!(first.await.unwrap(), Outcome::Processed);
                assert_eq!(second.await.unwrap_err().outcome(), Outcome::Unknown);
                assert_eq!(third.await.unwrap_err().outcome(), Outcome::NotSent);
                drop(taken);
            })
            .await;
        }
    }
}

async fn a_peer_that_finishes_is_the_end_of_its_messages<R: Adapter>() {
    for (_, builder) in modes() {
        let config = built(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let server = async {
                assert_eq!(b.recv().await.unwrap().unwrap().payload, "last");
                assert!(b.recv().await.unwrap().is_none());
                assert!(b.recv().await.unwrap().is_none());
                // The other direction goes on.
                assert!(b.is_connected());
                b.send(Message::new("answer").with_ack(AckLevel::Received))
                    .await
                    .unwrap();
                b.finish().await.unwrap();
            };
            let client = async {
                a.send("last").await.unwrap();
                let (finished, answer) = tokio::join!(a.finish(), a.recv());
                finished.unwrap();
                assert_eq!(answer.unwrap().unwrap().payload, "answer");
                assert!(a.recv().await.unwrap().is_none());
            };
            tokio::join!(server, client);
            for side in [&a, &b] {
                assert_eq!(side.end(), Some(ConnectionError::Finished));
                let error = side.try_send("after the end").unwrap_err();
                let SendError::NotTaken { message, reason } = error else {
                    panic!("{error}")
                };
                assert_eq!(message.payload(), "after the end");
                assert_eq!(reason, SendErrorReason::Closed(ConnectionError::Finished));
            }
        })
        .await;
    }
}

async fn the_end_can_be_waited_for_while_nothing_is_received<R: Adapter>() {
    within(async {
        let (a, b, _place) = connected::<R>(Config::default(), Config::default()).await;
        a.send(Message::new("before").with_ack(AckLevel::Received))
            .await
            .unwrap();
        let mut closed = std::pin::pin!(b.closed());
        let early = tokio::time::timeout(Duration::from_millis(100), closed.as_mut()).await;
        assert!(early.is_err(), "it stands");
        let why = Close::new(321, "enough");
        let ((), end) = tokio::join!(a.close(why.clone()), closed);
        assert_eq!(end.unwrap(), ConnectionError::ClosedByPeer(why));
        // What came before is there.
        assert_eq!(b.recv().await.unwrap().unwrap().payload, "before");
        assert!(matches!(
            a.closed().await,
            Ok(ConnectionError::ClosedLocally(_))
        ));
    })
    .await;
}

async fn after_finish_nothing_more_is_sent<R: Adapter>() {
    within(async {
        let (a, b, _place) = connected::<R>(Config::default(), Config::default()).await;
        let finishing = a.finish();
        let checks = async {
            assert!(b.recv().await.unwrap().is_none());
            let error = a.send("too late").await.unwrap_err();
            assert!(
                matches!(
                    &error,
                    SendError::NotTaken {
                        reason: SendErrorReason::Finished,
                        ..
                    }
                ),
                "{error}"
            );
            assert_eq!(error.outcome(), Outcome::NotSent);
            // The other side has not: it is not the end yet.
            let error = a.reserve().await.unwrap_err();
            assert!(matches!(error, Error::FinishedSending), "{error}");
            b.finish().await.unwrap();
        };
        let (finished, ()) = tokio::join!(finishing, checks);
        finished.unwrap();
    })
    .await;
}

async fn a_send_ends_at_its_deadline_and_says_what_is_known<R: Adapter>() {
    const LIMIT: Duration = Duration::from_millis(200);
    for (_, builder) in modes() {
        let config = built(
            builder
                .max_message(1000)
                .receive_window(2000, 2)
                .send_queue(4000, 4),
        );
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let message = || {
                Message::new(vec![7; 1000])
                    .with_ack(AckLevel::Processed)
                    .with_deadline(LIMIT)
            };
            let start = Instant::now();
            // The first two arrive and are not settled; the window has no room for
            // the next two, and the queue none for a fifth.
            let deliveries: Vec<_> = (0..4).map(|_| a.try_send(message()).unwrap()).collect();
            let full = a.try_send(message()).unwrap_err();
            assert!(matches!(full, SendError::NotTaken { .. }), "{full}");
            let mut outcomes = Vec::new();
            for delivery in deliveries {
                let error = delivery.await.unwrap_err();
                assert!(error.to_string().contains("deadline"), "{error}");
                outcomes.push(error.outcome());
            }
            let took = start.elapsed();
            assert!(took >= LIMIT && took < SOON, "{took:?}");
            let wanted = [
                Outcome::Unknown,
                Outcome::Unknown,
                Outcome::NotSent,
                Outcome::NotSent,
            ];
            assert_eq!(outcomes, wanted);
            // The connection lives on, and the ones not sent never come.
            for _ in 0..2 {
                b.recv().await.unwrap().unwrap().accept();
            }
            a.send(Message::new("next").with_ack(AckLevel::Received))
                .await
                .unwrap();
            assert_eq!(b.recv().await.unwrap().unwrap().payload, "next");
        })
        .await;
    }
}

async fn a_deadline_covers_the_wait_for_room<R: Adapter>() {
    const LIMIT: Duration = Duration::from_millis(200);
    let config = built(
        Config::plain()
            .max_message(1000)
            .receive_window(2000, 2)
            .send_queue(4000, 4),
    );
    within(async {
        let (a, _b, _place) = connected::<R>(config.clone(), config).await;
        let message = || Message::new(vec![7; 1000]).with_ack(AckLevel::Processed);
        let _full: Vec<_> = (0..4).map(|_| a.try_send(message()).unwrap()).collect();
        // Far less than `send_timeout`.
        let start = Instant::now();
        let error = a.send(message().with_deadline(LIMIT)).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
        let asked = a.request_json::<u32>(vec![7_u8; 300], LIMIT).await;
        assert!(matches!(asked, Err(RequestError::Send(_))), "{asked:?}");
        let took = start.elapsed();
        assert!(took >= 2 * LIMIT && took < SOON, "{took:?}");
    })
    .await;
}

async fn operations_end_after_send_timeout<R: Adapter>() {
    const LIMIT: Duration = Duration::from_millis(200);
    within(async {
        let config = built(
            Config::plain()
                .max_message(1000)
                .receive_window(1000, 1)
                .send_queue(1000, 1)
                .close_timeout(LIMIT)
                .send_timeout(LIMIT),
        );
        let (a, b, _place) = connected::<R>(config.clone(), config).await;
        // Those in the queue outlast those that wait for room in it.
        let message = || Message::new(vec![0; 1000]).with_deadline(Duration::from_secs(20));
        let start = Instant::now();
        while a.try_send(message()).is_ok() {
            tokio::task::yield_now().await;
        }
        // Waiting for room: by reserve, by send; both name the limit or the queue.
        let error = a.reserve().await.unwrap_err();
        assert!(
            matches!(error, Error::Timeout { limit: LIMIT, .. }),
            "{error}"
        );
        assert!(start.elapsed() >= LIMIT && start.elapsed() < SOON);
        // The peer never finishes: so does finish, and the connection is closed.
        while b.recv().await.unwrap().is_none() {}
        let start = Instant::now();
        let error = a.finish().await.unwrap_err();
        assert!(
            matches!(error, Error::Timeout { limit: LIMIT, .. }),
            "{error}"
        );
        assert!(start.elapsed() >= LIMIT && start.elapsed() < SOON);
        assert!(matches!(a.end(), Some(ConnectionError::ClosedLocally(close)) if close.code == 4));
        let end = loop {
            match b.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a deadline that passed is no orderly end"),
                Err(error) => break error,
            }
        };
        assert!(matches!(
            end.connection(),
            Some(ConnectionError::ClosedByPeer(close)) if close.code == 4
        ));
    })
    .await;
}

async fn close_waits_for_the_answer_and_no_longer_than_its_deadline<R: Adapter>() {
    const LIMIT: Duration = Duration::from_millis(300);
    within(async {
        let config = || built(Config::plain().close_timeout(LIMIT));
        // The other side answers by itself, whatever its program does.
        let (a, b, _place) = connected::<R>(config(), config()).await;
        let start = Instant::now();
        a.close(Close::new(256, "over")).await;
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        let over = ConnectionError::ClosedByPeer(Close::new(256, "over"));
        let error = b.recv().await.unwrap_err();
        assert_eq!(error.connection(), Some(&over));
        // One that is stopped does not.
        let place = place();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let (a, _hand) = tokio::join!(R::connect(&place.endpoint, config()), async {
            Hand::open(listener.accept().await, Role::Responder, config()).await
        });
        let a = a.unwrap();
        let start = Instant::now();
        a.close(Close::new(256, "over")).await;
        let took = start.elapsed();
        assert!(took >= LIMIT && took < SOON, "{took:?}");
        assert!(matches!(a.end(), Some(ConnectionError::ClosedLocally(_))));
    })
    .await;
}

async fn a_peer_that_hangs_is_found_out<R: Adapter>() {
    // A living peer must get its turn within that, also on a busy machine.
    const SILENCE: Duration = Duration::from_secs(1);
    within(async {
        let config =
            || built(Config::plain().keepalive(Some(Duration::from_millis(200)), Some(SILENCE)));
        let place = place();
        let start = Instant::now();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let (a, mut hand) = tokio::join!(R::connect(&place.endpoint, config()), async {
            Hand::open(listener.accept().await, Role::Responder, config()).await
        });
        let a = a.unwrap();
        let error = a.recv().await.unwrap_err();
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Timeout(sealpipe_core::Timeout::Silence))
        );
        assert!(start.elapsed() >= SILENCE && start.elapsed() < SOON);
        // It had been asked.
        let asked = hand.core.stats();
        let end = hand.ended().await;
        assert!(matches!(end, ConnectionError::ClosedByPeer(close) if close.code == 4));
        assert_eq!(asked.messages_received, 0);
        // A living peer answers, and stays.
        let (a, b, _place) = connected::<R>(config(), config()).await;
        let left = tokio::time::timeout(SILENCE * 2, a.recv()).await;
        assert!(left.is_err(), "{left:?}");
        assert!(a.is_connected() && b.is_connected());
    })
    .await;
}

async fn pings_that_share_an_answer_all_get_it<R: Adapter>() {
    within(async {
        let (a, b, _place) = connected::<R>(Config::default(), Config::default()).await;
        let (first, second, third) = tokio::join!(a.ping(), a.ping(), a.ping());
        for round_trip in [first, second, third] {
            assert!(round_trip.unwrap() < SOON);
        }
        // One that was given up leaves no stale answer to the next.
        let place = place();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let (client, mut hand) =
            tokio::join!(R::connect(&place.endpoint, Config::default()), async {
                let stream = listener.accept().await;
                Hand::open(stream, Role::Responder, Config::default()).await
            });
        let client = client.unwrap();
        let given_up = tokio::time::timeout(Duration::from_millis(20), client.ping()).await;
        assert!(given_up.is_err());
        // The late answer, and a message by which to know that it was read.
        let mut late = Vec::new();
        Frame::Pong([0; 8]).encode(&mut late);
        late.extend(data(0, None, b"behind it"));
        hand.write(&late).await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().payload, "behind it");
        let unanswered = tokio::time::timeout(Duration::from_millis(200), client.ping()).await;
        assert!(
            unanswered.is_err(),
            "answered by what came before it was asked"
        );
        drop(b);
    })
    .await;
}

async fn a_listener_is_dropped_while_clients_connect<R: Adapter>() {
    for (_, builder) in modes() {
        let config = built(builder.handshake_timeout(Duration::from_secs(2)));
        within(async {
            let place = place();
            let listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let mut clients = Vec::new();
            for _ in 0..50 {
                let (endpoint, config) = (place.endpoint.clone(), config.clone());
                clients.push(tokio::spawn(async move {
                    let connecting = R::connect(&endpoint, config).await;
                    match connecting {
                        // It was accepted; nobody took it, and it is told so.
                        Ok(client) => drop(client.recv().await),
                        Err(Error::Endpoint(_) | Error::Connection(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }));
            }
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            drop(listener);
            for client in clients {
                client.await.unwrap();
            }
        })
        .await;
    }
}
