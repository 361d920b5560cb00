//! The listener's side of a pipe that keeps messages apart.

use std::{
    io,
    os::windows::io::{AsHandle as _, BorrowedHandle},
    time::Duration,
};

use sealpipe_endpoint::{
    AcceptErrorKind, Access, Claim, PipeInstance, PipeReader, PipeWriter, accept_error_kind,
    client_of, wait_any,
};

use super::{Stop, until};
use crate::pipecom::{
    Error, ListenOptions, Pipe, codec,
    deadline::Deadline,
    listener::{ACK, Received},
};

/// Instances that wait for a sender, so that as many can connect at once.
const WAITING: usize = 8;
/// Instances in all. One can wait for 64 events; one of them is the listener's own.
const MOST: usize = 48;
/// How long a sender may take to write its message, once it has connected.
const MESSAGE_TIME: Duration = Duration::from_secs(5);
/// How long a sender may take to have room for its acknowledgement.
const ACK_TIME: Duration = Duration::from_secs(5);
/// The same once the listener is to stop: enough where there is room, and the system is
/// slow to say so.
const LAST_ACK_TIME: Duration = Duration::from_secs(1);
/// How long to rest when the system has no room.
const REST: Duration = Duration::from_millis(100);

/// A pipe that is listened on.
pub(in crate::pipecom) struct Port {
    claim: Claim,
    access: Access,
    pipe: Pipe,
    /// In the order in which they were made.
    slots: Vec<Slot>,
    /// Those that are done with. They are closed where another instance is open, for the
    /// name goes with the last one.
    gone: Vec<Slot>,
    /// The sender whose message was read last, closed as those.
    current: Option<PipeWriter>,
    /// That of a text.
    max_message: usize,
}

/// An instance of the pipe.
enum Slot {
    Waiting(PipeInstance),
    Connected {
        reader: PipeReader,
        writer: PipeWriter,
        until: Deadline,
    },
}

/// What has become of a slot that was looked at.
enum Looked {
    Still(Slot),
    Message(String, PipeWriter),
    Gone(Slot),
}

impl Port {
    pub(in crate::pipecom) fn open(pipe: &Pipe, options: &ListenOptions) -> Result<Port, Error> {
        let mut listening = sealpipe_endpoint::ListenOptions::new()
            .access(options.access.clone())
            .message_mode(true);
        if let Some(bytes) = options.buffer_size {
            listening = listening.pipe_buffer(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        let (first, claim) = listening.listen(&pipe.0.0)?.into_parts();
        let instance = PipeInstance::new(first).map_err(|source| Error::Io {
            pipe: pipe.to_string(),
            doing: "preparing to listen on",
            outcome: crate::pipecom::Outcome::NotSent,
            source,
        })?;
        Ok(Port {
            claim,
            access: options.access.clone(),
            pipe: pipe.clone(),
            slots: vec![Slot::Waiting(instance)],
            gone: Vec::new(),
            current: None,
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
            let room = self.refill()?;
            if !self.slots.is_empty() {
                self.current = None;
            }
            if let Some(text) = self.look()? {
                return Ok(Received::Message(text));
            }
            // Those that have gone, or have connected, leave room for others.
            if room && self.waiting() < WAITING && self.slots.len() < MOST {
                continue;
            }
            let mut soonest = until;
            if !room {
                soonest = soonest.or_after(REST);
            }
            let mut events: Vec<BorrowedHandle<'_>> = vec![stop.event.as_handle()];
            for slot in &self.slots {
                match slot {
                    Slot::Waiting(instance) => events.push(instance.event().as_handle()),
                    Slot::Connected { reader, until, .. } => {
                        events.push(reader.event().as_handle());
                        soonest = soonest.sooner(*until);
                    }
                }
            }
            wait_any(&events, soonest.left())?;
            if until.is_over() && !stop.is_asked() {
                return Ok(Received::Nothing);
            }
        }
    }

    /// Tells the sender that its message was processed.
    pub(in crate::pipecom) fn acknowledge(&mut self, stop: &Stop) {
        let Some(writer) = &mut self.current else {
            return;
        };
        let patience = match stop.is_asked() {
            true => LAST_ACK_TIME,
            false => ACK_TIME,
        };
        let deadline = Deadline::after(Some(patience));
        let written = writer
            .try_write_message(ACK.as_bytes().to_vec())
            .and_then(|()| until(writer, deadline, PipeWriter::event, PipeWriter::try_flush));
        match written {
            Ok(Some(())) => {}
            Ok(None) => tracing::warn!(pipe = %self.pipe, "nobody came for an acknowledgement"),
            Err(error) => {
                tracing::debug!(pipe = %self.pipe, %error, "the sender did not wait for its acknowledgement")
            }
        }
    }

    /// Has enough instances wait; false if the system has no room for that. An error if
    /// the name belongs to somebody else by now.
    fn refill(&mut self) -> io::Result<bool> {
        while self.waiting() < WAITING && self.slots.len() < MOST {
            let made = self.claim.next_instance().map_err(io::Error::from);
            match made.and_then(PipeInstance::new) {
                Ok(instance) => self.slots.push(Slot::Waiting(instance)),
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && self.slots.is_empty() =>
                {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(pipe = %self.pipe, %error, "no further instance of the pipe");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn waiting(&self) -> usize {
        let is_waiting = |slot: &&Slot| matches!(slot, Slot::Waiting(_));
        self.slots.iter().filter(is_waiting).count()
    }

    /// Goes on with each slot as far as that will, until there is a message.
    fn look(&mut self) -> io::Result<Option<String>> {
        let mut found = None;
        for slot in std::mem::take(&mut self.slots) {
            if found.is_some() {
                self.slots.push(slot);
                continue;
            }
            match self.advance(slot)? {
                Looked::Still(slot) => self.slots.push(slot),
                Looked::Message(text, writer) => {
                    self.current = Some(writer);
                    found = Some(text);
                }
                Looked::Gone(slot) => self.gone.push(slot),
            }
        }
        if !self.slots.is_empty() || self.current.is_some() {
            self.gone.clear();
        }
        Ok(found)
    }

    fn advance(&self, slot: Slot) -> io::Result<Looked> {
        let (mut reader, writer, until) = match slot {
            Slot::Connected {
                reader,
                writer,
                until,
            } => (reader, writer, until),
            Slot::Waiting(mut instance) => match instance.try_connect() {
                Ok(()) => {
                    let (reader, writer) = instance.into_halves()?;
                    (reader, writer, Deadline::after(Some(MESSAGE_TIME)))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Looked::Still(Slot::Waiting(instance)));
                }
                Err(error) if accept_error_kind(&error) == AcceptErrorKind::Fatal => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(pipe = %self.pipe, %error, "a sender did not connect");
                    return Ok(Looked::Gone(Slot::Waiting(instance)));
                }
            },
        };
        let read = reader.try_read_message(codec::encoded_max(self.max_message));
        let still = |reader, writer| Slot::Connected {
            reader,
            writer,
            until,
        };
        let message = match read {
            Ok(Some(message)) => message,
            Ok(None) => {
                tracing::debug!(pipe = %self.pipe, "a sender has gone without a message");
                return Ok(Looked::Gone(still(reader, writer)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !until.is_over() => {
                return Ok(Looked::Still(still(reader, writer)));
            }
            Err(error) => {
                tracing::warn!(pipe = %self.pipe, %error, "no message; not acknowledged");
                return Ok(Looked::Gone(still(reader, writer)));
            }
        };
        tracing::trace!(pipe = %self.pipe, bytes = message.len(), "read a message");
        let allowed = client_of(&reader).and_then(|client| self.access.check(&client));
        if let Err(error) = allowed {
            tracing::warn!(pipe = %self.pipe, %error, "a sender was refused");
            return Ok(Looked::Gone(still(reader, writer)));
        }
        match codec::decode(message, self.max_message) {
            Ok(text) => Ok(Looked::Message(text, writer)),
            Err(why) => {
                tracing::warn!(pipe = %self.pipe, %why, "not a message; not acknowledged");
                Ok(Looked::Gone(still(reader, writer)))
            }
        }
    }
}
