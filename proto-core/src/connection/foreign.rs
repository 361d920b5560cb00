//! A connection on another system's wire ([`Wire`]): what it has in place of frames,
//! credit and goodbye.

use super::{Connection, Finish, Phase, ending::Farewell, timers::Timer, transmit::ZERO_COPY};
use crate::{
    buffer::{RecvBuf, SendBuf},
    config::Config,
    crypto::RecordCipher,
    error::{Asked, Close, ConnectionError, Lost, Sealed, Violation, WireError},
    event::{Event, Opened},
    message::{AckLevel, Kind, Message},
    queue::Queue,
    time::Time,
    wire::{
        Hello, Preface, TAG, Wire,
        foreign::{NONCE, SEAL, Span, base64},
    },
};
use alloc::boxed::Box;
use bytes::{Buf, BufMut, Bytes};
use rand_core::TryCryptoRng;

/// What a connection keeps for such a wire.
pub(super) struct Foreign {
    wire: Wire,
    seal: Option<Seal>,
    /// How much of the input was searched for the end of a message, in vain.
    searched: usize,
    /// The inbox is full: nothing more is read until the program takes messages.
    held: bool,
}

impl Foreign {
    /// `None` for the native wire.
    pub(super) fn new(
        config: &Config,
        rng: &mut impl TryCryptoRng,
    ) -> Result<Option<Box<Foreign>>, ConnectionError> {
        let seal = match (config.wire, config.keys.first()) {
            (Wire::Native, _) => return Ok(None),
            (Wire::LegacySealed, Some(key)) => {
                Some(Seal::new(config.provider.cipher(key.bytes()), rng)?)
            }
            _ => None,
        };
        Ok(Some(Box::new(Foreign {
            wire: config.wire,
            seal,
            searched: 0,
            held: false,
        })))
    }

    /// Whether the wire can carry all that `message` asks for.
    pub(super) fn check(&self, message: &Message) -> Result<(), WireError> {
        let asked = match (message.kind, message.ack) {
            (Kind::Message, AckLevel::None) => return Ok(()),
            (Kind::Message, level) => Asked::Ack(level),
            (kind, _) => Asked::Kind(kind),
        };
        Err(self.cannot(asked))
    }

    pub(super) fn cannot(&self, asked: Asked) -> WireError {
        WireError {
            wire: self.wire,
            asked,
        }
    }

    /// The next message of `input`, once it is whole.
    fn next(&mut self, input: &mut RecvBuf, max: usize) -> Result<Option<Bytes>, ConnectionError> {
        let found = self
            .wire
            .find(input.bytes(), self.searched, max)
            .map_err(ConnectionError::Violation)?;
        let Some(span) = found else {
            self.searched = input.bytes().len();
            return Ok(None);
        };
        self.searched = 0;
        self.take(span, input).map(Some)
    }

    /// Takes the message that lies at `span` out of `input`.
    fn take(&self, span: Span, input: &mut RecvBuf) -> Result<Bytes, ConnectionError> {
        let Span { start, len, end } = span;
        let body = input
            .bytes_mut()
            .get_mut(start..start.saturating_add(len))
            .unwrap_or_default();
        let (start, len) = match (self.wire, &self.seal) {
            (Wire::Base64Lines, _) => {
                let decoded = base64::decode(body);
                let n = decoded.ok_or(ConnectionError::Violation(Violation::NotBase64))?;
                (start, n)
            }
            (_, Some(seal)) => {
                let opened = seal.open(body);
                opened.ok_or(ConnectionError::Authentication(Sealed::Message))?;
                (start.saturating_add(NONCE), len.saturating_sub(SEAL))
            }
            _ => (start, len),
        };
        input.consume(start);
        let payload = input.take_payload(len);
        input.consume(end.saturating_sub(start).saturating_sub(len));
        Ok(payload)
    }

    /// Appends a message. `None` if it could not be sealed.
    fn write(&mut self, payload: Bytes, output: &mut SendBuf) -> Option<()> {
        let (wire, n) = (self.wire, payload.len());
        match (&mut self.seal, wire) {
            (Some(seal), _) => output.with_tail(|tail| {
                tail.put_slice(&wire.prefix(length(n.saturating_add(SEAL))?));
                let nonce = seal.next_nonce();
                tail.put_slice(&nonce);
                let start = tail.len();
                tail.put_slice(&payload);
                let tag = seal.cipher.seal(&nonce, &[], tail.get_mut(start..)?)?;
                tail.put_slice(&tag);
                Some(())
            }),
            (None, Wire::Base64Lines) => output.with_tail(|tail| {
                base64::encode(&payload, tail);
                tail.put_u8(b'\n');
                Some(())
            }),
            (None, _) => {
                let prefix = wire.prefix(length(n)?);
                output.with_tail(|tail| tail.put_slice(&prefix));
                if n >= ZERO_COPY {
                    output.push(payload);
                } else {
                    output.with_tail(|tail| tail.put_slice(&payload));
                }
                Some(())
            }
        }
    }
}

/// Always there: a configuration's limit is the wire's at most.
fn length(n: usize) -> Option<u32> {
    u32::try_from(n).ok()
}

/// The static key of [`Wire::LegacySealed`], and where its nonces stand.
///
/// A nonce must not come twice under one key, and every connection of every program
/// that has the key draws from the same 2^96. So each connection begins at a random
/// place and counts on from there. Among n connections of up to m messages two overlap
/// with a probability below n²m / 2^96: for a million connections of a million messages
/// that is 2^-36, where a random nonce for each message, as the original has it, comes
/// to 2^-17. No connection lives to count through 2^96.
struct Seal {
    // Wipes its key when it is dropped.
    cipher: Box<dyn RecordCipher>,
    nonce: u128,
}

impl Seal {
    fn new(
        cipher: Box<dyn RecordCipher>,
        rng: &mut impl TryCryptoRng,
    ) -> Result<Seal, ConnectionError> {
        let mut start = [0; 16];
        rng.try_fill_bytes(&mut start[..NONCE])
            .map_err(|_| ConnectionError::Internal("the random generator failed"))?;
        let nonce = u128::from_le_bytes(start);
        Ok(Seal { cipher, nonce })
    }

    fn next_nonce(&mut self) -> [u8; NONCE] {
        let bytes = self.nonce.to_le_bytes();
        self.nonce = self.nonce.wrapping_add(1);
        // What is counted beyond 96 bits is cut off: it wraps.
        bytes.first_chunk().copied().unwrap_or_default()
    }

    /// Opens nonce, ciphertext and tag in place.
    fn open(&self, body: &mut [u8]) -> Option<()> {
        let (nonce, data) = body.split_first_chunk_mut::<NONCE>()?;
        if data.len() < TAG {
            return None;
        }
        self.cipher.open(nonce, &[], data).ok()
    }
}

impl Connection {
    /// There is nothing to shake hands about.
    pub(super) fn open_foreign(&mut self) {
        self.opened(Opened {
            peer: Hello {
                max_message: u64::MAX,
                credit_bytes: u64::MAX,
                credit_messages: u64::MAX,
                ..Hello::default()
            },
            handshake_hash: None,
        });
    }

    /// Takes whole messages out of `input`, as far as the inbox has room.
    pub(super) fn take_foreign(&mut self, input: &mut RecvBuf) {
        let Some(mut foreign) = self.foreign.take() else {
            return;
        };
        let taken = self.take_messages(&mut foreign, input);
        input.hold(foreign.held);
        self.foreign = Some(foreign);
        if let Err(error) = taken {
            self.fail(error);
        }
    }

    fn take_messages(
        &mut self,
        foreign: &mut Foreign,
        input: &mut RecvBuf,
    ) -> Result<(), ConnectionError> {
        let mut progress = false;
        foreign.held = false;
        loop {
            if self.farewell.is_said() {
                // Nobody will take what comes.
                input.clear();
                self.timers.clear(Timer::Message);
                return Ok(());
            }
            if !self.inbound.has_room(&self.config) {
                foreign.held = true;
                // It is not the peer who keeps us waiting.
                self.timers.clear(Timer::Message);
                return Ok(());
            }
            let next = foreign.next(input, self.config.max_message);
            match next.map_err(|error| self.or_native_peer(error, input))? {
                Some(payload) => self.inbound.received_bare(payload),
                None => break,
            }
            progress = true;
        }
        let at = self.now.saturating_add(self.config.message_timeout);
        if !input.is_partial() {
            self.timers.clear(Timer::Message);
        } else if progress {
            self.timers.set(Timer::Message, at);
        } else {
            self.timers.set_earlier(Timer::Message, at);
        }
        Ok(())
    }

    /// Tells a peer that speaks sealpipe's own protocol from one that makes no sense.
    fn or_native_peer(&self, error: ConnectionError, input: &RecvBuf) -> ConnectionError {
        let first = self.inbound.next() == 0;
        match error {
            ConnectionError::Violation(_)
                if first && input.bytes().starts_with(&Preface::MAGIC) =>
            {
                ConnectionError::Mismatch(crate::error::Mismatch::Wire {
                    own: self.config.wire,
                })
            }
            error => error,
        }
    }

    /// Whether input was held back, and the program has made room since.
    #[inline]
    pub(crate) fn input_is_due(&self) -> bool {
        self.foreign
            .as_ref()
            .is_some_and(|foreign| foreign.held && self.inbound.has_room(&self.config))
    }

    /// Writes whole messages; there is nothing else to write.
    pub(super) fn fill_foreign(&mut self, output: &mut SendBuf, enough: usize) {
        // There is no word for taking a message back.
        self.outbound.cancels = Queue::new();
        while self.data_due() && output.remaining() < enough {
            let Some(payload) = self.outbound.next_whole() else {
                break;
            };
            let foreign = self.foreign.as_mut();
            if foreign
                .and_then(|foreign| foreign.write(payload, output))
                .is_none()
            {
                let what = "a message could not be sealed";
                return self.end_with(ConnectionError::Internal(what), None);
            }
            self.unwritten = true;
        }
    }

    /// All that was made has been written: the end that waited for that.
    pub(super) fn foreign_written(&mut self) {
        if self.phase == Phase::Closing
            && let Farewell::Sent(close) = &self.farewell
        {
            self.end_with(ConnectionError::ClosedLocally(Close::clone(close)), None);
        }
    }

    /// Closes without a goodbye, once what is in the output has been written: a
    /// message that has begun is not cut.
    pub(super) fn leave_foreign(&mut self, close: Close) {
        self.timers.clear(Timer::Message);
        self.farewell = Farewell::Sent(Box::new(close));
        if !self.unwritten {
            self.foreign_written();
        }
    }

    /// The stream has ended, or broken.
    pub(super) fn on_foreign_eof(&mut self, input: &RecvBuf) {
        if let Some(close) = self.farewell.announced() {
            self.end_with(close, None);
        } else if input.is_partial() {
            self.end_with(ConnectionError::Lost(Lost::Truncated), None);
        } else if !core::mem::replace(&mut self.inbound.finished, true) {
            self.events.push_back(Event::PeerFinished);
            if self.outbound.finish == Finish::Sent {
                self.end_with(ConnectionError::Finished, None);
            }
        }
    }

    /// Whether the driver is to end the sending direction of the stream: the program
    /// has [finished](Self::finish), everything is written, and the [wire](Wire) has
    /// no word for it. Then call [`handle_shutdown`](Self::handle_shutdown). Never on
    /// [`Wire::Native`].
    #[inline]
    pub fn wants_shutdown(&self) -> bool {
        self.foreign.is_some() && !self.unwritten && self.can_finish()
    }

    /// The driver has ended the sending direction. `half`: the other one goes on, and
    /// the connection ends with it; else a stream can only be closed whole, and the
    /// connection has ended.
    pub fn handle_shutdown(&mut self, now: Time, half: bool) {
        self.advance(now);
        if self.foreign.is_none() || self.outbound.finish != Finish::Wanted {
            return;
        }
        self.outbound.finish = Finish::Sent;
        if !half || self.inbound.finished {
            self.end_with(ConnectionError::Finished, None);
        }
    }

    /// Nothing can be written any more, and all that could be read has been: where the
    /// peer had only ended its own direction, that is the end.
    pub fn handle_broken(&mut self, now: Time) {
        self.advance(now);
        if self.foreign.is_some() && self.inbound.finished {
            self.end_with(ConnectionError::Lost(Lost::Idle), None);
        }
    }
}
