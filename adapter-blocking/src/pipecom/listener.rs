//! A listener with a thread of its own.

use std::{io, sync::Arc, thread, time::Duration};

use sealpipe_endpoint::Access;

use super::{
    Error, Outcome, Pipe, SendOptions, Target,
    deadline::Deadline,
    sending::MAX_MESSAGE,
    system::{Port, Stop},
};

/// What is answered to a message that was processed.
pub(super) const ACK: &str = "ACK";

/// What has come of waiting for a message.
pub(super) enum Received {
    /// One that is to be acknowledged.
    Message(String),
    /// None within the time.
    Nothing,
    /// To stop is asked for.
    Stopped,
}

/// How to listen.
///
/// ```no_run
/// use sealpipe_blocking::pipecom::{ListenOptions, SendOptions};
/// use std::time::Duration;
///
/// let listener = ListenOptions::new()
///     .idle_timeout(Some(Duration::from_secs(30)))
///     .max_messages(Some(10))
///     .stop_message(Some("SHUTDOWN"))
///     .response_pipe("results", SendOptions::new())?
///     .listen("tasks", |task| Some(format!("SUCCESS: {task}")))?;
/// println!("{:?}", listener.join()?);
/// # Ok::<(), sealpipe_blocking::pipecom::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ListenOptions {
    pub(super) access: Access,
    pub(super) max_message: usize,
    pub(super) buffer_size: Option<usize>,
    stop_message: Option<String>,
    max_messages: Option<u64>,
    idle_timeout: Option<Duration>,
    response: Option<(Pipe, SendOptions)>,
}

impl ListenOptions {
    /// The defaults: programs of the same user may send, messages of at most 4 MiB,
    /// until `PIPECOM_DIE` comes; what the callback returns goes nowhere.
    pub fn new() -> ListenOptions {
        ListenOptions {
            access: Access::SameUser,
            max_message: MAX_MESSAGE,
            buffer_size: None,
            stop_message: Some("PIPECOM_DIE".to_owned()),
            max_messages: None,
            idle_timeout: None,
            response: None,
        }
    }

    /// Who may send. The same user unless set: the FIFOs then have mode 0600, or the
    /// pipe an access list of that user and the system.
    ///
    /// [`Access::Anyone`] makes that mode 0666, as the original's is: any user of the
    /// machine can then send, but also read the messages of others, and take their
    /// acknowledgements. Users by name work on Windows only, for a FIFO does not tell
    /// who writes.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The most bytes that a message may have. 4 MiB unless set. A larger one is
    /// neither kept nor acknowledged.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes the system is to buffer: of the Windows pipe in each direction
    /// (64 KiB unless set), of the FIFO on Linux. Elsewhere it has no effect.
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = Some(bytes);
        self
    }

    /// The message that stops the listener: it is acknowledged, and the callback
    /// does not see it. `PIPECOM_DIE` unless set; with `None` there is no such
    /// message.
    pub fn stop_message(mut self, text: Option<&str>) -> Self {
        self.stop_message = text.map(str::to_owned);
        self
    }

    /// Stops after so many messages; 0 stops at once. Without end unless set.
    pub fn max_messages(mut self, messages: Option<u64>) -> Self {
        self.max_messages = messages;
        self
    }

    /// Stops when no message has come for so long. Without end unless set.
    pub fn idle_timeout(mut self, idle: Option<Duration>) -> Self {
        self.idle_timeout = idle;
        self
    }

    /// Sends what the callback returns to the listener there, as a message, once the
    /// callback's own message is acknowledged. One that cannot be sent is dropped with
    /// a warning in the log. Meanwhile nothing is received, so the time-out should
    /// suit those who wait.
    ///
    /// # Errors
    /// As [`Pipe::new`].
    pub fn response_pipe(
        mut self,
        to: &(impl Target + ?Sized),
        options: SendOptions,
    ) -> Result<Self, Error> {
        self.response = Some((to.pipe()?, options));
        Ok(self)
    }

    /// Claims the pipe and begins to listen, on a thread of its own. From when this
    /// returns, messages can be sent.
    ///
    /// The callback gets each message and is acknowledged when it returns; what it
    /// returns goes to the [response pipe](Self::response_pipe), if there is one. It runs
    /// on the listener's thread, for one message at a time. A panic in it ends the
    /// listener.
    ///
    /// # Errors
    /// [`Error::InvalidPipe`]; [`Error::Endpoint`] if another program listens there, or
    /// what is there cannot be trusted or taken; [`Error::Io`] if there is no thread, or
    /// anything else that the system reports.
    pub fn listen(
        self,
        at: &(impl Target + ?Sized),
        callback: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Result<Listener, Error> {
        let pipe = at.pipe()?;
        let failed = |doing| {
            let pipe = pipe.to_string();
            move |source: io::Error| Error::Io {
                pipe,
                doing,
                outcome: Outcome::NotSent,
                source,
            }
        };
        let port = Port::open(&pipe, &self)?;
        let stop = Arc::new(Stop::new().map_err(failed("preparing to listen on"))?);
        let run = Run {
            pipe: pipe.clone(),
            port,
            stop: stop.clone(),
            options: self,
            callback,
        };
        let thread = thread::Builder::new()
            .name("pipecom".into())
            .spawn(|| run.run())
            .map_err(failed("starting a thread to listen on"))?;
        Ok(Listener {
            pipe,
            stopper: Stopper(stop),
            thread,
        })
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

/// A listener that runs on a thread of its own.
///
/// Dropped, it is left to run until something stops it or the program ends; what
/// then stays behind of a FIFO is no obstacle to the next listener. To keep the
/// program until the listener stops, [`join`](Self::join) it.
#[derive(Debug)]
pub struct Listener {
    pipe: Pipe,
    stopper: Stopper,
    thread: thread::JoinHandle<Result<End, Error>>,
}

impl Listener {
    /// Listens with the defaults of [`ListenOptions`].
    ///
    /// # Errors
    /// As [`ListenOptions::listen`].
    pub fn start(
        at: &(impl Target + ?Sized),
        callback: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Result<Listener, Error> {
        ListenOptions::new().listen(at, callback)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Pipe {
        &self.pipe
    }

    /// Whether it has not stopped yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits until it stops, and gives its pipe back. Not from its callback, which
    /// would wait for itself.
    ///
    /// # Errors
    /// [`Error::Panicked`] if the callback did; [`Error::Io`] if listening became
    /// impossible.
    pub fn join(self) -> Result<End, Error> {
        match self.thread.join() {
            Ok(end) => end,
            Err(_) => Err(Error::Panicked {
                pipe: self.pipe.to_string(),
            }),
        }
    }

    /// Stops it from any thread, also when this handle is gone.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops it and waits for that, as [`join`](Self::join). The callback that runs is
    /// waited for, and its message acknowledged.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn stop(self) -> Result<End, Error> {
        self.stopper.stop();
        self.join()
    }
}

/// Stops a [`Listener`].
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Stop>);

impl Stopper {
    /// Has the listener stop, after the message that it is at. What was sent and not
    /// read by then is not acknowledged.
    pub fn stop(&self) {
        self.0.ask();
    }
}

/// How a listener has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// What stopped it.
    pub reason: Reason,
    /// How many messages its callback has seen.
    pub messages: u64,
}

/// What stopped a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The stop message came.
    StopMessage,
    /// As many messages came as it was to take.
    MaxMessages,
    /// Nothing came for as long as that was allowed.
    Idle,
    /// This program asked for it.
    Asked,
}

struct Run<F> {
    pipe: Pipe,
    port: Port,
    stop: Arc<Stop>,
    options: ListenOptions,
    callback: F,
}

impl<F: FnMut(&str) -> Option<String>> Run<F> {
    fn run(mut self) -> Result<End, Error> {
        let mut messages = 0;
        let result = self.serve(&mut messages);
        match &result {
            Ok(reason) => {
                tracing::debug!(pipe = %self.pipe, ?reason, messages, "stopped listening")
            }
            Err(error) => tracing::error!(pipe = %self.pipe, %error, "cannot listen any more"),
        }
        match result {
            Ok(reason) => Ok(End { reason, messages }),
            Err(source) => Err(Error::Io {
                pipe: self.pipe.to_string(),
                doing: "listening on",
                outcome: Outcome::NotSent,
                source,
            }),
        }
    }

    fn serve(&mut self, messages: &mut u64) -> io::Result<Reason> {
        let options = &self.options;
        loop {
            if options.max_messages.is_some_and(|most| *messages >= most) {
                return Ok(Reason::MaxMessages);
            }
            let until = Deadline::after(options.idle_timeout);
            let text = match self.port.receive(until, &self.stop)? {
                Received::Message(text) => text,
                Received::Nothing => return Ok(Reason::Idle),
                Received::Stopped => return Ok(Reason::Asked),
            };
            if options.stop_message.as_ref() == Some(&text) {
                self.port.acknowledge(&self.stop);
                return Ok(Reason::StopMessage);
            }
            let result = (self.callback)(&text);
            *messages += 1;
            self.port.acknowledge(&self.stop);
            if let (Some(result), Some((pipe, sending))) = (result, &options.response)
                && let Err(error) = sending.send(pipe, &result)
            {
                tracing::warn!(pipe = %self.pipe, %error, "a response was not delivered");
            }
        }
    }
}
