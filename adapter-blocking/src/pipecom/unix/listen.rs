//! The listener's side of two FIFOs.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use sealpipe_endpoint::{Access, Backoff, Fifo, FifoClaim, FifoPair};

use super::{LINE_FEED, Read, Stop, lines::Line, lines::Lines, read, wait};
use crate::pipecom::{
    Error, ListenOptions, Pipe, codec,
    deadline::{Deadline, seed},
    listener::{ACK, Received},
};

/// How long a sender may take over a line that it has begun.
const LINE_TIME: Duration = Duration::from_secs(5);
/// How long a sender of another make may take to come for its acknowledgement.
const ACK_TIME: Duration = Duration::from_secs(5);
/// How long the next message of a sender of another make is waited for before the FIFO of
/// acknowledgements is closed.
const PAUSE: Duration = Duration::from_millis(2);
/// What is read at once.
const CHUNK: usize = 16 << 10;

/// Two FIFOs that are listened on.
pub(in crate::pipecom) struct Port {
    claim: FifoClaim,
    messages: OwnedFd,
    /// The same one for writing, while nothing is being received: else the end of
    /// the last sender would be there to be read for ever.
    quiet: Option<OwnedFd>,
    /// From before the first byte of a message is read; see the module.
    ack: Option<Ack>,
    lines: Lines,
    /// When the line that is coming must have come.
    line_until: Deadline,
    chunk: Box<[u8]>,
    max_message: usize,
}

/// The FIFO of acknowledgements, open for writing.
struct Ack {
    writer: OwnedFd,
    /// The sender did not read yet when this was opened, so it is of another make, or
    /// has gone.
    late: bool,
    /// Nobody came for one that was waited with, nor would anybody for those that were
    /// queued behind it.
    deserted: bool,
}

impl Port {
    pub(in crate::pipecom) fn open(pipe: &Pipe, options: &ListenOptions) -> Result<Port, Error> {
        let (claim, messages) = FifoPair::at(&pipe.0.0)?.claim(&options.access)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(bytes) = options.buffer_size
            && let Err(error) = rustix::pipe::fcntl_setpipe_size(&messages, bytes)
        {
            tracing::warn!(%pipe, bytes, %error, "the FIFO keeps the size that it has");
        }
        Ok(Port {
            claim,
            messages,
            quiet: None,
            ack: None,
            lines: Lines::new(codec::encoded_max(options.max_message)),
            line_until: Deadline::after(None),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            max_message: options.max_message,
        })
    }

    /// The next message, until then.
    pub(in crate::pipecom) fn receive(
        &mut self,
        until: Deadline,
        stop: &Stop,
    ) -> io::Result<Received> {
        loop {
            // Also while messages are queued.
            if stop.is_asked() {
                return Ok(Received::Stopped);
            }
            match self.lines.take() {
                Some(Line::Whole(line)) => match codec::decode(line, self.max_message) {
                    Ok(text) => return Ok(Received::Message(text)),
                    Err(error) => self.refuse(&error),
                },
                Some(Line::TooLong) => self.refuse(&codec::Unreadable::TooLarge {
                    max: self.max_message,
                }),
                None => {
                    if let Some(received) = self.more(until, stop)? {
                        return Ok(received);
                    }
                }
            }
        }
    }

    /// Waits for more bytes, or for a reason to wait no longer.
    fn more(&mut self, until: Deadline, stop: &Stop) -> io::Result<Option<Received>> {
        let within = self.lines.is_within();
        if !within {
            self.rest()?;
        }
        let until = if within { self.line_until } else { until };
        let mut descriptors = [
            PollFd::new(&self.messages, PollFlags::IN),
            PollFd::new(&stop.woken, PollFlags::IN),
        ];
        let in_time = wait(&mut descriptors, until)?;
        if stop.is_asked() {
            return Ok(Some(Received::Stopped));
        }
        // What never ends may leave no moment to be waited for.
        let in_time = in_time && !(self.lines.is_discarding() && until.is_over());
        if !in_time && within {
            let bytes = self.lines.give_up();
            self.unfinished(bytes, "it took too long");
            return Ok(None);
        }
        if !in_time {
            return Ok(Some(Received::Nothing));
        }
        self.begin()?;
        match read(&self.messages, &mut self.chunk)? {
            Read::Bytes(length) => {
                if !within {
                    self.line_until = Deadline::after(Some(LINE_TIME));
                }
                tracing::trace!(bytes = length, "read of a FIFO");
                self.lines
                    .push(self.chunk.get(..length).unwrap_or_default());
            }
            Read::End => {
                let bytes = self.lines.end();
                if within {
                    self.unfinished(bytes, "its sender has gone");
                }
            }
            Read::Nothing => {}
        }
        Ok(None)
    }

    /// Tells the sender that its message was processed.
    pub(in crate::pipecom) fn acknowledge(&mut self, stop: &Stop) {
        let Some(ack) = &mut self.ack else { return };
        let mut line = codec::encode(ACK);
        line.push(LINE_FEED);
        let patient = ack.late && !ack.deserted;
        let until = Deadline::after(Some(if patient { ACK_TIME } else { Duration::ZERO }));
        let mut backoff =
            Backoff::between(Duration::from_micros(20), Duration::from_millis(5), seed());
        loop {
            match rustix::io::write(&ack.writer, &line) {
                Ok(_) => break,
                Err(Errno::PIPE) if !until.is_over() && !stop.is_asked() => {
                    until.pause(&mut backoff);
                }
                Err(Errno::PIPE) => {
                    ack.deserted |= patient;
                    tracing::debug!("nobody came for an acknowledgement");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "could not acknowledge a message");
                    break;
                }
            }
        }
        // At once, for the next sender waits for that.
        self.close_ack();
    }

    fn refuse(&mut self, why: &codec::Unreadable) {
        tracing::warn!(pipe = %self.claim.pair().address(Fifo::Message), %why, "not a message; not acknowledged");
        self.close_ack();
    }

    fn unfinished(&self, bytes: usize, why: &'static str) {
        tracing::warn!(pipe = %self.claim.pair().address(Fifo::Message), bytes, why, "a message without an end; not acknowledged");
    }

    /// Before the first byte of a message is read.
    fn begin(&mut self) -> io::Result<()> {
        self.quiet = None;
        if self.ack.is_some() {
            return Ok(());
        }
        let pair = self.claim.pair();
        let open = || pair.open_writer(Fifo::Ack, &Access::SameUser);
        self.ack = Some(match open() {
            Ok(writer) => Ack {
                writer,
                late: false,
                deserted: false,
            },
            Err(sealpipe_endpoint::Error::Refused { .. }) => {
                // Only while somebody reads can it be opened for writing.
                let _reader = pair.open_reader(Fifo::Ack, &Access::SameUser)?;
                Ack {
                    writer: open()?,
                    late: true,
                    deserted: false,
                }
            }
            Err(error) => return Err(error.into()),
        });
        Ok(())
    }

    /// Nothing is being received any more.
    fn rest(&mut self) -> io::Result<()> {
        self.close_ack();
        // The rest of a line that was given up may end with its sender, and that must be
        // seen.
        if self.ack.is_none() && self.quiet.is_none() && !self.lines.is_given_up() {
            let pair = self.claim.pair();
            self.quiet = Some(pair.open_writer(Fifo::Message, &Access::SameUser)?);
        }
        Ok(())
    }

    /// Whether the next message has come, or a part of it.
    fn has_more(&self) -> bool {
        self.lines.is_within()
            || rustix::io::ioctl_fionread(&self.messages).is_ok_and(|bytes| bytes > 0)
    }

    /// Waits a moment for the next message.
    fn pause(&self) {
        // Held for writing, or the end of the last sender would be there at once.
        let quiet = self
            .claim
            .pair()
            .open_writer(Fifo::Message, &Access::SameUser);
        let mut messages = [PollFd::new(&self.messages, PollFlags::IN)];
        if quiet.is_ok() {
            // Whether it came or not is looked at next.
            let _ = wait(&mut messages, Deadline::after(Some(PAUSE)));
        }
    }

    /// Closes the FIFO of acknowledgements, but where the next message has come already
    /// (of a sender of another make, then): that one may have it open for reading, and
    /// would take this for the end of its own.
    fn close_ack(&mut self) {
        if self.ack.is_some() && !self.has_more() && self.claim.pair().is_turn_free() {
            // One that sends on would read the end if it opened just before the closing.
            self.pause();
        }
        let more = self.has_more();
        match &mut self.ack {
            Some(ack) if more => ack.late = true,
            _ => self.ack = None,
        }
    }
}
