//! The peer's death is told: to a pending recv, to a pending send, to all who
//! wait at once, and with nobody waiting.
//!
//! The aim is 10 ms from when the system knows. A loaded machine may take longer
//! to run anything at all, and Wine longer: the time is printed, and held to a second
//! or five, which is far below every timer that could also have noticed.

use futures_util::StreamExt;
use sealpipe_core::Lost;
use sealpipe_driver::{
    Error, SendError,
    vocabulary::{AckLevel, Config, ConnectionError, Endpoint, Message, Outcome, Role},
};
use sealpipe_tests::{
    Adapter, Asynchronous, Hand, Helper, api::Connection, connected, eventually, key, mode, modes,
    place, raw, role, say, within,
};
use sealpipe_tokio::Tokio;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

sealpipe_tests::on_every_adapter! {
    a_pending_recv_is_told,
    nobody_waits_and_is_connected_knows,
    a_killed_process_is_noticed,
    what_came_before_the_loss_is_received;
    on two threads: all_who_wait_are_told_at_once;
    of futures: a_future_that_was_put_aside_hides_nothing, a_stream_tells_the_loss_once_and_ends
}

const NOTICED: Duration = Duration::from_secs(if cfg!(windows) { 5 } else { 1 });

#[test]
fn helper() {
    let Some((_, arguments)) = role() else { return };
    let [place, mode_name] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let endpoint: Endpoint = place.parse().unwrap();
        let mut listener = Tokio::bind(&endpoint, mode(mode_name).build().unwrap()).unwrap();
        say("listening");
        let connection = listener.accept().await.unwrap();
        let message = connection.recv().await.unwrap();
        say("received");
        std::future::pending::<()>().await;
        drop(message);
    });
}

/// A client whose server is a raw end under the test's hand.
async fn to_a_hand<R: Adapter>(config: Config) -> (R::Connection, Hand) {
    let place = place();
    let mut listener = raw::Listener::bind(&place.endpoint);
    let (client, hand) = tokio::join!(R::connect(&place.endpoint, config.clone()), async {
        Hand::open(listener.accept().await, Role::Responder, config).await
    });
    (client.unwrap(), hand)
}

fn lost(error: &Error) {
    let lost = error.connection();
    assert_eq!(lost, Some(&ConnectionError::Lost(Lost::Idle)), "{error}");
}

async fn a_pending_recv_is_told<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (client, hand) = to_a_hand::<R>(config).await;
            let waiting = tokio::spawn(async move {
                let error = client.recv().await.unwrap_err();
                (error, Instant::now(), client)
            });
            tokio::task::yield_now().await;
            let died = Instant::now();
            drop(hand);
            let (error, told, client) = waiting.await.unwrap();
            let took = told - died;
            println!("{name}: a pending recv was told after {took:?}");
            lost(&error);
            assert!(took < NOTICED);
            assert!(!client.is_connected());
            // And the same for ever, at once.
            lost(&client.recv().await.unwrap_err());
            assert!(matches!(
                client.try_send("too late"),
                Err(SendError::NotTaken { .. })
            ));
        })
        .await;
    }
}

async fn nobody_waits_and_is_connected_knows<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (client, hand) = to_a_hand::<R>(config).await;
            assert!(client.is_connected());
            drop(hand);
            let took = eventually(NOTICED, "is_connected() tells", || !client.is_connected()).await;
            println!("{name}: is_connected() told after {took:?}");
            assert_eq!(client.end(), Some(ConnectionError::Lost(Lost::Idle)));
        })
        .await;
    }
}

async fn a_future_that_was_put_aside_hides_nothing<R: Asynchronous>() {
    // It is waiting, and its task does not poll it: neither the loss nor anything
    // else may depend on that.
    within(async {
        let (client, hand) = to_a_hand::<R>(Config::default()).await;
        let mut aside = std::pin::pin!(client.recv());
        assert!(futures_util::poll!(aside.as_mut()).is_pending());
        drop(hand);
        eventually(NOTICED, "is_connected() tells", || !client.is_connected()).await;
    })
    .await;
    within(async {
        let (client, server, _place) = connected::<R>(Config::default(), Config::default()).await;
        let (sender, mut receiver) = client.split();
        // Polled once, as with a time-out, and not again.
        assert!(futures_util::poll!(receiver.next()).is_pending());
        let answered = tokio::spawn(async move {
            while let Some(message) = server.recv().await.unwrap() {
                message.accept();
            }
        });
        let start = Instant::now();
        for _ in 0..20 {
            // On another task: what wakes the receiver's does not drive this.
            let sender = sender.clone();
            let sent = tokio::spawn(async move {
                sender
                    .send(Message::new("answered").with_ack(AckLevel::Processed))
                    .await
            });
            assert_eq!(sent.await.unwrap().unwrap(), Outcome::Processed);
        }
        let took = start.elapsed();
        println!("20 answers beside a receiver that does not look: {took:?}");
        assert!(took < NOTICED);
        drop((sender, receiver));
        answered.await.unwrap();
    })
    .await;
}

async fn all_who_wait_are_told_at_once<R: Adapter>() {
    for (name, builder) in modes() {
        // Small, so that senders wait for room, too.
        let config = builder
            .max_message(1024)
            .receive_window(4096, 4)
            .send_queue(2048, 4)
            .build()
            .unwrap();
        within(async {
            let (client, hand) = to_a_hand::<R>(config).await;
            let sender = Arc::new(client);
            let receiver = sender.clone();
            let mut tasks: Vec<tokio::task::JoinHandle<(&str, Instant)>> = Vec::new();
            tasks.push(tokio::spawn(async move {
                lost(&receiver.recv().await.unwrap_err());
                ("recv", Instant::now())
            }));
            for _ in 0..12 {
                let sender = sender.clone();
                tasks.push(tokio::spawn(async move {
                    let message = Message::new(vec![7; 1000]).with_ack(AckLevel::Processed);
                    let error = sender.send(message).await.unwrap_err();
                    match error {
                        SendError::Unknown(Some(end)) | SendError::NotSent(Some(end)) => {
                            lost(&end.into());
                        }
                        SendError::NotTaken { message, .. } => {
                            assert_eq!(message.size(), 1000);
                        }
                        error => panic!("{error}"),
                    }
                    ("send", Instant::now())
                }));
            }
            for what in ["ping", "finish", "reserve"] {
                let sender = sender.clone();
                tasks.push(tokio::spawn(async move {
                    match what {
                        "ping" => drop(sender.ping().await.unwrap_err()),
                        "finish" => {
                            // After it nothing more is taken: not before the window
                            // is full. (That something is queued may be over in a
                            // moment.)
                            eventually(NOTICED, "the window is full", || {
                                sender.stats().messages_sent >= 4 || !sender.is_connected()
                            })
                            .await;
                            drop(sender.finish().await.unwrap_err());
                        }
                        _ => drop(sender.reserve().await.map(drop)),
                    }
                    (what, Instant::now())
                }));
            }
            eventually(NOTICED, "the window is full", || {
                sender.stats().messages_sent >= 4
            })
            .await;
            let died = Instant::now();
            drop(hand);
            let mut last = Duration::ZERO;
            for task in tasks {
                let (what, told) = task.await.unwrap();
                let took = told.saturating_duration_since(died);
                assert!(took < NOTICED, "{what} was told after {took:?}");
                last = last.max(took);
            }
            println!("{name}: the last of 16 who waited was told after {last:?}");
        })
        .await;
    }
}

async fn a_killed_process_is_noticed<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let mut server = Helper::at(&place.endpoint, "server", &[name]);
            assert_eq!(server.line(), "listening");
            let client = R::connect(&place.endpoint, config).await.unwrap();
            let delivery = client
                .try_send(Message::new("last words").with_ack(AckLevel::Processed))
                .unwrap();
            // Not blocking this thread: on a pipe the message goes out from here.
            let (mut server, line) = server.heard().await;
            assert_eq!(line, "received");
            server.kill();
            let took = eventually(NOTICED, "is_connected() tells", || !client.is_connected()).await;
            println!("{name}: a killed process was noticed after {took:?}");
            lost(&client.recv().await.unwrap_err());
            // It had arrived; what was made of it nobody can say.
            assert_eq!(delivery.await.unwrap_err().outcome(), Outcome::Unknown);
        })
        .await;
    }
}

async fn a_stream_tells_the_loss_once_and_ends<R: Asynchronous>() {
    within(async {
        let (client, hand) = to_a_hand::<R>(Config::sealed(key(7)).build().unwrap()).await;
        drop(hand);
        // Collecting what never ended would never end.
        let items: Vec<_> = client.collect().await;
        assert_eq!(items.len(), 1);
        lost(items[0].as_ref().unwrap_err());
    })
    .await;
}

async fn what_came_before_the_loss_is_received<R: Adapter>() {
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (client, mut hand) = to_a_hand::<R>(config).await;
            for n in 0..50u8 {
                hand.core
                    .send_untracked(hand.now(), Message::new(vec![n; 100]))
                    .unwrap();
            }
            hand.flush().await.unwrap();
            drop(hand);
            eventually(NOTICED, "is_connected() tells", || !client.is_connected()).await;
            for n in 0..50u8 {
                assert_eq!(client.recv().await.unwrap().unwrap().payload, vec![n; 100]);
            }
            lost(&client.recv().await.unwrap_err());
        })
        .await;
    }
}
