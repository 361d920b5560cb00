//! A server's life: many clients, stopping in every way, limits, what it tells.

use futures_util::{
    StreamExt,
    future::{join_all, poll_immediate},
};
use sealpipe_driver::{
    Client, Connection, Handler, Happening, Incoming, Request, RequestError, Response, Runtime,
    SendError, Server, ServerOptions, Verdict,
    vocabulary::{
        AckLevel, Backlog, Close, Config, ConnectionError, Kind, Message, Outcome, Overflow,
        Rejection, RemoteError,
    },
};
use sealpipe_tests::{Place, eventually, modes, place, within};
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

sealpipe_tests::on_every_adapter! {
    ; of futures:
    messages_and_requests_are_handled,
    a_handler_may_answer_early_or_later,
    a_verdict_may_come_after_the_client_has_finished,
    an_answer_may_come_after_the_client_has_finished,
    a_server_whose_task_is_dropped_has_stopped,
    a_server_without_handlers_says_so,
    requests_of_one_client_are_handled_side_by_side,
    a_panic_ends_one_connection_and_not_the_server,
    nothing_more_is_taken_once_the_server_stops,
    a_stop_lets_handlers_finish,
    a_stop_does_not_wait_for_ever,
    a_stop_can_be_hurried,
    a_stop_does_not_wait_for_clients_that_have_gone,
    a_stop_does_not_wait_for_messages_that_came_too_early,
    stopping_under_load_loses_no_message_untold,
    a_server_stops_by_itself,
    a_server_takes_no_more_messages_than_it_should,
    nobody_waits_for_room_of_a_client_that_has_gone,
    a_client_can_finish_while_the_server_keeps_its_name,
    too_many_clients_are_told_so,
    a_client_that_sends_too_fast_waits,
    a_server_asks_its_clients,
    what_happens_is_told,
}

const LONG: Duration = Duration::from_secs(20);

fn processed(payload: &'static str) -> Message {
    Message::new(payload).with_ack(AckLevel::Processed)
}

async fn connect<R: Runtime>(place: &Place) -> Connection<R> {
    Connection::connect(&place.endpoint, Config::default())
        .await
        .expect("a connection")
}

/// Takes messages but "no", answers requests with themselves, upside down.
struct Simple;

impl<R: Runtime> Handler<R> for Simple {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        match &message.payload[..] {
            b"no" => Err(Rejection::new(300, "not this one")),
            _ => Ok(()),
        }
    }

    async fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        assert!(client.is_connected() && client.server().is_running());
        match &request.payload[..] {
            b"no" => Err(RemoteError::new(301, "not this either")),
            payload => Ok(payload.iter().rev().copied().collect::<Vec<u8>>().into()),
        }
    }
}

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

/// Gives every verdict away.
struct GivesAway<R: Runtime>(mpsc::UnboundedSender<Verdict<R>>);

impl<R: Runtime> Handler<R> for GivesAway<R> {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        let _ = self.0.send(message.take_verdict());
        Ok(())
    }
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

async fn a_server_whose_task_is_dropped_has_stopped<R: Runtime>() {
    within(async {
        let place = place();
        let options = ServerOptions::<R>::new(Config::default()).spawner(drop);
        let mut events = options.events();
        let server = options.start(&place.endpoint, Simple).unwrap();
        assert!(server.stopped().await.failed);
        while events.recv().await.is_some() {}
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

/// Waits until it is let go.
struct Waits(Arc<Notify>, Arc<AtomicU64>);

impl<R: Runtime> Handler<R> for Waits {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.notified().await;
        Ok(())
    }
}

fn waits() -> (Waits, Arc<Notify>, Arc<AtomicU64>) {
    let (go, came) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    (Waits(go.clone(), came.clone()), go, came)
}

async fn until(came: &AtomicU64, count: u64) {
    while came.load(Ordering::SeqCst) < count {
        tokio::task::yield_now().await;
    }
}

/// Stops its server with the first message.
struct StopsAtOnce;

impl<R: Runtime> Handler<R> for StopsAtOnce {
    async fn message(&self, client: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        client.server().begin_stop(LONG);
        Ok(())
    }
}

async fn nothing_more_is_taken_once_the_server_stops<R: Runtime>() {
    within(async {
        let place = place();
        let server = Server::<R>::start(&place.endpoint, Config::default(), StopsAtOnce).unwrap();
        let client = connect::<R>(&place).await;
        let send = |_| client.send(processed(""));
        let outcomes = join_all((0..10).map(send)).await;
        assert_eq!(*outcomes[0].as_ref().unwrap(), Outcome::Processed);
        for outcome in &outcomes[1..] {
            let error = outcome.as_ref().unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
        }
        assert_eq!(server.stopped().await.accepted, 1);
    })
    .await;
}

async fn a_stop_lets_handlers_finish<R: Runtime>() {
    within(async {
        let place = place();
        let (handler, go, came) = waits();
        let server = Server::<R>::start(&place.endpoint, Config::default(), handler).unwrap();
        let client = connect::<R>(&place).await;
        let taken = client.try_send(processed("taken")).unwrap();
        until(&came, 1).await;
        server.begin_stop(LONG);
        assert!(!server.is_running());
        go.notify_one();
        assert_eq!(taken.await.unwrap(), Outcome::Processed);
        let report = server.stopped().await;
        assert_eq!((report.accepted, report.unfinished), (1, 0));
        // Nobody listens any more.
        Connection::<R>::connect(&place.endpoint, Config::default())
            .await
            .unwrap_err();
    })
    .await;
}

async fn a_stop_does_not_wait_for_ever<R: Runtime>() {
    within(async {
        let place = place();
        let (handler, _go, came) = waits();
        let server = Server::<R>::start(&place.endpoint, Config::default(), handler).unwrap();
        let client = connect::<R>(&place).await;
        let taken = client.try_send(processed("taken")).unwrap();
        until(&came, 1).await;
        let report = server.stop(Duration::from_millis(50)).await;
        assert_eq!((report.accepted, report.unfinished), (0, 1));
        match taken.await.unwrap_err() {
            SendError::Rejected(why) => assert_eq!(why.code, Rejection::DROPPED),
            // It may be gone before the verdict is there.
            SendError::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn a_stop_can_be_hurried<R: Runtime>() {
    within(async {
        let place = place();
        let (handler, _go, came) = waits();
        let server = Server::<R>::start(&place.endpoint, Config::default(), handler).unwrap();
        let client = connect::<R>(&place).await;
        let _taken = client.try_send(processed("taken")).unwrap();
        until(&came, 1).await;
        server.begin_stop(LONG);
        // A longer time does not count.
        server.begin_stop(LONG * 2);
        client.ping().await.unwrap();
        let report = server.stop(Duration::from_millis(50)).await;
        assert!(report.stopping < LONG, "{report:?}");
        assert_eq!(report.unfinished, 1);
        // Also where it waits for a verdict of a client that has finished.
        let (give, mut given) = mpsc::unbounded_channel();
        let server = Server::<R>::start(&place.endpoint, Config::default(), GivesAway(give));
        let server = server.unwrap();
        let client = connect::<R>(&place).await;
        let _delivery = client.queue(processed("")).await.unwrap();
        let stop = async {
            let _verdict = given.recv().await.unwrap();
            server.begin_stop(LONG);
            client.ping().await.unwrap();
            client.ping().await.unwrap();
            server.stop(Duration::from_millis(50)).await
        };
        let (_, report) = tokio::join!(client.finish(), stop);
        assert!(report.stopping < LONG, "{report:?}");
    })
    .await;
}

/// The connections have ended; the handlers run on.
async fn gone<R: Runtime>(server: &Server<R>) {
    let none = || {
        let clients = server.clients();
        !clients.iter().any(Client::is_connected)
    };
    eventually(LONG, "the client has gone", none).await;
}

async fn a_stop_does_not_wait_for_clients_that_have_gone<R: Runtime>() {
    within(async {
        let place = place();
        let (handler, _go, came) = waits();
        let server = Server::<R>::start(&place.endpoint, Config::default(), handler).unwrap();
        let client = connect::<R>(&place).await;
        let _taken = client.try_send(processed("taken")).unwrap();
        until(&came, 1).await;
        drop(client);
        gone(&server).await;
        let report = server.stop(Duration::from_millis(50)).await;
        assert_eq!((report.accepted, report.unfinished), (0, 1));
    })
    .await;
}

async fn a_stop_does_not_wait_for_messages_that_came_too_early<R: Runtime>() {
    within(async {
        let place = place();
        let options = ServerOptions::<R>::new(Config::default()).rate_limit(0, 1);
        let server = options.start(&place.endpoint, Simple).unwrap();
        let client = connect::<R>(&place).await;
        client.send(processed("first")).await.unwrap();
        let early = client.try_send(processed("early")).unwrap();
        let came = || {
            let stats = server.clients()[0].stats();
            stats.messages_received == 2 && stats.waiting == 0
        };
        eventually(LONG, "the second message is taken", came).await;
        let report = server.stop(LONG).await;
        assert!(report.stopping < LONG, "{report:?}");
        early.await.unwrap_err();
    })
    .await;
}

async fn nobody_waits_for_room_of_a_client_that_has_gone<R: Runtime>() {
    within(async {
        let place = place();
        let (handler, _go, came) = waits();
        let server = ServerOptions::<R>::new(Config::default())
            .backlog(Backlog {
                messages: 1,
                overflow: Overflow::Block,
                ..Backlog::default()
            })
            .start(&place.endpoint, handler)
            .unwrap();
        let client = connect::<R>(&place).await;
        let _subscription = client.subscribe("topic").await.unwrap();
        let _taken = client.try_send(processed("taken")).unwrap();
        until(&came, 1).await;
        client.close(Close::new(Close::GOING_AWAY, "")).await;
        gone(&server).await;
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

/// Waits with the first message only.
struct Begins(Waits);

impl<R: Runtime> Handler<R> for Begins {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        let Waits(go, came) = &self.0;
        if came.fetch_add(1, Ordering::SeqCst) == 0 {
            go.notified().await;
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
        let (waits, go, _came) = waits();
        let options = ServerOptions::<R>::new(Config::default()).max_messages(3);
        let server = options.start(&place.endpoint, Begins(waits)).unwrap();
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
        let (waits, go, came) = waits();
        let server = Server::<sealpipe_tokio::Tokio>::start(
            &place.endpoint,
            Config::default(),
            Begins(waits),
        )
        .unwrap();
        let client = connect(&place).await;
        pending(&server, &client, MORE).await;
        go.notify_one();
        until(&came, 2).await;
        assert!(came.load(Ordering::SeqCst) < MORE as u64);
    })
    .await;
}

/// Counts what it accepts.
struct Counts(Arc<AtomicU64>);

impl<R: Runtime> Handler<R> for Counts {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(())
    }
}

async fn stopping_under_load_loses_no_message_untold<R: Runtime>() {
    within(async {
        let place = place();
        let count = Arc::new(AtomicU64::new(0));
        let server =
            Server::<R>::start(&place.endpoint, Config::default(), Counts(count.clone())).unwrap();
        let clients = (0..50).map(|_| async {
            let client = connect::<R>(&place).await;
            let (mut accepted, mut unknown) = (0_u64, 0_u64);
            loop {
                // Several under way at once.
                let sent = join_all((0..8).map(|_| client.send(processed("work")))).await;
                let failed = sent.iter().any(Result::is_err);
                for outcome in sent {
                    match outcome {
                        Ok(Outcome::Processed) => accepted += 1,
                        Err(error) => match error.outcome() {
                            Outcome::NotSent => {}
                            _ => unknown += 1,
                        },
                        other => panic!("{other:?}"),
                    }
                }
                if failed {
                    return (accepted, unknown);
                }
            }
        });
        let stop = async {
            until(&count, 2_000).await;
            server.stop(LONG).await
        };
        let (told, report) = tokio::join!(join_all(clients), stop);
        let accepted: u64 = told.iter().map(|(accepted, _)| accepted).sum();
        let unknown: u64 = told.iter().map(|(_, unknown)| unknown).sum();
        assert_eq!(unknown, 0, "each was processed, or surely not");
        assert_eq!(accepted, report.accepted);
        assert_eq!(accepted, count.load(Ordering::SeqCst));
        assert!(report.stopping < LONG, "{report:?}");
    })
    .await;
}

async fn a_server_stops_by_itself<R: Runtime>() {
    within(async {
        let place = place();
        let options = || ServerOptions::<R>::new(Config::default());
        let server = options()
            .max_messages(3)
            .start(&place.endpoint, Simple)
            .unwrap();
        let client = connect::<R>(&place).await;
        // These do not count.
        let _subscription = client.subscribe("**").await.unwrap();
        for _ in 0..3 {
            let event = Message::event("topic", "").unwrap();
            client
                .send(event.with_ack(AckLevel::Processed))
                .await
                .unwrap_err();
        }
        for _ in 0..3 {
            assert_eq!(
                client.send(processed("")).await.unwrap(),
                Outcome::Processed
            );
        }
        assert_eq!(server.stopped().await.accepted, 3);
        let server = options()
            .stop_message("enough")
            .start(&place.endpoint, Simple)
            .unwrap();
        let client = connect::<R>(&place).await;
        client.send(processed("more")).await.unwrap();
        assert!(server.is_running());
        assert_eq!(
            client.send(processed("enough")).await.unwrap(),
            Outcome::Processed
        );
        server.stopped().await;
        let idle = Duration::from_millis(50);
        let server = options()
            .idle_timeout(idle)
            .start(&place.endpoint, Simple)
            .unwrap();
        server.stopped().await;
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
            let request = client.recv().await.unwrap().unwrap();
            let request = request.into_request().unwrap();
            assert_eq!(request.payload, "and you?");
            request.reply("fine").await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("how are you?", LONG), answer);
        assert_eq!(reply.unwrap(), "fine");
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
