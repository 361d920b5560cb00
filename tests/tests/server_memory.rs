//! What clients can make a server hold: nothing that its configuration does not
//! name, however many they are and whatever they do again and again.
//!
//! One test at a time: they share the counter.

use futures_util::future::poll_immediate;
use sealpipe_tests::{Place, heap, place};
use sealpipe_tokio::{
    AckLevel, Backlog, Client, Config, Connection, Handler, Kind, Message, Overflow, RemoteError,
    Request, Response, Server, ServerOptions,
};
use std::{future::Future, time::Duration};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

/// What buffers and the test itself may take.
const SLACK: usize = 1 << 20;
/// More than there is slack for, if each left a few dozen bytes. Wine is slow.
const AGAIN: usize = if cfg!(windows) { 30_000 } else { 90_000 };
const LONG: Duration = Duration::from_secs(30);

struct Waits;

impl Handler<sealpipe_tokio::Tokio> for Waits {
    async fn request(&self, _: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        request.cancelled().await;
        Err(RemoteError::new(RemoteError::UNSPECIFIED, "nobody waits"))
    }
}

fn start(place: &Place, config: Config) -> Server {
    let backlog = Backlog {
        messages: 16,
        bytes: 8 << 10,
        overflow: Overflow::DropOldest,
    };
    ServerOptions::new(config)
        .backlog(backlog)
        .start(&place.endpoint, Waits)
        .expect("a server")
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(6 * LONG, test).await })
        .expect("the test hangs");
}

/// All in one test: they share the counter.
#[test]
fn clients_cannot_make_a_server_grow() {
    run(slow_subscribers());
    run(abandoned_requests());
    run(subscribing_again_and_again());
}

async fn slow_subscribers() {
    const CLIENTS: usize = if cfg!(windows) { 300 } else { 1_000 };
    const EVENT: usize = 512;
    let small = || {
        Config::plain()
            .max_message(2 << 10)
            .receive_window(4 << 10, 8)
            .send_queue(4 << 10, 8)
            .build()
            .unwrap()
    };
    let place = place();
    let server = start(&place, small());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // This side holds one event and leaves the others in its window.
        let client = Connection::connect(&place.endpoint, small()).await.unwrap();
        let one = Backlog {
            messages: 1,
            ..Backlog::default()
        };
        let subscription = client.subscribe_with("topic", one).await.unwrap();
        clients.push((client, subscription));
    }
    let publish = async |count: usize| {
        for _ in 0..count {
            // Each payload on its own, as a program would have it.
            let reached = server.publish("topic", vec![7; EVENT]).await.unwrap();
            assert_eq!(reached, CLIENTS);
            tokio::task::yield_now().await;
        }
    };
    // Until every window and every backlog is full.
    publish(60).await;
    let full = heap::held();
    publish(100).await;
    let grown = heap::held().saturating_sub(full);
    assert!(grown < SLACK, "{grown} bytes more after 100 events more");
    let (_, first) = &mut clients[0];
    let mut missed = 0;
    while missed == 0 {
        missed = first.recv().await.unwrap().expect("an event").missed();
    }
}

async fn abandoned_requests() {
    let place = place();
    let server = start(&place, Config::default());
    let client = Connection::connect(&place.endpoint, Config::default())
        .await
        .unwrap();
    let abandon = async |count: usize| {
        for _ in 0..count {
            let mut asked = Box::pin(client.request(vec![7; 256], LONG));
            assert!(poll_immediate(&mut asked).await.is_none());
            drop(asked);
            tokio::task::yield_now().await;
        }
    };
    abandon(10_000).await;
    let before = heap::held();
    let (peak, ()) = heap::peak(abandon(AGAIN)).await;
    assert!(peak < SLACK, "{peak} bytes at most");
    let grown = heap::held().saturating_sub(before);
    assert!(
        grown < SLACK,
        "{grown} bytes more after {AGAIN} requests more"
    );
    // None of them is left at the server.
    server.stop(LONG).await;
    assert_eq!(server.report().unfinished, 0);
}

async fn subscribing_again_and_again() {
    let place = place();
    let server = start(&place, Config::default());
    let client = Connection::connect(&place.endpoint, Config::default())
        .await
        .unwrap();
    let flood = async |count: usize| {
        for n in 0..count {
            for kind in [Kind::Subscribe, Kind::Unsubscribe] {
                let pattern = format!("flood/{n}/**/{}", n * 7);
                let message = Message::subscription(kind, 1, pattern).unwrap();
                client
                    .send(message.with_ack(AckLevel::Processed))
                    .await
                    .unwrap();
                let answer = client.recv().await.unwrap();
                assert!(answer.is_some());
            }
        }
    };
    flood(500).await;
    let (peak, ()) = heap::peak(flood(5_000)).await;
    assert!(peak < SLACK, "{peak} bytes at most");
    // Nor does a client that never takes anything back.
    let mut refused = 0;
    for n in 0..5_000 {
        let pattern = format!("keep/{n}");
        let message = Message::subscription(Kind::Subscribe, 1, pattern).unwrap();
        client
            .send(message.with_ack(AckLevel::Processed))
            .await
            .unwrap();
        let answer = client.recv().await.unwrap().expect("an answer");
        refused += usize::from(answer.kind == Kind::Error);
    }
    assert_eq!(refused, 5_000 - 64);
    assert_eq!(server.publish("keep/1", "").await.unwrap(), 1);
}
