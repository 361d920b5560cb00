//! A server's life: many clients, limits, what it tells. How it stops has a file of its
//! own.

use futures_util::{
    StreamExt,
    future::{join_all, poll_immediate},
};
use sealpipe_driver::{
    Client, Connection, Handler, Happening, Incoming, Request, RequestError, Response, Runtime,
    SendError, Server, ServerOptions,
    vocabulary::{
        Backlog, Close, Config, ConnectionError, Endpoint, Kind, Outcome, Overflow, Rejection,
        RemoteError,
    },
};
use sealpipe_tests::{
    eventually, modes, next_request, place,
    server::{Busy, GivesAway, Simple, Waits, busy, connect, gone, processed},
    within,
};
use std::{
    future::Future,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

sealpipe_tests::on_every_adapter! {
    ; of futures:
    messages_and_requests_are_handled,
    a_handler_may_answer_early_or_later,
    a_verdict_may_come_after_the_client_has_finished,
    an_answer_may_come_after_the_client_has_finished,
    a_server_without_handlers_says_so,
    requests_of_one_client_are_handled_side_by_side,
    a_panic_ends_one_connection_and_not_the_server,
    a_server_takes_no_more_messages_than_it_should,
    nobody_waits_for_room_of_a_client_that_has_gone,
    a_client_can_finish_while_the_server_keeps_its_name,
    too_many_clients_are_told_so,
    a_client_that_sends_too_fast_waits,
    a_server_asks_its_clients,
    what_happens_is_told,
    who_watches_a_server_that_does_not_start_is_not_left_waiting,
}

const LONG: Duration = Duration::from_secs(20);

async fn messages_and_requests_are_handled<R: Runtime>() {
    for (mode, config) in modes() {
        within(async {
            let place = place();
            let config = Arc::new(config.build().unwrap());
            let server = Server::<R>::start(&place.endpoint, config.clone(), Simple).unwrap();
            assert!(server.is_running());
            let clients = (0..5).map(|_| async {
                let client = Connection::<R>::connect(&place.endpoint, config.clone());
                let client = client.await.unwrap();
                assert_eq!(
                    client.send(processed("yes")).await.unwrap(),
                    Outcome::Processed
                );
                match client.send(processed("no")).await {
                    Err(SendError::Rejected(why)) => assert_eq!(why.code, 300, "{mode}"),
                    other => panic!("{other:?}"),
                }
                assert_eq!(client.request("abc", LONG).await.unwrap(), "cba");
                match client.request("no", LONG).await {
                    Err(RequestError::Remote(error)) => assert_eq!(error.code, 301),
                    other => panic!("{other:?}"),
                }
                client
            });
            let clients = join_all(clients).await;
            assert_eq!(server.clients().len(), 5);
            drop(clients);
            let report = server.stop(LONG).await;
            assert!(!server.is_running());
            assert_eq!(
                (report.clients, report.accepted, report.rejected),
                (5, 5, 5)
            );
            assert_eq!(
                (report.replied, report.refused, report.unfinished),
                (5, 5, 0)
            );
        })
        .await;
    }
}

/// Answers some itself, and leaves others to whoever wants them.
struct Leaves<R: Runtime>(Mutex<Vec<Request<R>>>, Notify);

impl<R: Runtime> Handler<R> for Leaves<R> {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        message.take_verdict().accept();
        // Not before somebody says so.
        self.1.notified().await;
        Ok(())
    }

    async fn request(
        &self,
        _: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        self.0.lock().unwrap().push(request.take());
        Ok(Response::Later)
    }
}

async fn a_handler_may_answer_early_or_later<R: Runtime>() {
    within(async {
        let place = place();
        let handler = Arc::new(Leaves(Mutex::default(), Notify::new()));
        let server =
            Server::<R>::start(&place.endpoint, Config::default(), handler.clone()).unwrap();
        let client = connect::<R>(&place).await;
        // Accepted, though the handler has not returned.
        assert_eq!(
            client.send(processed("early")).await.unwrap(),
            Outcome::Processed
        );
        assert_eq!(server.report().accepted, 0);
        let answer = async {
            let request = loop {
                if let Some(request) = handler.0.lock().unwrap().pop() {
                    break request;
                }
                tokio::task::yield_now().await;
            };
            request.reply("later").await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("", LONG), answer);
        assert_eq!(reply.unwrap(), "later");
        handler.1.notify_one();
        assert_eq!(server.stop(LONG).await.accepted, 1);
    })
    .await;
}

async fn a_verdict_may_come_after_the_client_has_finished<R: Runtime>() {
    within(async {
        let place = place();
        let (give, mut given) = mpsc::unbounded_channel();
        let server =
            Server::<R>::start(&place.endpoint, Config::default(), GivesAway(give.clone()));
        let server = server.unwrap();
        let client = connect::<R>(&place).await;
        let delivery = client.queue(processed("")).await.unwrap();
        let decide = async {
            let verdict = given.recv().await.unwrap();
            // The answers come behind the end of what the client sends.
            client.ping().await.unwrap();
            client.ping().await.unwrap();
            verdict.accept();
        };
        let (finished, ()) = tokio::join!(client.finish(), decide);
        finished.unwrap();
        assert_eq!(delivery.await.unwrap(), Outcome::Processed);
        // Or when the server has been told to stop.
        let client = connect::<R>(&place).await;
        let delivery = client.queue(processed("")).await.unwrap();
        let verdict = given.recv().await.unwrap();
        server.begin_stop(LONG);
        // The server closes what has nothing to wait for.
        assert!(poll_immediate(server.stopped()).await.is_none());
        client.ping().await.unwrap();
        client.ping().await.unwrap();
        verdict.accept();
        assert_eq!(delivery.await.unwrap(), Outcome::Processed);
        server.stopped().await;
        // One that never comes does not hold it up for ever.
        let server = Server::<R>::start(&place.endpoint, Config::default(), GivesAway(give));
        let server = server.unwrap();
        let client = connect::<R>(&place).await;
        let delivery = client.queue(processed("")).await.unwrap();
        let stop = async {
            let verdict = given.recv().await.unwrap();
            client.ping().await.unwrap();
            server.stop(Duration::from_millis(50)).await;
            drop(verdict);
        };
        let (_, ()) = tokio::join!(client.finish(), stop);
        delivery.await.unwrap_err();
    })
    .await;
}

async fn an_answer_may_come_after_the_client_has_finished<R: Runtime>() {
    within(async {
        let place = place();
        let handler = Arc::new(Leaves(Mutex::default(), Notify::new()));
        let server =
            Server::<R>::start(&place.endpoint, Config::default(), handler.clone()).unwrap();
        let client = connect::<R>(&place).await;
        let answer = async {
            let taken = || !handler.0.lock().unwrap().is_empty();
            eventually(LONG, "a request", taken).await;
            let finish = client.finish();
            let reply = async {
                // The answers come behind the end of what the client sends.
                client.ping().await.unwrap();
                client.ping().await.unwrap();
                let request = handler.0.lock().unwrap().pop().unwrap();
                request.reply("later").await.unwrap();
            };
            tokio::join!(finish, reply).0.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("", LONG), answer);
        assert_eq!(reply.unwrap(), "later");
        server.stop(LONG).await;
    })
    .await;
}

async fn a_server_without_handlers_says_so<R: Runtime>() {
    within(async {
        let place = place();
        let _server = Server::<R>::start(&place.endpoint, Config::default(), ()).unwrap();
        let client = connect::<R>(&place).await;
        let error = client.send(processed("")).await.unwrap_err();
        assert!(error.to_string().contains("takes no messages"), "{error}");
        match client.request("", LONG).await.unwrap_err() {
            RequestError::Remote(error) => assert_eq!(error.code, RemoteError::NO_HANDLER),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

/// Answers when all have come.
struct Together(tokio::sync::Barrier);

impl<R: Runtime> Handler<R> for Together {
    async fn request(&self, _: &Client<R>, _: &mut Request<R>) -> Result<Response, RemoteError> {
        self.0.wait().await;
        Ok("".into())
    }
}

async fn requests_of_one_client_are_handled_side_by_side<R: Runtime>() {
    within(async {
        let place = place();
        let handler = Together(tokio::sync::Barrier::new(50));
        let _server = Server::<R>::start(&place.endpoint, Config::default(), handler).unwrap();
        let client = connect::<R>(&place).await;
        for reply in join_all((0..50).map(|_| client.request("", LONG))).await {
            reply.unwrap();
        }
    })
    .await;
}

struct Panics;

impl<R: Runtime> Handler<R> for Panics {
    fn message(
        &self,
        _: &Client<R>,
        message: &mut Incoming<R>,
    ) -> impl Future<Output = Result<(), Rejection>> + Send {
        assert!(message.payload != "at once", "before there is a future");
        async {
            assert!(message.payload != "panic", "as asked for");
            Ok(())
        }
    }

    async fn request(&self, _: &Client<R>, _: &mut Request<R>) -> Result<Response, RemoteError> {
        panic!("as asked for");
    }
}

async fn a_panic_ends_one_connection_and_not_the_server<R: Runtime>() {
    within(async {
        let place = place();
        let server = Server::<R>::start(&place.endpoint, Config::default(), Panics).unwrap();
        let (second, third) = (connect::<R>(&place).await, connect::<R>(&place).await);
        for panic in ["panic", "at once"] {
            let first = connect::<R>(&place).await;
            let error = first.send(processed(panic)).await.unwrap_err();
            assert!(!matches!(error, SendError::NotTaken { .. }), "{error:?}");
            let end = first.recv().await.unwrap_err();
            assert!(end.to_string().contains("panicked"), "{end}");
        }
        let error = second.request("", LONG).await.unwrap_err();
        assert!(!matches!(error, RequestError::NoReply(_)), "{error:?}");
        assert_eq!(
            third.send(processed("fine")).await.unwrap(),
            Outcome::Processed
        );
        let report = server.stop(LONG).await;
        assert_eq!((report.panicked, report.accepted), (3, 1));
    })
    .await;
}

async fn nobody_waits_for_room_of_a_client_that_has_gone<R: Runtime>() {
    within(async {
        let options = ServerOptions::<R>::new(Config::default()).backlog(Backlog {
            messages: 1,
            overflow: Overflow::Block,
            ..Backlog::default()
        });
        let Busy { server, client, .. } = &busy(options).await;
        let _subscription = client.subscribe("topic").await.unwrap();
        client.close(Close::new(Close::GOING_AWAY, "")).await;
        gone(server).await;
        for _ in 0..3 {
            server.publish("topic", "").await.unwrap();
        }
    })
    .await;
}

async fn a_client_can_finish_while_the_server_keeps_its_name<R: Runtime>() {
    within(async {
        let place = place();
        let server = Server::<R>::start(&place.endpoint, Config::default(), Simple).unwrap();
        let client = connect::<R>(&place).await;
        client.send(processed("")).await.unwrap();
        let kept = server.clients();
        assert_eq!(kept.len(), 1);
        client.finish().await.unwrap();
    })
    .await;
}

/// Waits with the first message only, and says when the second has come.
#[derive(Clone, Default)]
struct Begins {
    waits: Waits,
    second: Arc<Notify>,
}

impl<R: Runtime> Handler<R> for Begins {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        match self.waits.came.fetch_add(1, Ordering::SeqCst) {
            0 => self.waits.go.notified().await,
            1 => self.second.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

/// One message is being handled, and so many more have come.
async fn pending<R: Runtime>(server: &Server<R>, client: &Connection<R>, more: usize) {
    for _ in 0..=more {
        drop(client.queue(processed("")).await.unwrap());
    }
    let came = || {
        let clients = server.clients();
        clients
            .first()
            .map(|client| client.stats().messages_received)
            == Some(more as u64 + 1)
    };
    eventually(LONG, "all messages have come", came).await;
}

async fn a_server_takes_no_more_messages_than_it_should<R: Runtime>() {
    within(async {
        let place = place();
        let begins = Begins::default();
        let go = begins.waits.go.clone();
        let options = ServerOptions::<R>::new(Config::default()).max_messages(3);
        let server = options.start(&place.endpoint, begins).unwrap();
        let client = connect::<R>(&place).await;
        pending(&server, &client, 9).await;
        go.notify_one();
        assert_eq!(server.stopped().await.accepted, 3);
    })
    .await;
}

/// On one thread, where nobody else has a turn before its task gives way.
#[tokio::test]
async fn a_client_that_sends_much_lets_others_have_their_turn() {
    const MORE: usize = 2_000;
    within(async {
        let place = place();
        let begins = Begins::default();
        let (Waits { go, came }, second) = (begins.waits.clone(), begins.second.clone());
        let server =
            Server::<sealpipe_tokio::Tokio>::start(&place.endpoint, Config::default(), begins)
                .unwrap();
        let client = connect(&place).await;
        pending(&server, &client, MORE).await;
        // Another task, which has its turn among those that are ready.
        let other = tokio::spawn(async move {
            second.notified().await;
            came.load(Ordering::SeqCst)
        });
        tokio::task::yield_now().await;
        go.notify_one();
        let came = other.await.unwrap();
        assert!(came < MORE as u64, "{came} of {MORE}");
    })
    .await;
}

async fn too_many_clients_are_told_so<R: Runtime>() {
    within(async {
        let place = place();
        let options = ServerOptions::<R>::new(Config::default()).max_clients(1);
        let server = options.start(&place.endpoint, Simple).unwrap();
        let first = connect::<R>(&place).await;
        first.send(processed("")).await.unwrap();
        let second = connect::<R>(&place).await;
        let end = second.recv().await.unwrap_err();
        assert!(end.to_string().contains("as many clients"), "{end}");
        drop(first);
        while !server.clients().is_empty() {
            tokio::task::yield_now().await;
        }
        let third = connect::<R>(&place).await;
        third.send(processed("")).await.unwrap();
    })
    .await;
}

async fn a_client_that_sends_too_fast_waits<R: Runtime>() {
    within(async {
        let place = place();
        let options = ServerOptions::<R>::new(Config::default()).rate_limit(100, 5);
        let _server = options.start(&place.endpoint, Simple).unwrap();
        let (fast, other) = (connect::<R>(&place).await, connect::<R>(&place).await);
        let start = std::time::Instant::now();
        for outcome in join_all((0..25).map(|_| fast.send(processed("")))).await {
            assert_eq!(outcome.unwrap(), Outcome::Processed);
        }
        // Five at once, and twenty at one every ten milliseconds.
        assert!(
            start.elapsed() >= Duration::from_millis(190),
            "{:?}",
            start.elapsed()
        );
        other.send(processed("")).await.unwrap();
    })
    .await;
}

/// Asks back.
struct Asks;

impl<R: Runtime> Handler<R> for Asks {
    async fn request(
        &self,
        client: &Client<R>,
        _: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        let answer = client.request("and you?", LONG).await;
        let answer = answer.map_err(|error| RemoteError::new(400, error.to_string()))?;
        Ok(answer.into())
    }
}

async fn a_server_asks_its_clients<R: Runtime>() {
    within(async {
        let place = place();
        let _server = Server::<R>::start(&place.endpoint, Config::default(), Asks).unwrap();
        let client = connect::<R>(&place).await;
        let answer = async {
            let request = next_request(&client).await;
            assert_eq!(request.payload, "and you?");
            request.reply("fine").await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("how are you?", LONG), answer);
        assert_eq!(reply.unwrap(), "fine");
    })
    .await;
}

async fn who_watches_a_server_that_does_not_start_is_not_left_waiting<R: Runtime>() {
    within(async {
        let options = ServerOptions::<R>::new(Config::default());
        let mut events = options.events();
        let waits = tokio::spawn(async move { events.recv().await });
        tokio::task::yield_now().await;
        let nowhere = Endpoint::path(std::env::temp_dir().join("no-such-directory/socket"));
        options.start(&nowhere, Panics).unwrap_err();
        assert!(waits.await.unwrap().is_none());
    })
    .await;
}

async fn what_happens_is_told<R: Runtime>() {
    within(async {
        let place = place();
        let observed = Arc::new(Mutex::new(Vec::new()));
        let options = ServerOptions::<R>::new(Config::default()).observer({
            let observed = observed.clone();
            move |event: &sealpipe_driver::ServerEvent| {
                observed.lock().unwrap().push(event.what.clone());
            }
        });
        let mut events = options.events();
        let server = options.start(&place.endpoint, Panics).unwrap();
        let started = events.recv().await.unwrap();
        assert!(matches!(started.what, Happening::Started { .. }));
        let client = connect::<R>(&place).await;
        client.send(processed("fine")).await.unwrap();
        client.send(processed("panic")).await.unwrap_err();
        let name = loop {
            let event = events.next().await.unwrap();
            assert_eq!(event.missed, 0);
            match event.what {
                Happening::Connected { client, peer } => {
                    assert!(peer.is_some());
                    assert_eq!(client.to_string(), "1");
                }
                Happening::Message { kind, size, .. } => {
                    assert_eq!(kind, Kind::Message);
                    assert!(size >= 4);
                }
                Happening::Failed { error, .. } => assert!(error.contains("panicked")),
                Happening::Disconnected { client, reason } => {
                    assert!(
                        matches!(reason, ConnectionError::ClosedLocally(_)),
                        "{reason}"
                    );
                    break client;
                }
                other => panic!("{other:?}"),
            }
        };
        eventually(LONG, "it is off the books", || {
            server.client(name).is_none()
        })
        .await;
        server.stop(LONG).await;
        let last = events.next().await.unwrap();
        assert!(matches!(last.what, Happening::Stopped(report) if report.panicked == 1));
        assert!(events.next().await.is_none());
        let observed = observed.lock().unwrap();
        assert!(matches!(observed.first(), Some(Happening::Started { .. })));
        assert!(matches!(observed.last(), Some(Happening::Stopped(_))));
        assert_eq!(observed.len(), 7, "{observed:?}");
    })
    .await;
}
