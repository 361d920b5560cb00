//! A process manager: `pmd` starts and supervises programs, `pm` tells it to, and
//! shows what they print. This is what the two share.
//!
//! ```sh
//! cargo build -p sealpipe-process-manager
//! target/debug/pmd &
//! target/debug/pm start counter target/debug/worker 100
//! target/debug/pm logs counter
//! ```

use sealpipe_tokio::Endpoint;
use serde::{Deserialize, Serialize};
use std::{env, error::Error, fmt, time::Duration};

/// How long the daemon may take for an answer, and for stopping.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The changes of all processes, as topics. Those of one, and its lines, are
/// [`topics_of`] it.
pub const CHANGES: &str = "*/state";

/// What the daemon can be asked, as a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// Runs a program; answered by its [`Process`].
    Start {
        /// What it is to be called: one segment of a topic.
        name: String,
        /// The program.
        program: String,
        /// What it is given.
        arguments: Vec<String>,
    },
    /// Ends a program; answered by its [`Process`].
    Stop {
        /// Its name.
        name: String,
    },
    /// Answered by its [`Process`].
    Status {
        /// Its name.
        name: String,
    },
    /// Answered by all [`Process`]es.
    List,
    /// Answered by its [`Process`] and the last [`Line`]s of its output.
    Logs {
        /// Its name.
        name: String,
    },
    /// Ends all programs and the daemon; answered by nothing.
    Shutdown,
}

/// What the daemon publishes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Happened {
    /// On the topic `NAME/state`.
    Changed(Process),
    /// On the topic `NAME/log`.
    Printed(Line),
}

/// A program that was started, and may have ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// What has become of it.
    pub state: State,
    /// How often it has failed and was started again.
    pub restarts: u32,
}

/// What has become of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It runs.
    Running {
        /// The system's number of it.
        pid: u32,
    },
    /// It has failed, and is started again in a moment.
    Waiting,
    /// It has ended as a program should.
    Ended,
    /// It was told to.
    Stopped,
    /// It has failed too often; so it ended the last time.
    Failed(String),
}

impl Process {
    /// Whether more is to come.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Waiting)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.state {
            State::Running { pid } => write!(f, "running as {pid}"),
            State::Waiting => f.write_str("waiting to be started again"),
            State::Ended => f.write_str("ended"),
            State::Stopped => f.write_str("stopped"),
            State::Failed(how) => write!(f, "failed after {} restarts: {how}", self.restarts),
        }
    }
}

/// A line that a program printed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// From 0.
    pub number: u64,
    /// Without its end.
    pub text: String,
}

/// Everything that happens to one process.
pub fn topics_of(name: &str) -> String {
    format!("{name}/*")
}

/// Where the daemon listens: what the environment variable `PM_PLACE` says, or a name.
///
/// # Errors
/// If it is no endpoint.
pub fn place() -> Result<Endpoint, Box<dyn Error>> {
    let place = env::var("PM_PLACE");
    Ok(place
        .as_deref()
        .unwrap_or("sealpipe-process-manager")
        .parse()?)
}
