//! sealpipe by each adapter. Acks and flow control are on: fed messages ask to be
//! acknowledged as received.

use crate::run::{Kind, Task, round_trips, timed};
use bytes::Bytes;
use sealpipe_driver::{
    Connection, Listener, Runtime,
    vocabulary::{AckLevel, Config, Endpoint, Message},
};
use std::time::{Duration, Instant};

fn acknowledged(message: &Bytes) -> Message {
    Message::new(message.clone()).with_ack(AckLevel::Received)
}

/// Echoes everything, or what asks for it, until the peer has gone.
pub(crate) async fn echo_all<R: Runtime>(connection: Connection<R>, echo: bool) {
    while let Ok(Some(message)) = connection.recv().await {
        if echo || message.payload == "e" {
            connection
                .send(message.payload.clone())
                .await
                .expect("the peer takes it");
        }
    }
}

pub(crate) async fn serve<R: Runtime>(config: Config, path: &str, echo: bool) {
    let mut listener =
        Listener::<R>::bind(&Endpoint::path(path), config).expect("the address is free");
    crate::run::ready();
    echo_all(listener.accept().await.expect("a client"), echo).await;
}

pub(crate) async fn round_trip<R: Runtime>(connection: &Connection<R>, message: &Bytes) {
    connection
        .send(message.clone())
        .await
        .expect("the peer takes it");
    connection
        .recv()
        .await
        .expect("an answer")
        .expect("a whole one")
        .accept();
}

pub(crate) async fn drive<R: Runtime>(config: Config, path: &str, task: &Task) -> Duration {
    let connection = Connection::<R>::connect(&Endpoint::path(path), config)
        .await
        .expect("the server listens");
    let message = Bytes::from(vec![7; task.size]);
    if task.kind == Kind::RoundTrip {
        return timed(task.count, async || round_trip(&connection, &message).await).await;
    }
    let start = Instant::now();
    for _ in 0..task.count {
        match task.kind {
            Kind::Awaited => {
                connection
                    .send(message.clone())
                    .await
                    .expect("the peer takes it");
            }
            _ => connection
                .feed(acknowledged(&message))
                .await
                .expect("the peer takes it"),
        }
    }
    round_trip(&connection, &Bytes::from_static(b"e")).await;
    start.elapsed()
}

// --- Plain threads ----------------------------------------------------------------------

pub(crate) fn serve_blocking(config: Config, path: &str, echo: bool) {
    let mut listener = sealpipe_blocking::Listener::bind(&Endpoint::path(path), config)
        .expect("the address is free");
    crate::run::ready();
    let connection = listener.accept().expect("a client");
    while let Ok(Some(message)) = connection.recv() {
        if echo || message.payload == "e" {
            connection
                .send(message.payload.clone())
                .expect("the peer takes it");
        }
    }
}

pub(crate) fn drive_blocking(config: Config, path: &str, task: &Task) -> Duration {
    let connection = sealpipe_blocking::Connection::connect(&Endpoint::path(path), config)
        .expect("the server listens");
    let message = Bytes::from(vec![7; task.size]);
    let round_trip = |message: &Bytes| {
        connection.send(message.clone()).expect("the peer takes it");
        let answer = connection.recv().expect("an answer");
        answer.expect("a whole one").accept();
    };
    if task.kind == Kind::RoundTrip {
        let once = || {
            let start = Instant::now();
            round_trip(&message);
            start.elapsed()
        };
        return round_trips(once, task.count);
    }
    let start = Instant::now();
    for _ in 0..task.count {
        match task.kind {
            Kind::Awaited => {
                connection.send(message.clone()).expect("the peer takes it");
            }
            _ => connection
                .feed(acknowledged(&message))
                .expect("the peer takes it"),
        }
    }
    round_trip(&Bytes::from_static(b"e"));
    start.elapsed()
}
