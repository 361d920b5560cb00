//! Stopping a server: what its handlers and clients may still do, and for how long.

use futures_util::future::join_all;
use sealpipe_driver::{
    Client, Connection, Handler, Incoming, Runtime, SendError, Server, ServerOptions,
    vocabulary::{AckLevel, Config, Message, Outcome, Rejection},
};
use sealpipe_tests::{
    eventually, place,
    server::{GivesAway, Simple, busy, connect, gone, processed, until},
    within,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

sealpipe_tests::on_every_adapter! {
    ; of futures:
    a_server_whose_task_is_dropped_has_stopped,
    nothing_more_is_taken_once_the_server_stops,
    a_stop_lets_handlers_finish,
    a_stop_does_not_wait_for_ever,
    a_stop_can_be_hurried,
    a_stop_does_not_wait_for_clients_that_have_gone,
    a_stop_does_not_wait_for_messages_that_came_too_early,
    stopping_under_load_loses_no_message_untold,
    a_server_stops_by_itself,
}

const LONG: Duration = Duration::from_secs(20);

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
        let busy = busy::<R>(ServerOptions::new(Config::default())).await;
        busy.server.begin_stop(LONG);
        assert!(!busy.server.is_running());
        busy.go.notify_one();
        assert_eq!(busy.taken.await.unwrap(), Outcome::Processed);
        let report = busy.server.stopped().await;
        assert_eq!((report.accepted, report.unfinished), (1, 0));
        // Nobody listens any more.
        Connection::<R>::connect(&busy.place.endpoint, Config::default())
            .await
            .unwrap_err();
    })
    .await;
}

async fn a_stop_does_not_wait_for_ever<R: Runtime>() {
    within(async {
        let busy = busy::<R>(ServerOptions::new(Config::default())).await;
        let report = busy.server.stop(Duration::from_millis(50)).await;
        assert_eq!((report.accepted, report.unfinished), (0, 1));
        match busy.taken.await.unwrap_err() {
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
        let busy = busy::<R>(ServerOptions::new(Config::default())).await;
        busy.server.begin_stop(LONG);
        // A longer time does not count.
        busy.server.begin_stop(LONG * 2);
        busy.client.ping().await.unwrap();
        let report = busy.server.stop(Duration::from_millis(50)).await;
        assert!(report.stopping < LONG, "{report:?}");
        assert_eq!(report.unfinished, 1);
        // Also where it waits for a verdict of a client that has finished.
        let place = place();
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

async fn a_stop_does_not_wait_for_clients_that_have_gone<R: Runtime>() {
    within(async {
        let busy = busy::<R>(ServerOptions::new(Config::default())).await;
        drop(busy.client);
        gone(&busy.server).await;
        let report = busy.server.stop(Duration::from_millis(50)).await;
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
        let clients = join_all((0..50).map(|_| connect::<R>(&place))).await;
        let clients = clients.iter().map(|client| async move {
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
