//! sealpipe-smol needs no executor of its own kind: it runs under whichever polls
//! it, and under a thread that just blocks.

use futures_util::{AsyncReadExt, future::poll_immediate};
use sealpipe_driver::{
    Connection, Listener,
    vocabulary::{AckLevel, Config, Message, Outcome},
};
use sealpipe_smol::{LocalStream, Smol};
use sealpipe_tests::{modes, place};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// A deadline that asks for no executor either.
async fn within<T>(test: impl Future<Output = T>) -> T {
    smol::future::or(test, async {
        async_io::Timer::after(Duration::from_secs(30)).await;
        panic!("the test hangs")
    })
    .await
}

async fn echoes(mut listener: Listener<Smol>) {
    let server = listener.accept().await.unwrap();
    while let Some(message) = server.recv().await.unwrap() {
        server.send(message.payload.clone()).await.unwrap();
        message.accept();
    }
    server.finish().await.unwrap();
}

async fn asks(client: Connection<Smol>) {
    for size in [0, 1_000, 300_000] {
        let message = Message::new(vec![9; size]).with_ack(AckLevel::Processed);
        let (sent, echo) = smol::future::zip(client.send(message), client.recv()).await;
        assert_eq!(sent.unwrap(), Outcome::Processed);
        assert_eq!(echo.unwrap().unwrap().payload, vec![9; size]);
    }
    client.finish().await.unwrap();
}

/// A server and a client; `both` gets the two to run as it likes.
async fn talk(both: impl AsyncFn(Listener<Smol>, BoxFuture)) {
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let listener = Listener::bind(&place.endpoint, config.clone()).unwrap();
            let endpoint = place.endpoint.clone();
            let client =
                async move { asks(Connection::connect(&endpoint, config).await.unwrap()).await };
            both(listener, Box::pin(client)).await;
        })
        .await;
    }
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[test]
fn a_thread_that_just_blocks() {
    async_io::block_on(talk(async |listener, client| {
        smol::future::zip(echoes(listener), client).await;
    }));
}

#[test]
fn one_that_knows_nothing_of_the_reactor() {
    smol::future::block_on(talk(async |listener, client| {
        smol::future::zip(echoes(listener), client).await;
    }));
}

#[test]
fn smols_own() {
    smol::block_on(talk(async |listener, client| {
        let server = smol::spawn(echoes(listener));
        client.await;
        server.await;
    }));
}

#[test]
fn an_executor_on_this_thread() {
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(talk(async |listener, client| {
        let server = executor.spawn(echoes(listener));
        client.await;
        server.await;
    })));
}

#[test]
fn one_whose_other_tasks_are_never_done() {
    let executor = smol::LocalExecutor::new();
    sealpipe_smol::block_on(executor.run(talk(async |listener, client| {
        let busy = executor.spawn(async {
            loop {
                smol::future::yield_now().await;
            }
        });
        let server = executor.spawn(echoes(listener));
        // A task of its own is polled only when it is woken.
        executor.spawn(client).await;
        server.await;
        drop(busy);
    })));
}

/// As a blocking handler that asks back does, while its thread waits for the connection.
#[test]
fn one_within_another() {
    sealpipe_smol::block_on(within(async {
        let place = place();
        let config = Config::plain().build().unwrap();
        let mut listener = Listener::<Smol>::bind(&place.endpoint, config.clone()).unwrap();
        let client = Connection::<Smol>::connect(&place.endpoint, config);
        let (client, server) = smol::future::zip(client, listener.accept()).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        let mut received = pin!(server.recv());
        for _ in 0..3 {
            assert!(poll_immediate(&mut received).await.is_none());
            let until = Instant::now() + Duration::from_secs(10);
            let pinged = sealpipe_smol::block_on_until(server.ping(), Some(until));
            pinged.expect("the answer is read").unwrap();
        }
        client.send("x").await.unwrap();
        assert_eq!(received.await.unwrap().unwrap().payload, "x");
    }));
}

#[test]
fn async_stds() {
    async_std::task::block_on(talk(async |listener, client| {
        let server = async_std::task::spawn(echoes(listener));
        client.await;
        server.await;
    }));
}

/// A stream whose reader has waited on this thread, and its other end.
async fn waited(endpoint: &sealpipe_smol::Endpoint) -> (LocalStream, LocalStream) {
    let mut listener = sealpipe_smol::LocalListener::bind(endpoint).unwrap();
    let (ours, theirs) = smol::future::zip(LocalStream::connect(endpoint), listener.accept()).await;
    let (mut ours, theirs) = (ours.unwrap(), theirs.unwrap());
    let mut buffer = [0];
    let poll = futures_util::poll!(ours.read(&mut buffer));
    assert!(poll.is_pending(), "there is nothing to read");
    (ours, theirs)
}

/// Until the end.
async fn ends(mut stream: LocalStream) {
    // A pipe that is broken may say so.
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[test]
fn a_stream_that_is_dropped_after_it_has_waited_is_closed() {
    let place = place();
    sealpipe_smol::block_on(within(async {
        let (ours, theirs) = waited(&place.endpoint).await;
        drop(ours);
        // The thread goes on: what it waited for must not keep the stream.
        ends(theirs).await;
    }));
}

#[test]
fn another_thread_may_drop_it() {
    dropped_by_another(false);
}

#[test]
fn another_thread_may_drop_it_that_has_waited_too() {
    dropped_by_another(true);
}

fn dropped_by_another(waits: bool) {
    let place = place();
    let (streams, passed_on) = smol::channel::bounded(1);
    let (closed, told) = smol::channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sealpipe_smol::block_on(within(async {
                let (mut ours, theirs): (LocalStream, _) = passed_on.recv().await.unwrap();
                if waits {
                    assert!(futures_util::poll!(ours.read(&mut [0])).is_pending());
                }
                drop(ours);
                ends(theirs).await;
                closed.send(()).await.unwrap();
            }));
        });
        sealpipe_smol::block_on(within(async {
            streams.send(waited(&place.endpoint).await).await.unwrap();
            told.recv().await.unwrap();
        }));
    });
}
