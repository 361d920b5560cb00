//! PipeCom's way: messages to a listener by name, each of which is acknowledged once
//! its callback has run. Both sides work with programs that use PipeCom itself.
//!
//! ```
//! use sealpipe_blocking::pipecom::{self, ListenOptions, Listener, Reason, SendOptions};
//! use std::time::Duration;
//!
//! # #[cfg(unix)]
//! # let directory = tempfile::tempdir()?;
//! # #[cfg(unix)]
//! # let own = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
//! # #[cfg(windows)]
//! # let own = |name: &str| format!("{name}-{}", std::process::id());
//! # let (tasks, results) = (own("tasks"), own("results"));
//! // What comes of the tasks is told here.
//! let told = Listener::start(&results, |result| {
//!     println!("result: {result}");
//!     None
//! })?;
//!
//! // The listener, on a thread of its own.
//! let listener = ListenOptions::new()
//!     .idle_timeout(Some(Duration::from_secs(30)))
//!     .response_pipe(&results, SendOptions::new())?
//!     .listen(&tasks, |task| Some(format!("done: {task}")))?;
//!
//! // A sender, in this program or another: it returns when the callback has run.
//! pipecom::send(&tasks, "back up")?;
//!
//! // By the listener's handle, and with options; this message stops it.
//! let options = SendOptions::new()
//!     .timeout(Some(Duration::from_secs(5)))
//!     .attempts(Some(3));
//! options.send(&listener, "PIPECOM_DIE")?;
//! assert_eq!(listener.join()?.reason, Reason::StopMessage);
//! assert_eq!(told.stop()?.messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This is for programs that talk to PipeCom, or come from it. Among programs of
//! sealpipe a [`Connection`](crate::Connection) does more, faster and sealed.
//!
//! # What is promised
//!
//! - [`send`] returns `Ok` only if a listener has acknowledged, and among senders of
//!   this module only if its callback has run for this very message: they take turns,
//!   and none takes what was meant for another, also when that one gave up or was
//!   killed.
//! - Otherwise [`Error::outcome`] says whether the message may have arrived. *Not
//!   sent* is certain: a message that the listener has not read yet is taken back
//!   from a FIFO. Nothing is sent twice, but by the caller.
//! - Nobody waits longer than its time limit, whoever dies at whatever point. A lock
//!   ends with its process, and the next listener takes over what one left behind.
//! - Of two listeners on one name one wins, and the other is told who has it.
//! - What is no message (not base64, no text, too long, without an end) costs a warning
//!   in the log and no more memory than the largest message; it is not acknowledged,
//!   and the listener goes on.
//! - Only programs of the same user get through, unless more is asked for
//!   ([`ListenOptions::access`]).
//!
//! # What cannot be, over FIFOs
//!
//! All acknowledgements of a name come through one FIFO and do not say for which
//! message they are. So a sender of another make, which takes no turns, can take the
//! acknowledgement of another sender, and have its own taken; and two that write at
//! once can mix up what is longer than the system writes in one piece (4 KiB on Linux, as
//! little as 512 bytes elsewhere). Senders of this module can be had beside others only
//! as far as PipeCom's own senders can among each other. One of another make that sends
//! message after message may also open the FIFO of acknowledgements just as it is closed
//! behind its last one: it is told "not acknowledged" then of one that was processed.
//!
//! A listener of another make may close and open its FIFO between messages; then the
//! message waits for it. If it stops for good after it has read a message, that is seen
//! only when time is up. Whether one is there is seen by its reading, and by nothing
//! else.
//!
//! A listener does not notice that somebody removed its FIFOs: it waits on, and senders
//! find nobody. What cleans `/tmp` of old files does that, so choose a place that nobody
//! cleans, such as the user's runtime directory.
//!
//! The signal `SIGPIPE` must be ignored, as Rust programs do unless told otherwise: a
//! peer that goes in the middle would end the program.
//!
//! On Windows each message has a connection of its own, with its answer, and none of
//! this can happen.
//!
//! # On the wire
//!
//! Over FIFOs: the base64 of UTF-8 text and a line feed in `NAME`, and that of `ACK` with
//! a line feed in `NAME_ACK` after it, where `NAME_ACK` is the name with `_ack` behind it;
//! both lie where the name says, relative to the current directory. Beside them lie
//! `NAME.lock`, for as long as a listener lives, and `NAME_ack.lock`, by which senders take
//! turns. (So `NAME` and `NAME_ack` cannot both have listeners.) On Windows: a pipe that keeps messages apart, one message a connection, base64
//! without a line feed, and the three bytes `ACK` for an answer.

mod codec;
mod deadline;
mod error;
mod listener;
mod pipe;
mod sending;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use error::{Code, Error, Outcome};
pub use listener::{End, ListenOptions, Listener, Reason, Stopper};
pub use pipe::{Pipe, Target};
pub use sending::{SendOptions, send};
