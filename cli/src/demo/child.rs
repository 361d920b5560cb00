//! The other process, as seen from the one that started it.

use super::place::Place;
use crate::{
    args::Runtime,
    exit::{Code, Failure},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, Command, Stdio},
    time::Duration,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// How long it may take to end when it was asked to.
const ENDING: Duration = Duration::from_secs(2);

/// What arrived over one connection, as the receiving process saw it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lengths: u64,
    /// Those whose content was not what it should be.
    pub(super) changed: u64,
    /// Those whose number was not the next.
    pub(super) misplaced: u64,
}

/// Killed and reaped when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    orders: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<String>,
}

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::Local,
        format!("the listening process of the demonstration {what}; try again with -v"),
    )
}

impl Child {
    pub(super) fn start(runtime: Runtime, verbose: u8) -> Result<Child, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| failed(format_args!("cannot be found: {error}")))?;
        let mut process = Command::new(program)
            .args(["demo-listener", "--runtime", runtime.name()])
            .args((0..verbose).map(|_| "-v"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format_args!("cannot be started: {error}")))?;
        let orders = process.stdin.take();
        let output = process.stdout.take();
        let (sender, lines) = mpsc::unbounded_channel();
        // From here on it is reaped whatever happens.
        let child = Child {
            process,
            orders,
            lines,
        };
        let output = output.ok_or_else(|| failed("has no output"))?;
        std::thread::Builder::new()
            .name("listener".into())
            .spawn(move || {
                for line in BufReader::new(output).lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| failed(format_args!("cannot be listened to: {error}")))?;
        Ok(child)
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Tells it where to listen and with which key. Returns its addresses, once
    /// it listens.
    pub(super) async fn order(
        &mut self,
        place: &Place,
        key: &[u8; 32],
    ) -> Result<[String; 2], Failure> {
        // The key on a line of its own, in memory that is wiped; with room for all
        // of it at once.
        let mut line = Zeroizing::new(String::with_capacity(65));
        for byte in key {
            // Writing to a string does not fail.
            let _ = write!(line, "{byte:02x}");
        }
        line.push('\n');
        let endpoints = json!([place.plain.to_string(), place.sealed.to_string()]);
        let orders = self.orders.as_mut().ok_or_else(|| failed("has ended"))?;
        orders
            .write_all(line.as_bytes())
            .and_then(|()| writeln!(orders, "{endpoints}"))
            .and_then(|()| orders.flush())
            .map_err(|error| failed(format_args!("did not take its orders: {error}")))?;
        let answer = self.line().await?;
        match (answer[0].as_str(), answer[1].as_str()) {
            (Some(plain), Some(sealed)) => Ok([plain.to_owned(), sealed.to_owned()]),
            _ => Err(failed("gave no addresses")),
        }
    }

    /// What arrived over the connection that has just ended.
    pub(super) async fn report(&mut self) -> Result<Report, Failure> {
        let line = self.line().await?;
        let field = |name: &str| {
            line[name]
                .as_u64()
                .ok_or_else(|| failed(format_args!("reported no {name}")))
        };
        Ok(Report {
            messages: field("messages")?,
            bytes: field("bytes")?,
            lengths: field("lengths")?,
            changed: field("changed")?,
            misplaced: field("misplaced")?,
        })
    }

    async fn line(&mut self) -> Result<Value, Failure> {
        let line = self.lines.recv().await.ok_or_else(|| failed("has ended"))?;
        serde_json::from_str(&line).map_err(|_| failed("reported what is no report"))
    }

    /// Lets it end by itself, if it does so soon.
    pub(super) async fn end(mut self) {
        self.orders = None;
        let ended = async { while self.lines.recv().await.is_some() {} };
        // Its output ends with it; if not, it is killed.
        let _ = tokio::time::timeout(ENDING, ended).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.orders = None;
        // An error means that it has ended.
        let _ = self.process.kill();
        if let Err(error) = self.process.wait() {
            tracing::warn!(%error, "the listening process could not be reaped");
        }
    }
}
