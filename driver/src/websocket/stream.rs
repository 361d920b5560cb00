//! A WebSocket as the two directions of a stream.

use super::ByteStream;
use crate::{
    ReadHalf, Runtime, Spare, WriteHalf,
    shared::lock,
    timeout::timeout,
    transport::Transport,
};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as Tungstenite, Message,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use bytes::{Buf, BufMut, Bytes};
use futures_channel::oneshot;
use futures_core::Stream as _;
use futures_sink::Sink as _;
use sealpipe_core::{Config, SendBuf};
use std::{
    future::poll_fn,
    io,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

type Socket = WebSocketStream<Box<dyn ByteStream>>;

/// The most that one message of the stream carries.
const MESSAGE: usize = 64 << 10;
/// Room for the head of a frame, and for a pong or the close before it.
const HEADS: usize = 512;
/// How much is read at once.
const READ: usize = 16 << 10;
/// How many messages without a byte in them, pings among them, may come in a second.
const IDLE_MESSAGES: u32 = 1_000;

/// How the wire lies in messages.
#[derive(Clone, Copy)]
pub(crate) enum Carriage {
    /// The messages are cut anyhow.
    Stream,
}

impl Carriage {
    pub(crate) fn of(_: &Config) -> Carriage {
        Carriage::Stream
    }

    fn largest(self) -> usize {
        match self {
            Carriage::Stream => MESSAGE,
        }
    }

    /// What is taken in at most, and waits to go out at most.
    pub(crate) fn limits(self) -> WebSocketConfig {
        let largest = self.largest();
        WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(largest.saturating_add(HEADS))
            .max_frame_size(Some(largest))
            .max_message_size(Some(largest))
    }
}

/// What both directions and the closing share.
struct Shared {
    socket: Socket,
    /// Why it is to be closed, if not for good.
    fault: Option<CloseFrame>,
}

/// The two directions.
pub(crate) struct Halves<R> {
    inlet: Inlet<R>,
    outlet: Outlet,
}

impl<R: Runtime> Halves<R> {
    pub(crate) fn into_transport(self) -> Transport<R> {
        Transport::any((Box::new(self.inlet), Box::new(self.outlet)))
    }
}

/// Dropped with the last direction, it has the WebSocket closed.
type Alive = Arc<oneshot::Sender<()>>;

/// Takes a WebSocket apart. A task of its own closes it in the end: there is nobody else
/// to wait for the peer's goodbye by then.
pub(crate) fn halves<R: Runtime>(
    socket: Socket,
    carriage: Carriage,
    close_timeout: Duration,
) -> Halves<R> {
    let shared = Arc::new(Mutex::new(Shared {
        socket,
        fault: None,
    }));
    let (alive, ended) = oneshot::channel::<()>();
    let alive = Arc::new(alive);
    let closing = shared.clone();
    R::spawn(async move {
        // An error is what ends it: nothing is ever sent.
        let _ = ended.await;
        if timeout::<R, _>(close_timeout, close(&closing)).await.is_err() {
            tracing::debug!("a WebSocket was not closed by its peer in time");
        }
    });
    Halves {
        inlet: Inlet {
            shared: shared.clone(),
            payload: Bytes::new(),
            idle: Idle::default(),
            ended: false,
            _alive: alive.clone(),
            runtime: PhantomData,
        },
        outlet: Outlet {
            shared,
            carriage,
            _alive: alive,
        },
    }
}

/// Says goodbye, and waits for the peer's.
async fn close(shared: &Mutex<Shared>) {
    let mut said = false;
    poll_fn(|context| {
        let mut shared = lock(shared);
        let Shared { socket, fault } = &mut *shared;
        let mut socket = Pin::new(socket);
        if !said {
            let goodbye = fault.take().unwrap_or_else(|| frame(CloseCode::Normal, ""));
            // An error says that the peer has gone already, or said goodbye first.
            let _ = socket.as_mut().start_send(Message::Close(Some(goodbye)));
            said = true;
        }
        if let Err(_gone) = ready!(socket.as_mut().poll_flush(context)) {
            return Poll::Ready(());
        }
        // What still comes is dropped.
        while let Some(Ok(_)) = ready!(socket.as_mut().poll_next(context)) {}
        Poll::Ready(())
    })
    .await;
}

fn frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code,
        reason: reason.into(),
    }
}

/// Messages that bring nothing, which cost the peer little and this side work.
#[derive(Default)]
struct Idle {
    second: u64,
    count: u32,
}

impl Idle {
    /// Counts one; whether it is one too many.
    fn is_flood<R: Runtime>(&mut self) -> bool {
        let second = R::now().as_nanos() / 1_000_000_000;
        if self.second != second {
            *self = Idle { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > IDLE_MESSAGES
    }
}

struct Inlet<R> {
    shared: Arc<Mutex<Shared>>,
    /// What is left of the message that came last.
    payload: Bytes,
    idle: Idle,
    ended: bool,
    _alive: Alive,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Inlet<R> {
    /// The next message with something in it; `None` when the peer has said goodbye.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut shared = lock(&self.shared);
        let Shared { socket, fault } = &mut *shared;
        loop {
            let message = match ready!(Pin::new(&mut *socket).poll_next(context)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self::fault(error, fault))),
                None => return Poll::Ready(Ok(None)),
            };
            match message {
                Message::Binary(payload) if !payload.is_empty() => {
                    return Poll::Ready(Ok(Some(payload)));
                }
                Message::Close(close) => {
                    let code = close.map(|close| u16::from(close.code));
                    tracing::debug!(code, "the peer closes the WebSocket");
                    return Poll::Ready(Ok(None));
                }
                Message::Text(_) => {
                    let why = "text was sent where there are bytes only";
                    *fault = Some(frame(CloseCode::Unsupported, why));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                _ => {}
            }
            if self.idle.is_flood::<R>() {
                let why = "too many messages with nothing in them";
                *fault = Some(frame(CloseCode::Policy, why));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
    }
}

/// What the peer did wrong, and what it is told about that.
fn fault(error: Tungstenite, fault: &mut Option<CloseFrame>) -> io::Error {
    let code = match &error {
        Tungstenite::Io(_) | Tungstenite::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            None
        }
        Tungstenite::Capacity(_) => Some(frame(CloseCode::Size, "the message is too large")),
        _ => Some(frame(CloseCode::Protocol, "this is no WebSocket")),
    };
    *fault = code;
    match error {
        Tungstenite::Io(error) => error,
        Tungstenite::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
        Tungstenite::ConnectionClosed | Tungstenite::AlreadyClosed => {
            io::ErrorKind::BrokenPipe.into()
        }
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

impl<R: Runtime> ReadHalf for Inlet<R> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.payload.is_empty() && !self.ended {
            match ready!(self.poll_message(context))? {
                Some(payload) => self.payload = payload,
                None => self.ended = true,
            }
        }
        let n = self.payload.len().min(spare.remaining_mut());
        spare.put(self.payload.split_to(n));
        Poll::Ready(Ok(n))
    }
}

struct Outlet {
    shared: Arc<Mutex<Shared>>,
    carriage: Carriage,
    _alive: Alive,
}

fn broken(error: Tungstenite) -> io::Error {
    fault(error, &mut None)
}

impl WriteHalf for Outlet {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        let mut socket = Pin::new(&mut shared.socket);
        // One message at a time waits for the peer; the rest waits where it is counted.
        ready!(socket.as_mut().poll_flush(context)).map_err(broken)?;
        let n = output.remaining().min(self.carriage.largest());
        let payload = output.copy_to_bytes(n);
        socket.start_send(Message::Binary(payload)).map_err(broken)?;
        Poll::Ready(Ok(n))
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        let flushed = Pin::new(&mut shared.socket).poll_flush(context);
        flushed.map_err(broken)
    }
}
