//! Sending a message, and knowing what became of it.

use std::time::Duration;

use sealpipe_endpoint::{Access, Backoff, Error as EndpointError};

use super::{
    Error, Outcome, Pipe, Target, codec,
    deadline::{Deadline, seed},
    system,
};

/// The most that a message may have unless set: 4 MiB.
pub(super) const MAX_MESSAGE: usize = 4 << 20;

/// Sends a message and returns once the listener's callback has run and it has
/// acknowledged that, with the defaults of [`SendOptions`].
///
/// # Errors
/// As [`SendOptions::send`].
pub fn send(to: &(impl Target + ?Sized), text: &str) -> Result<(), Error> {
    SendOptions::new().send(to, text)
}

/// How to send.
///
/// ```no_run
/// use sealpipe_blocking::pipecom::{Outcome, SendOptions};
/// use std::time::Duration;
///
/// let options = SendOptions::new()
///     .timeout(Some(Duration::from_secs(5)))
///     .attempts(Some(3));
/// match options.send("my_pipe", "Hello, World!") {
///     Ok(()) => println!("processed"),
///     Err(error) if error.outcome() == Outcome::NotSent => println!("again later: {error}"),
///     Err(error) => println!("{}: {error}", error.code()),
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SendOptions {
    timeout: Option<Duration>,
    attempts: Option<u32>,
    listener: Access,
    max_message: usize,
}

impl SendOptions {
    /// The defaults: 30 s in all, as many attempts as that allows, a listener of the
    /// same user, at most 4 MiB.
    pub fn new() -> SendOptions {
        SendOptions {
            timeout: Some(Duration::from_secs(30)),
            attempts: None,
            listener: Access::SameUser,
            max_message: MAX_MESSAGE,
        }
    }

    /// How long it may take in all, from finding the listener to its
    /// acknowledgement; `None` for as long as it takes.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often to look for a listener that is not there, with growing pauses of up
    /// to 100 ms; `None` for as often as time allows, and 0 is taken as 1. One that
    /// is there and busy is waited for in any case.
    pub fn attempts(mut self, attempts: Option<u32>) -> Self {
        self.attempts = attempts;
        self
    }

    /// Whose listener is acceptable. The same user's unless set. It is told by the
    /// owner of the FIFOs or of the pipe.
    pub fn listener(mut self, access: Access) -> Self {
        self.listener = access;
        self
    }

    /// The most bytes that a message may have. 4 MiB unless set.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sends a message and returns once the listener's callback has run and it has
    /// acknowledged that.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there was no listener in so many attempts;
    /// [`Error::Timeout`]; [`Error::NotAcknowledged`] if the listener ended in the
    /// middle, or could not read the message; [`Error::TooLarge`] and
    /// [`Error::InvalidPipe`] before anything is done; [`Error::Endpoint`] if what is
    /// there cannot be trusted or opened; [`Error::Io`] for anything else.
    /// [`Error::outcome`] says of each whether the message may have arrived.
    pub fn send(&self, to: &(impl Target + ?Sized), text: &str) -> Result<(), Error> {
        let pipe = to.pipe()?;
        if text.len() > self.max_message {
            return Err(Error::TooLarge {
                pipe: pipe.to_string(),
                length: text.len(),
                max: self.max_message,
            });
        }
        let task = Task {
            message: codec::encode(text),
            listener: &self.listener,
            limit: self.timeout.unwrap_or(Duration::MAX),
            deadline: Deadline::after(self.timeout),
            pipe,
        };
        let mut backoff = Backoff::new(seed());
        let mut attempts = 0_u32;
        loop {
            let last = match system::attempt(&task) {
                Ok(()) => {
                    tracing::debug!(pipe = %task.pipe, "acknowledged");
                    return Ok(());
                }
                Err(Failed::NotThere(last)) => last,
                Err(Failed::For(error)) => return Err(error),
            };
            attempts = attempts.saturating_add(1);
            if self.attempts.is_some_and(|most| attempts >= most) {
                return Err(Error::Unreachable {
                    pipe: task.pipe.to_string(),
                    attempts,
                    last,
                });
            }
            if task.deadline.is_over() {
                let mut error = task.timeout("waiting for a listener on", Outcome::NotSent);
                if let Error::Timeout { last: met, .. } = &mut error {
                    *met = Some(last);
                }
                return Err(error);
            }
            tracing::trace!(pipe = %task.pipe, error = %last, "looking for a listener again");
            task.deadline.pause(&mut backoff);
        }
    }
}

impl Default for SendOptions {
    fn default() -> SendOptions {
        SendOptions::new()
    }
}

/// One message to be sent.
pub(super) struct Task<'a> {
    pub(super) pipe: Pipe,
    /// As it is on the wire, but for a line feed.
    pub(super) message: Vec<u8>,
    pub(super) listener: &'a Access,
    pub(super) deadline: Deadline,
    limit: Duration,
}

impl Task<'_> {
    pub(super) fn timeout(&self, doing: &'static str, outcome: Outcome) -> Error {
        Error::Timeout {
            pipe: self.pipe.to_string(),
            doing,
            limit: self.limit,
            outcome,
            last: None,
        }
    }

    pub(super) fn not_acknowledged(&self, reason: &'static str) -> Error {
        Error::NotAcknowledged {
            pipe: self.pipe.to_string(),
            reason,
        }
    }

    pub(super) fn io(
        &self,
        doing: &'static str,
        outcome: Outcome,
        source: impl Into<std::io::Error>,
    ) -> Error {
        Error::Io {
            pipe: self.pipe.to_string(),
            doing,
            outcome,
            source: source.into(),
        }
    }
}

/// Why an attempt did not end in an acknowledgement.
pub(super) enum Failed {
    /// There is no listener, and nothing was sent: another attempt may find one.
    NotThere(Box<EndpointError>),
    /// Another attempt would not help, or would send the message twice.
    For(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::For(error)
    }
}

/// Of an endpoint that could not be opened, before anything was sent.
impl From<EndpointError> for Failed {
    fn from(error: EndpointError) -> Failed {
        match error.is_retryable(true) {
            true => Failed::NotThere(Box::new(error)),
            false => Failed::For(error.into()),
        }
    }
}
