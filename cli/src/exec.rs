//! The command that `listen --exec` runs for each message.

use std::{
    io,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::Semaphore,
};

/// So many run at once; the others wait.
const COMMANDS: usize = 16;

/// From here on rejections and errors have codes of the program's own.
const STATUS: u64 = 256;

#[derive(Debug)]
pub(crate) struct Exec {
    command: String,
    max_output: usize,
    turns: Semaphore,
}

/// The command did not accept the message.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u64,
    pub(crate) reason: String,
    /// What it printed.
    pub(crate) output: Vec<u8>,
}

impl Exec {
    pub(crate) fn new(command: String, max_output: usize) -> Exec {
        Exec {
            command,
            max_output,
            turns: Semaphore::new(COMMANDS),
        }
    }

    /// Runs it with `input`; returns what it printed. Dropped, it ends the command.
    pub(crate) async fn run(&self, input: &[u8]) -> Result<Vec<u8>, Refused> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let (output, status) = self.converse(input).await.map_err(|error| Refused {
            code: sealpipe_driver::vocabulary::Rejection::UNSPECIFIED,
            reason: format!("the command cannot be run: {error}"),
            output: Vec::new(),
        })?;
        if status.success() {
            return Ok(output);
        }
        // A code that is none was a signal; the text says which.
        let code = status.code().and_then(|code| u64::try_from(code).ok());
        Err(Refused {
            code: STATUS.saturating_add(code.unwrap_or(0)),
            reason: format!("the command ended with {status}"),
            output,
        })
    }

    async fn converse(&self, input: &[u8]) -> io::Result<(Vec<u8>, ExitStatus)> {
        let mut child = shell(&self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // It need not read everything.
                let _ = stdin.write_all(input).await;
            }
        };
        let read = async {
            let mut output = Vec::new();
            if let Some(stdout) = stdout {
                let max = self.max_output as u64;
                stdout.take(max + 1).read_to_end(&mut output).await?;
                if output.len() > self.max_output {
                    let why = format!("it prints more than {max} bytes; raise --max-message");
                    return Err(io::Error::other(why));
                }
            }
            Ok(output)
        };
        let ((), output) = tokio::join!(write, read);
        Ok((output?, child.wait().await?))
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

#[cfg(windows)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // As it is: cmd has rules of its own for quotes, and takes these two away.
    shell.raw_arg(format!("/S /C \"{command}\""));
    shell
}
