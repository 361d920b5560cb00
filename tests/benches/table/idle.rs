//! Connections that say nothing: what each takes, and how little they disturb one that
//! does.

use crate::{
    bare::codec,
    heap,
    run::{ready, timed},
    sealpipe::{echo_all, round_trip},
    systems::{config, on},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sealpipe_driver::{Connection, Listener, ReadHalf, Runtime, vocabulary::Endpoint};
use std::{
    future::Future,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

const IDLE: usize = 500;

/// Bytes of heap per end of an idle connection.
pub(crate) fn heap_per_end(system: &str, path: &str) -> f64 {
    match system {
        // Of smol's bare stream it would be the two buffers.
        "std" | "smol-stream" => f64::NAN,
        "tokio-codec" => on(system, idle_codec(path)),
        "sealpipe-smol" | "sealpipe-blocking" => {
            on(system, idle::<sealpipe_smol::Smol>(system, path))
        }
        _ => on(system, idle::<sealpipe_tokio::Tokio>(system, path)),
    }
}

async fn idle_codec(path: &str) -> f64 {
    let listener = tokio::net::UnixListener::bind(path).expect("the address is free");
    per_end(async || {
        let (client, server) =
            tokio::join!(tokio::net::UnixStream::connect(path), listener.accept());
        let mut pair = (
            codec(client.expect("a server")),
            codec(server.expect("a client").0),
        );
        let said = pair.0.send(Bytes::from_static(b"e")).await;
        said.expect("the peer takes it");
        pair.1
            .next()
            .await
            .expect("a message")
            .expect("a whole one");
        pair
    })
    .await
}

async fn idle<R: Runtime>(system: &str, path: &str) -> f64 {
    let endpoint = Endpoint::path(path);
    let config = Arc::new(config(system));
    let mut listener = Listener::<R>::bind(&endpoint, config.clone()).expect("a free address");
    per_end(async || {
        let (client, server) = tokio::join!(
            Connection::<R>::connect(&endpoint, config.clone()),
            listener.accept()
        );
        let pair = (client.expect("a server"), server.expect("a client"));
        pair.0.send("e").await.expect("the peer takes it");
        let said = pair.1.recv().await.expect("a message");
        said.expect("a whole one").accept();
        pair
    })
    .await
}

/// What any such connection takes: a stream, a task that waits for it, and a timer. It is
/// the same for all systems on one runtime.
pub(crate) fn bare_heap_per_end(system: &str) -> f64 {
    match system {
        "sealpipe-smol" | "sealpipe-blocking" => on(system, idle_bare::<sealpipe_smol::Smol>()),
        "sealpipe" | "sealpipe-sealed" => on(system, idle_bare::<sealpipe_tokio::Tokio>()),
        _ => f64::NAN,
    }
}

async fn idle_bare<R: Runtime>() -> f64 {
    const LATER: Duration = Duration::from_secs(60);
    let wait = |end: UnixStream| {
        end.set_nonblocking(true).expect("a socket takes that");
        let (read, write) = R::stream(end).expect("the runtime takes a stream");
        // Boxed: a task that is a little too large would take twice the room in tokio.
        R::look_after(Box::pin(Bare::<R> {
            read,
            _write: write,
            timer: R::timer(R::now().saturating_add(LATER)),
        }));
    };
    per_end(async || {
        let (a, b) = UnixStream::pair().expect("two sockets");
        [a, b].map(wait)
    })
    .await
}

struct Bare<R: Runtime> {
    read: R::Read,
    _write: R::Write,
    timer: R::Timer,
}

impl<R: Runtime> Unpin for Bare<R> {}

impl<R: Runtime> Future for Bare<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // No more room than has to be: a buffer is not what is counted.
        let mut room = BytesMut::with_capacity(1);
        let read = self.read.poll_read(context, &mut (&mut room).limit(1));
        let _ = Pin::new(&mut self.timer).poll(context);
        read.map(drop)
    }
}

async fn per_end<T>(mut open: impl AsyncFnMut() -> T) -> f64 {
    let mut kept = Vec::with_capacity(IDLE);
    kept.push(open().await);
    std::thread::sleep(Duration::from_millis(50));
    let before = heap::live();
    while kept.len() < IDLE {
        kept.push(open().await);
    }
    // Long enough for what is idle to be told from what is not.
    async_io::Timer::after(Duration::from_millis(200)).await;
    (heap::live() - before) as f64 / ((IDLE - 1) * 2) as f64
}

/// What one process can hold, and a few descriptors besides.
pub(crate) const CROWD: usize = 10_000;

/// Lets this process have as many descriptors as it may; says how many.
pub(crate) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let got = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    got.map_or(usize::MAX, |got| got as usize)
}

/// Serves any number of connections, each by a task that waits for its messages. What
/// asks for it is told what this process takes.
pub(crate) async fn serve_crowd<R: Runtime>(system: &str, path: &str) {
    raise_limit();
    let mut listener =
        Listener::<R>::bind(&Endpoint::path(path), config(system)).expect("the address is free");
    ready();
    // The first is the active one.
    let active = listener.accept().await.expect("a client");
    R::spawn(async move {
        while let Ok(Some(message)) = active.recv().await {
            let answer = match &message.payload[..] {
                b"memory" => Bytes::from(format!("{} {}", heap::live(), resident())),
                _ => message.payload.clone(),
            };
            active.send(answer).await.expect("the peer takes it");
        }
    });
    while let Ok(connection) = listener.accept().await {
        R::spawn(echo_all(connection, true));
    }
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}

/// Of the server's process, and of one connection's 64 B.
pub(crate) struct Alone {
    pub(crate) heap: f64,
    pub(crate) resident: f64,
    pub(crate) round_trip: Duration,
}

/// What is found with `crowd` connections beside the one that is active.
pub(crate) async fn among<R: Runtime>(system: &str, path: &str, crowd: usize) -> Alone {
    let (endpoint, config) = (Endpoint::path(path), Arc::new(config(system)));
    let connect = async || {
        let connection = Connection::<R>::connect(&endpoint, config.clone()).await;
        connection.expect("the server listens")
    };
    let active = connect().await;
    let mut kept = Vec::with_capacity(crowd);
    while kept.len() < crowd {
        kept.push(connect().await);
    }
    async_io::Timer::after(Duration::from_millis(500)).await;
    let message = Bytes::from(vec![7; 64]);
    let round_trip = timed(10_000, async || round_trip(&active, &message).await).await;
    active.send("memory").await.expect("the peer takes it");
    let answer = active
        .recv()
        .await
        .expect("an answer")
        .expect("a whole one");
    let answer = String::from_utf8_lossy(&answer.payload).into_owned();
    let mut figures = answer
        .split(' ')
        .map(|figure| figure.parse().unwrap_or(f64::NAN));
    let mut figure = || figures.next().unwrap_or(f64::NAN);
    Alone {
        heap: figure(),
        resident: figure(),
        round_trip,
    }
}
