//! A WebSocket as the two directions of a stream.

use super::meter::Meter;
use crate::{
    ReadHalf, Runtime, Spare, WriteHalf, shared::lock, timeout::timeout, transport::Transport,
};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as Tungstenite, Message,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_channel::oneshot;
use futures_core::Stream as _;
use futures_sink::Sink as _;
use sealpipe_core::{
    Config, SendBuf, Wire,
    wire::foreign::{PREFIX, SEAL},
};
use std::{
    future::poll_fn,
    io,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

pub(crate) type Socket = WebSocketStream<Meter>;

/// The most that one message of the stream carries.
const MESSAGE: usize = 64 << 10;
/// Room for the head of a frame, and for a pong or the close before it.
const HEADS: usize = 512;
/// How much is read at once.
const READ: usize = 16 << 10;
/// The head of a control frame, with its mask.
const CONTROL_HEAD: usize = 6;
/// How many messages without a byte in them, pings among them, may come in a second.
const IDLE_MESSAGES: u32 = 1_000;

/// How the wire lies in messages.
#[derive(Clone, Copy)]
pub(crate) enum Carriage {
    /// The messages are cut anyhow.
    Stream,
    /// Each message of the wire is one of the WebSocket's, which has its length already:
    /// the prefix does not travel.
    Messages { wire: Wire, largest: usize },
}

impl Carriage {
    /// `None` for a wire that has nothing to do with messages of bytes.
    pub(crate) fn of(config: &Config) -> Option<Carriage> {
        let wire = config.wire();
        let added = match wire {
            Wire::Native => return Some(Carriage::Stream),
            Wire::Le32 | Wire::Be32 => 0,
            Wire::LegacySealed => SEAL,
            _ => return None,
        };
        let largest = config.max_message().saturating_add(added);
        Some(Carriage::Messages { wire, largest })
    }

    /// How many bytes may come before there is a message: with its head, a fragment of one
    /// byte is seven.
    fn patience(self) -> usize {
        self.largest().saturating_mul(8).saturating_add(64 << 10)
    }

    fn largest(self) -> usize {
        match self {
            Carriage::Stream => MESSAGE,
            Carriage::Messages { largest, .. } => largest,
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
        if timeout::<R, _>(close_timeout, close(&closing))
            .await
            .is_err()
        {
            tracing::debug!("a WebSocket was not closed by its peer in time");
        }
    });
    Halves {
        inlet: Inlet {
            shared: shared.clone(),
            carriage,
            prefix: Bytes::new(),
            payload: Bytes::new(),
            idle: Idle::default(),
            cut: None,
            _alive: alive.clone(),
            runtime: PhantomData,
        },
        outlet: Outlet {
            shared,
            carriage,
            begun: BytesMut::new(),
            goodbye: false,
            _alive: alive,
        },
    }
}

/// Says goodbye, and waits for the peer's.
async fn close(shared: &Mutex<Shared>) {
    let mut said = false;
    let mut waits = true;
    poll_fn(|context| {
        let mut shared = lock(shared);
        let Shared { socket, fault } = &mut *shared;
        let mut socket = Pin::new(socket);
        if !said {
            // Who breaks the rules is told so, and not listened to any more.
            waits = fault.is_none();
            let goodbye = fault.take().unwrap_or_else(|| frame(CloseCode::Normal, ""));
            // An error says that the peer has gone already, or said goodbye first.
            let _ = socket.as_mut().start_send(Message::Close(Some(goodbye)));
            said = true;
        }
        if let Err(_gone) = ready!(socket.as_mut().poll_flush(context)) {
            return Poll::Ready(());
        }
        // What still comes is dropped.
        while waits && let Some(Ok(_)) = ready!(socket.as_mut().poll_next(context)) {}
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
    carriage: Carriage,
    /// What is left of the message that came last, and of its prefix.
    prefix: Bytes,
    payload: Bytes,
    idle: Idle,
    /// Why it has ended, if that is still to be told.
    cut: Option<io::Error>,
    _alive: Alive,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Inlet<R> {
    /// The next message that is to be read; `None` when the peer has said goodbye.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut shared = lock(&self.shared);
        let Shared { socket, fault } = &mut *shared;
        loop {
            let polled = Pin::new(&mut *socket).poll_next(context);
            if polled.is_pending() && socket.get_ref().unaccounted() > self.carriage.patience() {
                return Poll::Ready(Err(flood(fault, "too many frames with nothing in them")));
            }
            let message = match ready!(polled) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self::fault(error, fault))),
                None => return Poll::Ready(Ok(None)),
            };
            // Control frames may come for ever where there are no messages.
            let found = match &message {
                Message::Ping(payload) | Message::Pong(payload) => {
                    payload.len().saturating_add(CONTROL_HEAD)
                }
                _ => usize::MAX,
            };
            socket.get_mut().account(found);
            let is_read = |payload: &Bytes| match self.carriage {
                Carriage::Stream => !payload.is_empty(),
                Carriage::Messages { .. } => true,
            };
            match message {
                Message::Binary(payload) if is_read(&payload) => {
                    return Poll::Ready(Ok(Some(payload)));
                }
                Message::Close(close) => {
                    // The answer waits to go out, and nobody may write any more.
                    let _ = Pin::new(&mut *socket).poll_flush(context);
                    return Poll::Ready(farewell(close).map(|()| None));
                }
                // As ipcez takes it.
                Message::Text(text) if matches!(self.carriage, Carriage::Messages { .. }) => {
                    return Poll::Ready(Ok(Some(text.into())));
                }
                Message::Text(_) => {
                    let why = "text was sent where there are bytes only";
                    *fault = Some(frame(CloseCode::Unsupported, why));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                _ => {}
            }
            if self.idle.is_flood::<R>() {
                return Poll::Ready(Err(flood(fault, "too many messages with nothing in them")));
            }
        }
    }
}

/// The peer sends much and says nothing.
fn flood(fault: &mut Option<CloseFrame>, why: &'static str) -> io::Error {
    *fault = Some(frame(CloseCode::Policy, why));
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether the peer closes because all is done.
fn farewell(close: Option<CloseFrame>) -> io::Result<()> {
    match close {
        Some(close) if !matches!(u16::from(close.code), 1000 | 1001 | 1005) => {
            let code = u16::from(close.code);
            let reason = close.reason.as_str();
            tracing::warn!(code, ?reason, "the peer closes the WebSocket for an error");
            let why = format!("the peer closed the WebSocket with code {code}");
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
        }
        _ => {
            tracing::debug!("the peer closes the WebSocket");
            Ok(())
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
        if self.prefix.is_empty() && self.payload.is_empty() {
            if let Some(error) = self.cut.take() {
                return Poll::Ready(Err(error));
            }
            match (ready!(self.poll_message(context)), self.carriage) {
                (Ok(Some(payload)), Carriage::Messages { wire, .. }) => {
                    // The limits keep it below 2^32.
                    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    self.prefix = Bytes::copy_from_slice(&wire.prefix(length));
                    self.payload = payload;
                }
                (Ok(Some(payload)), Carriage::Stream) => self.payload = payload,
                (Ok(None), _) => return Poll::Ready(Ok(0)),
                (Err(error), Carriage::Messages { .. }) => {
                    // A wire without a goodbye would take this for one, unless it cuts a
                    // message.
                    self.prefix = Bytes::from_static(&[0]);
                    self.cut = Some(error);
                }
                (Err(error), Carriage::Stream) => return Poll::Ready(Err(error)),
            }
        }
        let before = spare.remaining_mut();
        for part in [&mut self.prefix, &mut self.payload] {
            let n = part.len().min(spare.remaining_mut());
            spare.put(part.split_to(n));
        }
        Poll::Ready(Ok(before.saturating_sub(spare.remaining_mut())))
    }
}

struct Outlet {
    shared: Arc<Mutex<Shared>>,
    carriage: Carriage,
    /// A message of the wire, with its prefix, as far as it has been written.
    begun: BytesMut,
    goodbye: bool,
    _alive: Alive,
}

impl Outlet {
    /// Sends one message, once the one before has gone: only one waits for the peer here,
    /// the rest waits where it is counted.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        payload: impl FnOnce(&mut BytesMut) -> Bytes,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        let mut socket = Pin::new(&mut shared.socket);
        ready!(socket.as_mut().poll_flush(context)).map_err(broken)?;
        let payload = payload(&mut self.begun);
        let sent = socket.start_send(Message::Binary(payload));
        Poll::Ready(sent.map_err(broken))
    }

    /// How much is missing until the message that has begun is whole.
    fn missing(&self) -> usize {
        let length = match (self.carriage, self.begun.first_chunk::<PREFIX>()) {
            (Carriage::Stream, _) => return PREFIX,
            (_, None) => return PREFIX.saturating_sub(self.begun.len()),
            (
                Carriage::Messages {
                    wire: Wire::Be32, ..
                },
                Some(prefix),
            ) => u32::from_be_bytes(*prefix),
            (_, Some(prefix)) => u32::from_le_bytes(*prefix),
        };
        let whole = PREFIX.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        whole.saturating_sub(self.begun.len())
    }

    /// Sends the message that has begun, if it is whole.
    fn poll_send_begun(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.missing() > 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context, |begun| begun.split().freeze().split_off(PREFIX))
    }

    /// Puts bytes of the wire together to messages.
    fn poll_write_messages(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0usize;
        loop {
            let sent = self.poll_send_begun(context)?;
            if sent.is_pending() && taken == 0 {
                return Poll::Pending;
            }
            if sent.is_pending() || !output.has_remaining() {
                return Poll::Ready(Ok(taken));
            }
            let missing = self.missing();
            self.begun.reserve(missing);
            let n = missing.min(output.chunk().len());
            self.begun
                .put_slice(output.chunk().get(..n).unwrap_or_default());
            output.advance(n);
            taken = taken.saturating_add(n);
        }
    }
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
        match self.carriage {
            Carriage::Stream => {
                let n = output.remaining().min(MESSAGE);
                let sent = self.poll_send(context, |_| output.copy_to_bytes(n));
                sent.map_ok(|()| n)
            }
            Carriage::Messages { .. } => self.poll_write_messages(context, output),
        }
    }

    fn is_buffered(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_begun(context))?;
        let mut shared = lock(&self.shared);
        let flushed = Pin::new(&mut shared.socket).poll_flush(context);
        flushed.map_err(broken)
    }

    /// The goodbye ends this direction; what the peer sends before its own still comes.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.goodbye {
            ready!(self.poll_flush(context))?;
            self.goodbye = true;
            let goodbye = Message::Close(Some(frame(CloseCode::Normal, "")));
            let sent = Pin::new(&mut lock(&self.shared).socket).start_send(goodbye);
            sent.map_err(broken)?;
        }
        ready!(Pin::new(&mut lock(&self.shared).socket).poll_flush(context)).map_err(broken)?;
        Poll::Ready(Ok(true))
    }
}
