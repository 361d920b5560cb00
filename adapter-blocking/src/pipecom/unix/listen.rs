//! The listener's side of two FIFOs.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

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
    /// Open too where the sender does not read yet, so that the acknowledgement
    /// waits for it.
    reader: Option<OwnedFd>,
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
        if !in_time && within {
            self.give_up("it took too long");
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
            Read::End if within => self.give_up("its sender has gone"),
            Read::End | Read::Nothing => {}
        }
        Ok(None)
    }

    /// Tells the sender that its message was processed.
    pub(in crate::pipecom) fn acknowledge(&mut self) {
        let Some(ack) = &self.ack else { return };
        let mut line = codec::encode(ACK);
        line.push(LINE_FEED);
        match rustix::io::write(&ack.writer, &line) {
            Ok(_) => {
                if let Some(reader) = &ack.reader {
                    await_taken(reader);
                }
            }
            Err(Errno::PIPE) => tracing::debug!("the sender did not wait for its acknowledgement"),
            Err(error) => tracing::warn!(%error, "could not acknowledge a message"),
        }
        match self.lines.is_within() {
            // Those who wait for what comes next may not have opened it yet.
            true => self.hold_ack(),
            // At once, for the next sender waits for this.
            false => self.ack = None,
        }
    }

    fn refuse(&mut self, why: &codec::Unreadable) {
        tracing::warn!(pipe = %self.claim.pair().address(Fifo::Message), %why, "not a message; not acknowledged");
        if self.lines.is_within() {
            self.hold_ack();
        }
    }

    fn give_up(&mut self, why: &'static str) {
        let bytes = self.lines.give_up();
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
                reader: None,
            },
            // The sender does not read yet, or has gone.
            Err(sealpipe_endpoint::Error::Refused { .. }) => {
                let reader = pair.open_reader(Fifo::Ack, &Access::SameUser)?;
                Ack {
                    writer: open()?,
                    reader: Some(reader),
                }
            }
            Err(error) => return Err(error.into()),
        });
        Ok(())
    }

    /// Nothing is being received any more.
    fn rest(&mut self) -> io::Result<()> {
        if self.quiet.is_none() {
            let pair = self.claim.pair();
            self.quiet = Some(pair.open_writer(Fifo::Message, &Access::SameUser)?);
        }
        self.ack = None;
        Ok(())
    }

    fn hold_ack(&mut self) {
        let pair = self.claim.pair();
        if let Some(ack) = &mut self.ack
            && ack.reader.is_none()
        {
            ack.reader = pair.open_reader(Fifo::Ack, &Access::SameUser).ok();
        }
    }
}

/// Until the sender has taken its acknowledgement, or another has found that it is
/// for nobody any more. What is left over is withdrawn.
fn await_taken(reader: &OwnedFd) {
    let until = Deadline::after(Some(ACK_TIME));
    let mut backoff = Backoff::between(Duration::from_micros(20), Duration::from_millis(5), seed());
    while rustix::io::ioctl_fionread(reader.as_fd()).is_ok_and(|bytes| bytes > 0) {
        if until.is_over() {
            tracing::warn!("nobody came for an acknowledgement; it is withdrawn");
            let mut bytes = [0; 512];
            while let Ok(Read::Bytes(_)) = read(reader, &mut bytes) {}
            return;
        }
        until.pause(&mut backoff);
    }
}
