//! What sealpipe is compared with: streams with a length before each message, of std,
//! of tokio by its codec, and of smol.

use crate::run::{Kind, Task, round_trips, timed};
use bytes::Bytes;
use futures_util::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use std::{
    io::{BufReader, BufWriter, Read, Write},
    os::unix::net,
    time::{Duration, Instant},
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

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

pub(crate) fn serve_std(path: &str, echo: bool) {
    let listener = net::UnixListener::bind(path).expect("the address is free");
    crate::run::ready();
    let (mut reader, mut writer) = std_halves(listener.accept().expect("a client").0);
    let mut message = Vec::new();
    while get(&mut reader, &mut message) {
        if echo || message == b"e" {
            put(&mut writer, &message);
            writer.flush().expect("the peer takes it");
        }
    }
}

pub(crate) fn drive_std(path: &str, task: &Task) -> Duration {
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

pub(crate) fn codec(stream: UnixStream) -> Framed<UnixStream, LengthDelimitedCodec> {
    Framed::new(
        stream,
        LengthDelimitedCodec::builder()
            .max_frame_length(64 << 20)
            .new_codec(),
    )
}

pub(crate) async fn serve_codec(path: &str, echo: bool) {
    let listener = UnixListener::bind(path).expect("the address is free");
    crate::run::ready();
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

pub(crate) async fn drive_codec(path: &str, task: &Task) -> Duration {
    let mut framed = codec(UnixStream::connect(path).await.expect("the server listens"));
    let message = Bytes::from(vec![7; task.size]);
    if task.kind == Kind::RoundTrip {
        return timed(task.count, async || {
            framed
                .send(message.clone())
                .await
                .expect("the peer takes it");
            framed
                .next()
                .await
                .expect("an answer")
                .expect("a whole one");
        })
        .await;
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

// --- smol, framed by hand -------------------------------------------------------------

type Reader = futures_util::io::BufReader<futures_util::io::ReadHalf<SmolStream>>;
type Writer = futures_util::io::BufWriter<futures_util::io::WriteHalf<SmolStream>>;
type SmolStream = smol::net::unix::UnixStream;

fn smol_halves(stream: SmolStream) -> (Reader, Writer) {
    let (reader, writer) = stream.split();
    (
        Reader::with_capacity(64 << 10, reader),
        Writer::with_capacity(64 << 10, writer),
    )
}

async fn smol_put(to: &mut Writer, message: &[u8]) {
    to.write_all(&(message.len() as u32).to_be_bytes())
        .await
        .expect("the peer takes it");
    to.write_all(message).await.expect("the peer takes it");
}

async fn smol_get(from: &mut Reader, message: &mut Vec<u8>) -> bool {
    let mut length = [0; 4];
    if from.read_exact(&mut length).await.is_err() {
        return false;
    }
    message.resize(u32::from_be_bytes(length) as usize, 0);
    from.read_exact(message).await.is_ok()
}

pub(crate) async fn serve_smol(path: &str, echo: bool) {
    let listener = smol::net::unix::UnixListener::bind(path).expect("the address is free");
    crate::run::ready();
    let (mut reader, mut writer) = smol_halves(listener.accept().await.expect("a client").0);
    let mut message = Vec::new();
    while smol_get(&mut reader, &mut message).await {
        if echo || message == b"e" {
            smol_put(&mut writer, &message).await;
            writer.flush().await.expect("the peer takes it");
        }
    }
}

pub(crate) async fn drive_smol(path: &str, task: &Task) -> Duration {
    let stream = SmolStream::connect(path).await.expect("the server listens");
    let (mut reader, mut writer) = smol_halves(stream);
    let (message, mut answer) = (vec![7; task.size], Vec::new());
    if task.kind == Kind::RoundTrip {
        return timed(task.count, async || {
            smol_put(&mut writer, &message).await;
            writer.flush().await.expect("the peer takes it");
            smol_get(&mut reader, &mut answer).await;
        })
        .await;
    }
    let start = Instant::now();
    for _ in 0..task.count {
        smol_put(&mut writer, &message).await;
        if task.kind == Kind::Awaited {
            writer.flush().await.expect("the peer takes it");
        }
    }
    smol_put(&mut writer, b"e").await;
    writer.flush().await.expect("the peer takes it");
    smol_get(&mut reader, &mut answer).await;
    start.elapsed()
}
