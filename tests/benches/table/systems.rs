//! The same work on each system. A server echoes everything, or takes everything
//! and answers only the message `e`.

use crate::{
    heap,
    run::{Kind, Task, round_trips},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sealpipe_tokio::{AckLevel, Config, Connection, Endpoint, Key, Listener, Message};
use std::{
    io::{BufReader, BufWriter, Read, Write},
    os::unix::net,
    time::{Duration, Instant},
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

pub(crate) fn serve(system: &str, path: &str, echo: bool) {
    match system {
        "std" => serve_std(path, echo),
        _ => runtime().block_on(async {
            match system {
                "tokio-codec" => serve_codec(path, echo).await,
                _ => serve_sealpipe(system, path, echo).await,
            }
        }),
    }
}

pub(crate) fn drive(system: &str, path: &str, task: &Task) -> Duration {
    match system {
        "std" => drive_std(path, task),
        _ => runtime().block_on(async {
            match system {
                "tokio-codec" => drive_codec(path, task).await,
                _ => drive_sealpipe(system, path, task).await,
            }
        }),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn ready() {
    println!();
    let _ = std::io::stdout().flush();
}

// --- std --------------------------------------------------------------------------

fn put(to: &mut impl Write, message: &[u8]) {
    to.write_all(&(message.len() as u32).to_be_bytes())
        .expect("the peer takes it");
    to.write_all(message).expect("the peer takes it");
}

fn get(from: &mut impl Read, message: &mut Vec<u8>) -> bool {
    let mut length = [0; 4];
    if from.read_exact(&mut length).is_err() {
        return false;
    }
    message.resize(u32::from_be_bytes(length) as usize, 0);
    from.read_exact(message).is_ok()
}

fn std_halves(stream: net::UnixStream) -> (BufReader<net::UnixStream>, BufWriter<net::UnixStream>) {
    let writer = stream.try_clone().expect("a second handle");
    (
        BufReader::with_capacity(64 << 10, stream),
        BufWriter::with_capacity(64 << 10, writer),
    )
}

fn serve_std(path: &str, echo: bool) {
    let listener = net::UnixListener::bind(path).expect("the address is free");
    ready();
    let (mut reader, mut writer) = std_halves(listener.accept().expect("a client").0);
    let mut message = Vec::new();
    while get(&mut reader, &mut message) {
        if echo || message == b"e" {
            put(&mut writer, &message);
            writer.flush().expect("the peer takes it");
        }
    }
}

fn drive_std(path: &str, task: &Task) -> Duration {
    let (mut reader, mut writer) =
        std_halves(net::UnixStream::connect(path).expect("the server listens"));
    let (message, mut answer) = (vec![7; task.size], Vec::new());
    if task.kind == Kind::RoundTrip {
        return round_trips(
            || {
                let start = Instant::now();
                put(&mut writer, &message);
                writer.flush().expect("the peer takes it");
                get(&mut reader, &mut answer);
                start.elapsed()
            },
            task.count,
        );
    }
    let start = Instant::now();
    for _ in 0..task.count {
        put(&mut writer, &message);
        if task.kind == Kind::Awaited {
            writer.flush().expect("the peer takes it");
        }
    }
    put(&mut writer, b"e");
    writer.flush().expect("the peer takes it");
    get(&mut reader, &mut answer);
    start.elapsed()
}

// --- tokio with LengthDelimitedCodec ------------------------------------------------

fn codec(stream: UnixStream) -> Framed<UnixStream, LengthDelimitedCodec> {
    Framed::new(
        stream,
        LengthDelimitedCodec::builder()
            .max_frame_length(64 << 20)
            .new_codec(),
    )
}

async fn serve_codec(path: &str, echo: bool) {
    let listener = UnixListener::bind(path).expect("the address is free");
    ready();
    let mut framed = codec(listener.accept().await.expect("a client").0);
    while let Some(Ok(message)) = framed.next().await {
        if echo || &message[..] == b"e" {
            framed
                .send(message.freeze())
                .await
                .expect("the peer takes it");
        }
    }
}

async fn drive_codec(path: &str, task: &Task) -> Duration {
    let mut framed = codec(UnixStream::connect(path).await.expect("the server listens"));
    let message = Bytes::from(vec![7; task.size]);
    if task.kind == Kind::RoundTrip {
        let mut times = Vec::new();
        for _ in 0..task.count {
            let start = Instant::now();
            framed
                .send(message.clone())
                .await
                .expect("the peer takes it");
            framed
                .next()
                .await
                .expect("an answer")
                .expect("a whole one");
            times.push(start.elapsed());
        }
        let mut times = times.into_iter();
        return round_trips(|| times.next().unwrap_or_default(), task.count * 10 / 11);
    }
    let start = Instant::now();
    for _ in 0..task.count {
        match task.kind {
            Kind::Awaited => framed
                .send(message.clone())
                .await
                .expect("the peer takes it"),
            _ => framed
                .feed(message.clone())
                .await
                .expect("the peer takes it"),
        }
    }
    framed
        .send(Bytes::from_static(b"e"))
        .await
        .expect("the peer takes it");
    framed
        .next()
        .await
        .expect("an answer")
        .expect("a whole one");
    start.elapsed()
}

// --- sealpipe -------------------------------------------------------------------------

fn config(system: &str) -> Config {
    match system {
        "sealpipe-sealed" => Config::sealed(Key::from_bytes([7; 32]))
            .build()
            .expect("a valid configuration"),
        _ => Config::default(),
    }
}

async fn serve_sealpipe(system: &str, path: &str, echo: bool) {
    let mut listener =
        Listener::bind(&Endpoint::path(path), config(system)).expect("the address is free");
    ready();
    let connection = listener.accept().await.expect("a client");
    while let Ok(Some(message)) = connection.recv().await {
        if echo || message.payload == "e" {
            connection
                .send(message.payload.clone())
                .await
                .expect("the peer takes it");
        }
    }
}

/// Acks and flow control are on: fed messages ask to be acknowledged as received.
async fn drive_sealpipe(system: &str, path: &str, task: &Task) -> Duration {
    let mut connection = Connection::connect(&Endpoint::path(path), config(system))
        .await
        .expect("the server listens");
    let message = Bytes::from(vec![7; task.size]);
    if task.kind == Kind::RoundTrip {
        let mut times = Vec::new();
        for _ in 0..task.count {
            let start = Instant::now();
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
            times.push(start.elapsed());
        }
        let mut times = times.into_iter();
        return round_trips(|| times.next().unwrap_or_default(), task.count * 10 / 11);
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
            _ => {
                let message = Message::new(message.clone()).with_ack(AckLevel::Received);
                connection.feed(message).await.expect("the peer takes it");
            }
        }
    }
    connection.send("e").await.expect("the peer takes it");
    connection
        .recv()
        .await
        .expect("an answer")
        .expect("a whole one")
        .accept();
    start.elapsed()
}

// --- Idle connections -------------------------------------------------------------------

const IDLE: usize = 500;

/// Bytes of heap per end of an idle connection.
pub(crate) fn idle(system: &str, path: &str) -> f64 {
    runtime().block_on(async {
        match system {
            "tokio-codec" => {
                let listener = UnixListener::bind(path).expect("the address is free");
                per_end(async |_| {
                    let (client, server) =
                        tokio::join!(UnixStream::connect(path), listener.accept());
                    let mut pair = (
                        codec(client.expect("a server")),
                        codec(server.expect("a client").0),
                    );
                    pair.0
                        .send(Bytes::from_static(b"e"))
                        .await
                        .expect("the peer takes it");
                    pair.1
                        .next()
                        .await
                        .expect("a message")
                        .expect("a whole one");
                    pair
                })
                .await
            }
            "std" => 0.0,
            _ => {
                let mut listener = Listener::bind(&Endpoint::path(path), config(system))
                    .expect("the address is free");
                let config = std::sync::Arc::new(config(system));
                per_end(async |_| {
                    let endpoint = Endpoint::path(path);
                    let (client, server) = tokio::join!(
                        Connection::connect(&endpoint, config.clone()),
                        listener.accept()
                    );
                    let pair = (client.expect("a server"), server.expect("a client"));
                    pair.0.send("e").await.expect("the peer takes it");
                    pair.1
                        .recv()
                        .await
                        .expect("a message")
                        .expect("a whole one")
                        .accept();
                    pair
                })
                .await
            }
        }
    })
}

async fn per_end<T>(mut open: impl AsyncFnMut(usize) -> T) -> f64 {
    let mut kept = Vec::with_capacity(IDLE);
    kept.push(open(0).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = heap::live();
    for index in 1..IDLE {
        kept.push(open(index).await);
    }
    // Long enough for what is idle to be told from what is not.
    tokio::time::sleep(Duration::from_millis(200)).await;
    (heap::live() - before) as f64 / ((IDLE - 1) * 2) as f64
}
