//! What goes out, and in which order.

use super::{Connection, Finish, Keys, Phase, budget::Pings, ending::Farewell, timers::Timer};
use crate::{
    buffer::SendBuf,
    crypto::Sealer,
    error::ConnectionError,
    message::{AckLevel, Kind, Message},
    time::Time,
    wire::{Frame, MAX_FRAME_PLAIN, MAX_REASON, TAG},
};
use bytes::{Buf, BytesMut};

/// Output that is enough for one write.
const ENOUGH_PLAIN: usize = 256 << 10;
/// Less in sealed mode: writing and sealing the next can then overlap with the
/// peer's reading.
const ENOUGH_SEALED: usize = 64 << 10;
/// Plaintext of a record that is filled up.
const RECORD: usize = 32 << 10;
/// Payloads from this size on are written from where they are (plain mode).
pub(super) const ZERO_COPY: usize = 8 << 10;
/// No control frame is longer.
const CONTROL: usize = MAX_REASON + 32;

impl Connection {
    /// Whether there is anything to put into the output buffer.
    #[inline]
    pub(super) fn output_due(&self) -> bool {
        if self.quiet {
            return false;
        }
        if self.phase == Phase::Open && !self.farewell.is_said() && self.raw.is_empty() {
            return self.frames_due();
        }
        self.ending_due()
    }

    fn ending_due(&self) -> bool {
        if !self.raw.is_empty() {
            return true;
        }
        if !self.was_open {
            return false;
        }
        match (&self.farewell, &self.end) {
            (Farewell::Due(_), _) => true,
            // Nothing follows a CLOSE.
            (Farewell::Sent(_), _) | (_, Some(_)) => false,
            _ => self.frames_due(),
        }
    }

    #[inline]
    fn frames_due(&self) -> bool {
        self.data_due() || self.control_due() || self.finish_due()
    }

    #[inline]
    fn control_due(&self) -> bool {
        self.inbound.ack_is_due(self.input_idle)
            || !self.inbound.verdicts.is_empty()
            || !self.outbound.cancels.is_empty()
            || self.inbound.credit_due(&self.config).is_some()
            || self.pong.is_some()
            || self.ping_due()
            || self.pad_due
            || self.settled_is_due()
    }

    #[inline]
    fn ping_due(&self) -> bool {
        self.ping.is_some_and(|ping| ping.sent == Time::NEVER)
            && self.timers.at(Timer::Ping) == Time::NEVER
    }

    /// A CANCEL ends the message before: what follows waits for it.
    #[inline]
    pub(super) fn data_due(&self) -> bool {
        self.phase == Phase::Open && self.outbound.can_send() && self.outbound.cancels.is_empty()
    }

    #[inline]
    fn finish_due(&self) -> bool {
        self.foreign.is_none() && self.can_finish()
    }

    #[inline]
    pub(super) fn can_finish(&self) -> bool {
        self.outbound.finish == Finish::Wanted
            && self.phase == Phase::Open
            && self.outbound.cancels.is_empty()
            && self.outbound.is_drained()
    }

    /// Fills `output`; returns whether it holds anything.
    pub(super) fn fill(&mut self, output: &mut SendBuf) -> bool {
        let (written, events) = (output.written(), &mut self.events);
        if self.outbound.on_written(written, events) && self.is_ending() {
            self.quiet = false;
        }
        if !self.quiet {
            self.fill_with_what_is_due(output);
        }
        self.unwritten = output.remaining() > 0;
        if self.foreign.is_some() && !self.unwritten {
            self.foreign_written();
        }
        self.unwritten
    }

    fn fill_with_what_is_due(&mut self, output: &mut SendBuf) {
        if !self.raw.is_empty() && !self.outbound.wrote_at_once() {
            output.append(self.raw.bytes_mut());
        }
        let sealed = self.keys.is_some();
        let enough = if sealed { ENOUGH_SEALED } else { ENOUGH_PLAIN };
        // Nothing may come of one round: a message that the peer does not take
        // leaves the queue, and what waited for that is due in the next.
        let mut idle = false;
        loop {
            self.check_finished();
            self.quiet = !self.output_due();
            if self.quiet || output.remaining() >= enough {
                break;
            }
            let made = output.made();
            if sealed {
                self.fill_record(output)
            } else if self.foreign.is_some() {
                self.fill_foreign(output, enough)
            } else {
                self.fill_plain(output)
            }
            let nothing = output.made() == made;
            if nothing && idle {
                break;
            }
            idle = nothing;
        }
        self.outbound.mark_made(output.made());
    }

    /// Writes a small message of level *none* straight into `output`, if nothing has to go
    /// before it: cheaper than [`send`](Self::send) and then
    /// [`poll_transmit`](Self::poll_transmit). `None` if it has to be queued.
    ///
    /// The message is sent when the driver has written `output`, which it does now. Where
    /// that takes more than one write, its outcome is to be
    /// [expected](Self::expect_through), by its number, which is returned: others may have
    /// followed by then. What cannot be sealed ends the connection.
    #[inline]
    pub fn write_through(&mut self, message: &Message, output: &mut SendBuf) -> Option<u64> {
        // Nothing that is a matter of time: the deadline of a request, or a PING.
        let fit = message.ack == AckLevel::None && message.kind != Kind::Request;
        let first = !self.unwritten && self.raw.is_empty() && !output.has_remaining();
        let open = self.phase == Phase::Open && self.foreign.is_none();
        let used_up = |keys: &Keys| keys.sealer.is_used_up();
        if !(fit && first && open)
            || self.keys.as_deref().is_some_and(used_up)
            || self.ping_due()
            || self.check_send(message.size(), None, true).is_err()
        {
            return None;
        }
        self.quiet = false;
        let seq = self.outbound.end();
        if self.keys.is_some() {
            self.seal_record(output, |connection, tail, body| {
                let end = body.saturating_add(RECORD);
                connection.write_message_through(message, tail, end);
            });
        } else {
            output.with_tail(|tail| self.write_message_through(message, tail, usize::MAX));
        }
        // As after input.
        self.quiet = !self.output_due();
        (self.outbound.end() != seq && self.end.is_none()).then_some(seq)
    }

    /// What is to be acknowledged goes along, as long as `tail` is shorter than `limit`.
    fn write_message_through(&mut self, message: &Message, tail: &mut BytesMut, limit: usize) {
        if self.outbound.write_one(message, tail) {
            self.outbound.put_out();
            self.pad_due = false;
            self.write_controls(tail, limit);
        }
    }

    fn fill_plain(&mut self, output: &mut SendBuf) {
        self.pad_due = false;
        output.with_tail(|tail| self.write_controls(tail, usize::MAX));
        if self.outbound.wrote_at_once() {
            output.append(self.raw.bytes_mut());
            self.outbound.put_out();
        }
        while self.data_due() && output.remaining() < ENOUGH_PLAIN {
            let room = ENOUGH_PLAIN.saturating_sub(output.remaining());
            let fragment = output.with_tail(|tail| {
                let end = tail.len().saturating_add(room);
                self.outbound.write_small(self.now, tail, end);
                self.outbound
                    .next_fragment(self.now, MAX_FRAME_PLAIN, tail, &mut self.events)
            });
            match fragment {
                Some(payload) if payload.len() >= ZERO_COPY => output.push(payload),
                Some(payload) => output.with_tail(|tail| tail.extend_from_slice(&payload)),
                None => break,
            }
        }
        output.with_tail(|tail| self.write_ending(tail));
    }

    fn fill_record(&mut self, output: &mut SendBuf) {
        self.seal_record(output, Self::write_record);
    }

    /// Seals what `write` appends, which begins at the place that it is told; nothing if
    /// that is nothing.
    fn seal_record(
        &mut self,
        output: &mut SendBuf,
        write: impl FnOnce(&mut Connection, &mut BytesMut, usize),
    ) {
        let Some(mut keys) = self.keys.take() else {
            return;
        };
        let sealer = &mut keys.sealer;
        if sealer.is_used_up() && self.end.is_none() {
            self.fail(ConnectionError::KeysUsedUp);
        }
        let sealed = output.with_tail(|tail| {
            let start = Sealer::begin(tail);
            let body = tail.len();
            write(self, tail, body);
            if tail.len() == body {
                tail.truncate(start);
                return Some(());
            }
            let sealed = sealer.end(start, tail);
            if sealed.is_none() {
                // It is still to be read in there.
                tail.truncate(start);
            }
            sealed
        });
        if self.end.is_some() {
            keys.opener = None;
        }
        self.keys = Some(keys);
        if sealed.is_none() {
            self.end_with(
                ConnectionError::Internal("a record could not be sealed"),
                None,
            );
            self.farewell = Farewell::None;
        }
    }

    fn write_record(&mut self, tail: &mut BytesMut, body: usize) {
        let end = body.saturating_add(RECORD);
        self.write_controls(tail, end);
        while self.data_due() {
            self.outbound.write_small(self.now, tail, end);
            let room = end.saturating_sub(tail.len());
            let Some(payload) = self
                .outbound
                .next_fragment(self.now, room, tail, &mut self.events)
            else {
                break;
            };
            if payload.len() >= ZERO_COPY {
                tail.reserve(payload.len().saturating_add(TAG));
            }
            tail.extend_from_slice(&payload);
        }
        if tail.len().saturating_sub(body) < RECORD {
            self.write_ending(tail);
        }
        if core::mem::take(&mut self.pad_due) && tail.len() == body {
            Frame::Pad.encode(tail);
        }
    }

    /// Control frames, as long as `tail` is shorter than `limit`. RESULT before
    /// the CREDIT that it frees.
    fn write_controls(&mut self, tail: &mut BytesMut, limit: usize) {
        let told = !self.inbound.has_unacked() && !self.has_untold();
        if self.end.is_some() || (told && !self.control_due()) {
            return;
        }
        let fits = |tail: &BytesMut| tail.len().saturating_add(CONTROL) <= limit;
        while fits(tail) {
            let Some(verdict) = self.inbound.verdicts.pop_front() else {
                break;
            };
            Frame::Result {
                seq: verdict.seq,
                code: verdict.code,
                reason: &verdict.reason,
            }
            .encode(tail);
            self.inbound.result_sent(verdict);
        }
        if !fits(tail) {
            return;
        }
        // It costs nothing to go along with something else.
        if (self.inbound.has_unacked() || self.has_untold())
            && (!tail.is_empty() || self.frames_due())
        {
            self.write_ack(tail);
        }
        if let Some(credit) = self.inbound.credit_due(&self.config) {
            Frame::Credit {
                bytes: credit.0,
                messages: credit.1,
            }
            .encode(tail);
            self.inbound.grant(credit, &self.config);
        }
        if let Some(data) = self.pong.take() {
            Frame::Pong(data).encode(tail);
        }
        if self.ping_due()
            && let Some(ping) = &mut self.ping
        {
            if self.ping_budget.spend(self.now) {
                Frame::Ping(self.last_ping.to_be_bytes()).encode(tail);
                ping.sent = self.now.min(Time::LAST);
            } else {
                let at = self.now.saturating_add(Pings::REFILL);
                self.timers.set(Timer::Ping, at);
            }
        }
        while fits(tail) {
            let Some(seq) = self.outbound.cancels.pop_front() else {
                break;
            };
            Frame::Cancel { seq }.encode(tail);
        }
    }

    fn write_ack(&mut self, tail: &mut BytesMut) {
        Frame::Ack {
            next: self.inbound.next(),
            settled: self.outbound.tell_settled(),
        }
        .encode(tail);
        self.inbound.acked();
        self.timers.clear(Timer::Ack);
    }

    /// FINISH and CLOSE, behind everything else.
    fn write_ending(&mut self, tail: &mut BytesMut) {
        if self.finish_due() {
            Frame::Finish {
                end: self.outbound.end(),
            }
            .encode(tail);
            self.outbound.finish = Finish::Sent;
        }
        // Verdicts that were given still count.
        if matches!(self.farewell, Farewell::Due(_))
            && self.inbound.verdicts.is_empty()
            && let Farewell::Due(close) = core::mem::replace(&mut self.farewell, Farewell::None)
        {
            // Of what was taken past messages that are dropped.
            if self.inbound.is_frozen() && self.inbound.has_unacked() {
                self.write_ack(tail);
            }
            Frame::Close {
                code: close.code,
                delivered: self.inbound.delivered(),
                reason: &close.reason,
            }
            .encode(tail);
            self.farewell = Farewell::Sent(close);
        }
    }
}
