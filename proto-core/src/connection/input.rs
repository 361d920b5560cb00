//! From bytes to frames to what they mean (PROTOCOL.md, sections 5 and 6).

use super::{
    Connection, Phase,
    ending::Farewell,
    inbound::{Run, SmallMessages, check_fragment},
    timers::Timer,
};
use crate::{
    buffer::{RecvBuf, SMALL},
    crypto::Opener,
    error::{Close, ConnectionError, Lost, Sealed, Violation},
    event::Event,
    message::Received,
    time::Time,
    wire::{
        DataHead, Frame, FrameHeader, FrameType, MAX_DATA_HEAD, MAX_FRAME_PLAIN, MAX_FRAME_SEALED,
        Mode, TAG,
    },
};
use alloc::{string::String, sync::Arc};
use bytes::Bytes;
use core::time::Duration;

/// While input keeps coming, an ACK goes out after so long.
const ACK_DELAY: Duration = Duration::from_millis(5);
/// Payloads from this size on are read straight to their place (plain mode).
const DIRECT: usize = 16 << 10;

impl Connection {
    /// Uses up as much of `input` as is whole.
    pub(super) fn take_input(&mut self, input: &mut RecvBuf) {
        if self.foreign.is_some() {
            return self.take_foreign(input);
        }
        let mut progress = false;
        loop {
            let step = match self.phase {
                Phase::Preface => self.take_preface(input),
                Phase::Handshake => self.take_handshake(input),
                Phase::Confirm => self.take_record(input),
                Phase::Open | Phase::Closing => match self.config.mode() {
                    Mode::Sealed => self.take_record(input),
                    _ => self.take_frame(input).map_err(ConnectionError::Violation),
                },
                Phase::Asked | Phase::Ready => break self.limit_early(input),
                // What came late over the stream that was lost.
                Phase::Suspended => return input.clear(),
                Phase::Closed => break,
            };
            match step {
                Ok(true) => progress = true,
                Ok(false) => break,
                Err(error) => return self.fail(error),
            }
        }
        self.inbound.note_credit(&self.config);
        self.watch_partial(input, progress);
    }

    /// A frame or record that has begun must be whole in time.
    fn watch_partial(&mut self, input: &RecvBuf, progress: bool) {
        if self.end.is_some() {
            return;
        }
        let at = self.now.saturating_add(self.config.record_timeout);
        if !input.is_partial() || self.phase != Phase::Open {
            self.timers.clear(Timer::Record);
        } else if progress {
            self.timers.set(Timer::Record, at);
        } else {
            self.timers.set_earlier(Timer::Record, at);
        }
        if self.inbound.has_unacked() {
            self.timers
                .set_earlier(Timer::Ack, self.now.saturating_add(ACK_DELAY));
        }
    }

    /// Sealed mode: one record.
    fn take_record(&mut self, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        if let Some(length) = self.take_opened_record() {
            return self.take_frames(length, input);
        }
        let Some(length) = Opener::declared(input.bytes()) else {
            return Ok(false);
        };
        if length == 0 {
            return Err(ConnectionError::Violation(Violation::EmptyRecord));
        }
        if input.bytes().len() < Opener::HEADER.saturating_add(length).saturating_add(TAG) {
            return Ok(false);
        }
        let opener = self
            .keys
            .as_mut()
            .and_then(|keys| keys.opener.as_mut())
            .ok_or(ConnectionError::Internal("no key"))?;
        opener
            .open(input.bytes_mut(), length)
            .map_err(|_| ConnectionError::Authentication(Sealed::Record))?;
        input.consume(Opener::HEADER);
        if self.phase == Phase::Confirm && !self.confirmed(length) {
            return Ok(false);
        }
        self.take_frames(length, input)
    }

    /// The frames of a record that has opened.
    fn take_frames(&mut self, length: usize, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        let mut left = length;
        while left > 0 {
            let used = self
                .take_sealed_frame(left, input)
                .map_err(ConnectionError::Violation)?;
            left = left.saturating_sub(used);
            if self.phase == Phase::Closed {
                return Ok(true);
            }
        }
        input.consume(TAG);
        Ok(true)
    }

    /// A frame, or small messages, of the `left` bytes that an opened record still has;
    /// returns how many they were.
    fn take_sealed_frame(&mut self, left: usize, input: &mut RecvBuf) -> Result<usize, Violation> {
        let plaintext = input.bytes().get(..left).unwrap_or_default();
        let header = FrameHeader::decode(plaintext, MAX_FRAME_SEALED)?
            .ok_or(Violation::FrameAcrossRecords)?;
        if header.len() > left {
            return Err(Violation::FrameAcrossRecords);
        }
        self.take_whole_frame(header, left, input)
    }

    /// Plain mode: one frame, or the beginning of a large one.
    #[inline]
    fn take_frame(&mut self, input: &mut RecvBuf) -> Result<bool, Violation> {
        if let Some(partial) = &mut self.inbound.partial {
            if input.direct_missing() > 0 {
                return Ok(false);
            }
            if let Some(fin) = partial.direct.take() {
                input.expect_large();
                self.fragment_done(fin, input);
                return Ok(true);
            }
        }
        let Some(header) = FrameHeader::decode(input.bytes(), MAX_FRAME_PLAIN)? else {
            return Ok(false);
        };
        let have = input.bytes().len().saturating_sub(header.header_len);
        if have >= header.body_len {
            self.take_whole_frame(header, usize::MAX, input)?;
            return Ok(true);
        }
        match header.frame_type {
            FrameType::Data { first, fin }
                if header.body_len >= DIRECT && have >= MAX_DATA_HEAD =>
            {
                input.consume(header.header_len);
                self.take_data_directly(first, fin, header.body_len, input)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A frame that `input` has whole, among its first `limit` bytes; if that is a
    /// small message, also those behind it. Returns how many bytes they were.
    #[inline]
    fn take_whole_frame(
        &mut self,
        header: FrameHeader,
        limit: usize,
        input: &mut RecvBuf,
    ) -> Result<usize, Violation> {
        if header.is_message() && header.len() <= SMALL {
            return self.take_small_messages(header, limit, input);
        }
        input.consume(header.header_len);
        self.take_body(header, input)?;
        Ok(header.len())
    }

    #[inline(never)]
    fn take_body(&mut self, header: FrameHeader, input: &mut RecvBuf) -> Result<(), Violation> {
        if let FrameType::Data { first, fin } = header.frame_type {
            if first && fin {
                return self.take_message(header.body_len, input);
            }
            let n = self.begin_fragment(first, fin, header.body_len, input)?;
            input.append_to_assembly(n);
            self.fragment_done(fin, input);
            return Ok(());
        }
        self.take_control(header, input)
    }

    #[inline(never)]
    fn take_control(&mut self, header: FrameHeader, input: &mut RecvBuf) -> Result<(), Violation> {
        let body = input.bytes().get(..header.body_len).unwrap_or_default();
        let frame = Frame::decode(header.frame_type, body)?;
        let cancelled = self.on_frame(frame)?;
        input.consume(header.body_len);
        if cancelled {
            input.drop_assembly();
        }
        Ok(())
    }

    /// A message in one DATA frame, whose body stands whole at the front of
    /// `input`.
    fn take_message(&mut self, body: usize, input: &mut RecvBuf) -> Result<(), Violation> {
        let front = input.bytes().get(..body).unwrap_or_default();
        let (head, length) = DataHead::decode(true, front)?;
        let n = front.len().saturating_sub(length);
        self.inbound.admit(&head, n as u64, &self.config)?;
        let message = received(&head, Bytes::new());
        input.consume(length);
        let payload = input.take_payload(n);
        self.budget.earn(1);
        self.inbound.received(Received { payload, ..message });
        Ok(())
    }

    /// The message of `first`, which is small, and those behind it that are small and
    /// whole among the first `limit` bytes of `input`: they share a block. Here is where
    /// many small messages spend their time.
    #[inline(never)]
    fn take_small_messages(
        &mut self,
        first: FrameHeader,
        limit: usize,
        input: &mut RecvBuf,
    ) -> Result<usize, Violation> {
        let mut length = first.len();
        let room = input.block_room(length).min(limit);
        let bytes = input.bytes();
        let bytes = bytes.get(..room).unwrap_or(bytes);
        while let Some(rest) = bytes.get(length..)
            && let Some(next) = FrameHeader::decode_short(rest)
            && next.len() <= rest.len().min(SMALL)
        {
            length = length.saturating_add(next.len());
        }
        let block = input.take_block(length);
        let mut run = self.inbound.begin_run(&self.config);
        let taken = self.take_block(first, &block, &mut run);
        self.end_run(&run);
        taken.map(|()| length)
    }

    /// The messages of a block, in one run or several.
    #[inline(always)]
    fn take_block(
        &mut self,
        first: FrameHeader,
        block: &Bytes,
        run: &mut Run,
    ) -> Result<(), Violation> {
        let mut messages = SmallMessages::new(first, block);
        loop {
            self.inbound.run_on(&mut messages, run);
            let Some(body) = messages.next_body() else {
                return Ok(());
            };
            self.end_run(run);
            *run = Run::default();
            self.take_out_of_run(body)?;
            *run = self.inbound.begin_run(&self.config);
        }
    }

    /// A message of a block that has more to it, by its body.
    #[inline(never)]
    fn take_out_of_run(&mut self, body: Bytes) -> Result<(), Violation> {
        let (head, length) = DataHead::decode(true, &body)?;
        let n = body.len().saturating_sub(length);
        self.inbound.admit(&head, n as u64, &self.config)?;
        self.budget.earn(1);
        self.inbound.received(received(&head, body.slice(length..)));
        Ok(())
    }

    fn end_run(&mut self, run: &Run) {
        self.inbound.end_run(run);
        self.budget.earn(run.len());
    }

    /// A large DATA frame of which `input` has only the beginning: the rest of its
    /// payload is read straight to its place.
    fn take_data_directly(
        &mut self,
        first: bool,
        fin: bool,
        body: usize,
        input: &mut RecvBuf,
    ) -> Result<(), Violation> {
        let n = self.begin_fragment(first, fin, body, input)?;
        let have = input.bytes().len();
        input.append_to_assembly(have);
        input.read_direct(n.saturating_sub(have));
        if let Some(partial) = &mut self.inbound.partial {
            partial.direct = Some(fin);
        }
        Ok(())
    }

    /// Checks a fragment of a message that is put together, uses up the fields
    /// before its payload, and returns the length of that. Where it is the first,
    /// `input` has the fields before the payload whole.
    fn begin_fragment(
        &mut self,
        first: bool,
        fin: bool,
        body: usize,
        input: &mut RecvBuf,
    ) -> Result<usize, Violation> {
        self.budget.earn(1);
        if !first {
            self.inbound.check_more(fin, body, input.assembly_len())?;
            return Ok(body);
        }
        let front = input.bytes().get(..body).unwrap_or(input.bytes());
        let (head, length) = DataHead::decode(fin, front)?;
        let n = body.saturating_sub(length);
        let total = head.total.unwrap_or(n as u64);
        self.inbound.admit(&head, total, &self.config)?;
        // It is at most `max_message`, which is a `usize`.
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        check_fragment(fin, n, 0, total)?;
        self.inbound
            .expect_more(received(&head, Bytes::new()), total);
        input.consume(length);
        input.begin_assembly(total);
        if self.phase == Phase::Open {
            let timeout = self.config.message_timeout;
            self.timers
                .set(Timer::Message, self.now.saturating_add(timeout));
        }
        Ok(n)
    }

    fn fragment_done(&mut self, fin: bool, input: &mut RecvBuf) {
        if fin {
            let payload = input.take_assembly();
            self.timers.clear(Timer::Message);
            self.inbound.complete(payload);
        }
    }

    /// A frame other than DATA. `Ok(true)`: the message whose fragments were
    /// coming was withdrawn.
    fn on_frame(&mut self, frame: Frame<'_>) -> Result<bool, Violation> {
        let events = &mut self.events;
        let forward = match frame {
            Frame::Pad => false,
            Frame::Hello(_) => return Err(Violation::HelloTwice),
            Frame::Ack { next, settled } => {
                let settled = self.inbound.on_settled(settled)?;
                self.outbound.on_ack(next, events)? | settled
            }
            Frame::Result { seq, code, reason } => {
                self.outbound.on_result(seq, code, reason, events)?;
                true
            }
            Frame::Credit { bytes, messages } => self.outbound.on_credit(bytes, messages)?,
            Frame::Ping(data) => {
                self.pong = Some(data);
                false
            }
            Frame::Pong(data) => {
                self.on_pong(u64::from_be_bytes(data))?;
                true
            }
            Frame::Cancel { seq } => {
                let partial = self.inbound.partial.is_some();
                if self.inbound.cancel(seq)? {
                    events.push_back(Event::Cancelled { seq });
                }
                let dropped = partial && self.inbound.partial.is_none();
                if dropped {
                    self.timers.clear(Timer::Message);
                }
                return Ok(dropped);
            }
            Frame::Finish { end } => {
                if self.inbound.finish(end)? {
                    events.push_back(Event::PeerFinished);
                }
                true
            }
            Frame::Close {
                code,
                delivered,
                reason,
            } => {
                if delivered > self.outbound.end() {
                    return Err(Violation::Close);
                }
                self.on_close(
                    Close {
                        code,
                        reason: String::from(reason),
                    },
                    delivered,
                );
                true
            }
        };
        if !forward {
            self.spend()?;
        }
        Ok(false)
    }

    fn spend(&mut self) -> Result<(), Violation> {
        if self.budget.spend(self.now) {
            Ok(())
        } else {
            Err(Violation::Flood)
        }
    }

    fn on_pong(&mut self, number: u64) -> Result<(), Violation> {
        let ping = self
            .ping
            .filter(|ping| self.last_ping == number && ping.sent != Time::NEVER)
            .ok_or(Violation::Pong)?;
        self.ping = None;
        if ping.wanted {
            self.events.push_back(Event::Pong {
                round_trip: self.now.saturating_since(ping.sent),
            });
        }
        Ok(())
    }

    /// What the end of the stream means at this point.
    pub(super) fn on_eof(&mut self, input: &RecvBuf) {
        if self.end.is_some() || self.phase == Phase::Suspended {
            return;
        }
        if self.foreign.is_some() {
            return self.on_foreign_eof(input);
        }
        let lost = match self.phase {
            Phase::Preface if input.bytes().is_empty() => Lost::Silent,
            Phase::Preface => Lost::Preface,
            Phase::Handshake | Phase::Asked | Phase::Confirm | Phase::Ready => Lost::Handshake,
            _ if input.is_partial() || self.inbound.partial.is_some() => Lost::Truncated,
            _ => Lost::Idle,
        };
        let error = match &self.farewell {
            Farewell::Due(close) | Farewell::Sent(close) => {
                ConnectionError::ClosedLocally(Close::clone(close))
            }
            _ => ConnectionError::Lost(lost),
        };
        // There is nobody left to say anything to.
        self.farewell = Farewell::None;
        self.raw.clear();
        self.end_with(error, None);
    }
}

#[inline]
fn received(head: &DataHead<'_>, payload: Bytes) -> Received {
    debug_assert_eq!(head.correlation.is_some(), head.kind.has_correlation());
    Received {
        seq: head.seq,
        kind: head.kind,
        ack: head.ack,
        correlation: head.correlation.unwrap_or(0),
        topic: head.topic.map(Arc::from),
        extension: head.extension,
        payload,
    }
}
