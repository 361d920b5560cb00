//! One connection, driven without ever waiting.

use crate::{Stream, peer_of};
use bytes::Buf;
use sealpipe_core::{
    AckLevel, Config, Connection, ConnectionError, Message, RecvBuf, Rejection, Role, SendBuf,
    Time, wire::Status,
};
use sealpipe_endpoint::Access;
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

/// A rejection's code: the echo is too long for whoever sent the message.
const TOO_LONG: u64 = 256;

pub(crate) struct Client {
    stream: Stream,
    pub(crate) connection: Connection,
    input: RecvBuf,
    output: SendBuf,
    /// Who it is has been asked. On Windows that is known once it has spoken.
    known: bool,
    /// After the end: how long the peer may take to read the last bytes.
    linger: Option<Time>,
    /// When it is to be run next, if nothing happens before.
    pub(crate) due: Option<Time>,
}

impl Client {
    pub(crate) fn new(
        stream: Stream,
        config: Arc<Config>,
        now: Time,
    ) -> Result<Client, ConnectionError> {
        Ok(Client {
            stream,
            connection: Connection::new(config, Role::Responder, &mut getrandom::SysRng, now)?,
            input: RecvBuf::new(),
            output: SendBuf::new(),
            known: false,
            linger: None,
            due: None,
        })
    }

    /// Does all that can be done now, whatever it was that has happened. Readiness
    /// is told once, so both directions go on until the stream would block. The
    /// peer's credit bounds how much that is: a busy client cannot keep the loop.
    pub(crate) fn run(&mut self, now: Time, scratch: &mut [u8]) {
        let moved = self.read(now, scratch).and_then(|()| {
            // Only now: what came in time counts, however late its turn has come.
            self.connection.handle_timeout(now);
            self.answer_and_write(now)
        });
        if let Err(error) = moved {
            tracing::debug!(%error, "the stream has ended");
            // Writing fails once the peer has gone: what it sent before still counts.
            let _ = self.read(now, scratch);
            self.connection.handle_eof(now, &self.input);
            self.output = SendBuf::new();
        }
        // Idle connections hold no buffers: all of them share `scratch`.
        self.connection.release();
        self.input.release();
        self.output.release();
        self.due = match self.connection.end() {
            None => self.connection.poll_timeout(),
            Some(_) => {
                let patience = self.connection.config().close_timeout();
                Some(*self.linger.get_or_insert(now.saturating_add(patience)))
            }
        };
    }

    /// Whether the stream is to be closed.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        let written = self.connection.is_drained() && !self.output.has_remaining();
        written || self.linger.is_some_and(|until| until <= now)
    }

    /// Reads until there is nothing more for now. The end of the stream is an error.
    fn read(&mut self, now: Time, scratch: &mut [u8]) -> io::Result<()> {
        while self.connection.end().is_none() {
            let n = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.check_peer();
            let mut bytes = scratch.get(..n).unwrap_or_default();
            while bytes.has_remaining() {
                let taken = self.input.fill_from(bytes);
                bytes.advance(taken);
                if self.connection.handle_input(now, &mut self.input).is_err() {
                    break;
                }
            }
        }
        self.connection.handle_idle();
        Ok(())
    }

    /// Before its first bytes are looked at: is it one of ours?
    fn check_peer(&mut self) {
        if !std::mem::replace(&mut self.known, true)
            && let Err(error) = peer_of(&self.stream).and_then(|peer| Access::SameUser.check(&peer))
        {
            tracing::warn!(%error, "a client was refused");
            self.connection.refuse(Status::Refused);
        }
    }

    fn answer_and_write(&mut self, now: Time) -> io::Result<()> {
        loop {
            self.answer(now);
            // What went out has made room for further answers.
            if !self.write(now)? {
                return Ok(());
            }
        }
    }

    /// Sends every message back, as long as the queue takes replies. Messages that
    /// are not taken keep the peer's credit: who does not read cannot send.
    fn answer(&mut self, now: Time) {
        while self.connection.check_room().is_ok()
            && let Some(message) = self.connection.recv()
        {
            let reply = Message::new(message.payload);
            let verdict = self
                .connection
                .send_untracked(now, reply)
                .map_err(|error| Rejection::new(TOO_LONG, error.reason.to_string()));
            if message.ack == AckLevel::Processed
                && let Err(error) = self.connection.settle(message.seq, verdict)
            {
                tracing::debug!(%error, "a verdict came too late");
            }
        }
        if self.connection.peer_finished() && !self.connection.has_messages() {
            self.connection.finish(now);
        }
        while let Some(event) = self.connection.poll_event() {
            tracing::debug!(?event);
        }
    }

    /// Writes until there is nothing more, or the stream takes no more for now;
    /// says whether anything went.
    fn write(&mut self, now: Time) -> io::Result<bool> {
        let mut moved = false;
        while self.connection.poll_transmit(now, &mut self.output) {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.output.chunks_vectored(&mut slices);
            match self
                .stream
                .write_vectored(slices.get(..count).unwrap_or_default())
            {
                Ok(n) => self.output.advance(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            moved = true;
        }
        Ok(moved)
    }
}
