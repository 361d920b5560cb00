//! The sender's side of two FIFOs.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use sealpipe_endpoint::{Backoff, Error as EndpointError, Fifo, FifoPair, Turn};

use super::{LINE_FEED, Read, read, wait, wait_to_read};
use crate::pipecom::{
    Outcome, codec,
    deadline::seed,
    listener::ACK,
    sending::{Failed, Task},
};

/// More than an acknowledgement has.
const ANSWER: usize = 64;

/// One attempt to have a message acknowledged.
pub(in crate::pipecom) fn attempt(task: &Task<'_>) -> Result<(), Failed> {
    let pair = FifoPair::at(&task.pipe.0.0)?;
    // Before a turn is taken, which would leave its trace where nothing is.
    pair.look(task.listener)?;
    let mut line = task.message.clone();
    line.push(LINE_FEED);
    let attempt = Attempt {
        task,
        pair: &pair,
        line,
    };
    let _turn = attempt.turn()?;
    let (messages, acks) = attempt.quiet()?;
    attempt.write(&messages)?;
    attempt.acknowledged(messages, &acks)
}

struct Attempt<'a> {
    task: &'a Task<'a>,
    pair: &'a FifoPair,
    line: Vec<u8>,
}

impl<'a> Attempt<'a> {
    /// Waits for this sender's turn, among those who know of turns.
    fn turn(&self) -> Result<Turn<'a>, Failed> {
        let mut backoff = between_senders();
        loop {
            if let Some(turn) = self.pair.take_turn()? {
                return Ok(turn);
            }
            let doing = "waiting for the turn to send to";
            self.pause(doing, &mut backoff)?;
        }
    }

    /// Waits until nothing is under way (see the module), and gives the FIFO of
    /// messages for writing and that of acknowledgements for reading.
    fn quiet(&self) -> Result<(OwnedFd, OwnedFd), Failed> {
        let owner = self.task.listener;
        let doing = "waiting for the listener to be done with an earlier message on";
        let mut backoff = between_senders();
        loop {
            let messages = self.pair.open_writer(Fifo::Message, owner)?;
            if self.unread(&messages)? > 0 {
                // Not held open, for the listener may wait for this very end.
                drop(messages);
                self.pause(doing, &mut backoff)?;
                continue;
            }
            let acks = self.pair.open_reader(Fifo::Ack, owner)?;
            match self.read(&acks, &mut [0; ANSWER], Outcome::NotSent)? {
                Read::End => {
                    drop(acks);
                    // Anew, for one that has seen a writer go tells its end for ever.
                    return Ok((messages, self.pair.open_reader(Fifo::Ack, owner)?));
                }
                Read::Bytes(_) => {
                    tracing::debug!("an acknowledgement for nobody was dropped");
                    // There may be ever more.
                    drop(messages);
                    self.pause(doing, &mut backoff)?;
                }
                Read::Nothing => {
                    drop(messages);
                    let waited = wait_to_read(&acks, self.task.deadline);
                    if !waited.map_err(|error| self.io(Outcome::NotSent, error))? {
                        return Err(self.task.timeout(doing, Outcome::NotSent).into());
                    }
                }
            }
        }
    }

    fn write(&self, messages: &OwnedFd) -> Result<(), Failed> {
        // Whatever goes wrong here, the end of the line has not gone out.
        let mut rest = self.line.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(messages, rest) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut descriptors = [PollFd::new(messages, PollFlags::OUT)];
                    let waited = wait(&mut descriptors, self.task.deadline);
                    if !waited.map_err(|error| self.io(Outcome::NotSent, error))? {
                        let doing = "waiting for the listener to read from";
                        return Err(self.task.timeout(doing, Outcome::NotSent).into());
                    }
                }
                Err(Errno::PIPE) => return Err(self.gone()),
                Err(errno) => return Err(self.io(Outcome::NotSent, errno).into()),
            }
        }
        tracing::trace!(bytes = self.line.len(), "wrote to a FIFO");
        Ok(())
    }

    /// Waits for the acknowledgement. Until the listener has read the message, the
    /// FIFO is held open: one that closes and opens it between messages would lose
    /// what is in it.
    fn acknowledged(&self, messages: OwnedFd, acks: &OwnedFd) -> Result<(), Failed> {
        let mut backoff =
            Backoff::between(Duration::from_millis(1), Duration::from_millis(50), seed());
        let mut messages = Some(messages);
        let mut answer = Vec::new();
        loop {
            let until = match messages {
                Some(_) => self.task.deadline.or_after(backoff.next_delay()),
                None => self.task.deadline,
            };
            let ready =
                wait_to_read(acks, until).map_err(|error| self.io(Outcome::Unknown, error))?;
            if ready && self.has_come(acks, &mut answer)? {
                return Ok(());
            }
            if let Some(fifo) = &messages {
                match self.unread(fifo) {
                    Ok(0) => messages = None,
                    Ok(_) if is_unread_for_ever(fifo) && self.is_ours_again(fifo) => {
                        return Err(self.gone());
                    }
                    Ok(_) => {}
                    // Only where one has to open it to know.
                    Err(Failed::NotThere(_)) => {
                        let reason = "it removed the FIFO instead, for it ended";
                        return Err(self.task.not_acknowledged(reason).into());
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.task.deadline.is_over() {
                let is_ours = messages.is_some_and(|fifo| self.is_ours_again(&fifo));
                let outcome = match is_ours {
                    true => Outcome::NotSent,
                    false => Outcome::Unknown,
                };
                let doing = "waiting for the acknowledgement from";
                return Err(self.task.timeout(doing, outcome).into());
            }
        }
    }

    /// Reads what there is of the acknowledgement.
    fn has_come(&self, acks: &OwnedFd, answer: &mut Vec<u8>) -> Result<bool, Failed> {
        let mut buffer = [0; ANSWER];
        match self.read(acks, &mut buffer, Outcome::Unknown)? {
            Read::Nothing => return Ok(false),
            Read::End => {
                let reason =
                    "it closed the FIFO instead, for it ended or could not read the message";
                return Err(self.task.not_acknowledged(reason).into());
            }
            Read::Bytes(length) => {
                answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
        }
        let Some(end) = answer.iter().position(|byte| *byte == LINE_FEED) else {
            if answer.len() > ANSWER {
                return Err(self.strange());
            }
            return Ok(false);
        };
        match answer.get(..end) == Some(codec::encode(ACK).as_slice()) {
            true => Ok(true),
            false => Err(self.strange()),
        }
    }

    fn strange(&self) -> Failed {
        let reason = "what it answered is no acknowledgement";
        self.task.not_acknowledged(reason).into()
    }

    /// Whether nobody will ever read the message to its end.
    fn is_ours_again(&self, messages: &OwnedFd) -> bool {
        match rustix::fs::fstat(messages).is_ok_and(|fifo| fifo.st_nlink == 0) {
            // A listener that ended has removed it. Without a name nobody opens it any
            // more, and once nobody reads, what is in it goes with our descriptor. In
            // this order.
            true => is_unread_for_ever(messages) && matches!(self.unread(messages), Ok(1..)),
            false => self.take_back(),
        }
    }

    /// Takes the message back that nobody has read; false if it is not there whole.
    fn take_back(&self) -> bool {
        let Ok(fifo) = self.pair.open_reader(Fifo::Message, self.task.listener) else {
            return false;
        };
        if rustix::io::ioctl_fionread(&fifo).ok() != u64::try_from(self.line.len()).ok() {
            return false;
        }
        let mut taken = vec![0; self.line.len()];
        let mut length = 0;
        while let Some(rest) = taken.get_mut(length..)
            && let Ok(Read::Bytes(more)) = read(&fifo, rest)
        {
            length += more;
            if length == self.line.len() {
                break;
            }
        }
        tracing::debug!(bytes = length, "took back a message that nobody has read");
        taken == self.line
    }

    /// Bytes in the FIFO that nobody has read yet.
    fn unread(&self, messages: &OwnedFd) -> Result<u64, Failed> {
        // Only Linux tells it at the writing end.
        let told = if cfg!(any(target_os = "linux", target_os = "android")) {
            rustix::io::ioctl_fionread(messages)
        } else {
            let reader = self.pair.open_reader(Fifo::Message, self.task.listener)?;
            rustix::io::ioctl_fionread(&reader)
        };
        told.map_err(|errno| self.io(Outcome::Unknown, errno).into())
    }

    fn read(&self, acks: &OwnedFd, buffer: &mut [u8], outcome: Outcome) -> Result<Read, Failed> {
        read(acks, buffer).map_err(|error| self.io(outcome, error).into())
    }

    fn pause(&self, doing: &'static str, backoff: &mut Backoff) -> Result<(), Failed> {
        if self.task.deadline.is_over() {
            return Err(self.task.timeout(doing, Outcome::NotSent).into());
        }
        self.task.deadline.pause(backoff);
        Ok(())
    }

    fn gone(&self) -> Failed {
        EndpointError::Refused {
            address: self.pair.address(Fifo::Message),
        }
        .into()
    }

    fn io(&self, outcome: Outcome, error: impl Into<io::Error>) -> crate::pipecom::Error {
        self.task.io("sending over", outcome, error)
    }
}

/// Whether nobody has it open for reading any more.
fn is_unread_for_ever(messages: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(messages, PollFlags::empty())];
    matches!(
        rustix::event::poll(&mut descriptors, Some(&Default::default())),
        Ok(1) if descriptors[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    )
}

/// Between tries where others are done in a fraction of a millisecond.
fn between_senders() -> Backoff {
    Backoff::between(Duration::from_micros(20), Duration::from_millis(2), seed())
}
