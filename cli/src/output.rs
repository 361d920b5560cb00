//! Messages on stdout, a line each.
//!
//! One thread writes for all connections, so that lines stay whole, a reader that
//! stalls holds up no runtime, and lines that come together go out in one write.

use crate::{
    exit::{Code, Failure},
    text,
};
use base64::Engine;
use sealpipe_driver::{Runtime, Verdict, vocabulary::Rejection};
use std::{
    fmt::{self, Display, Write as _},
    io::{self, ErrorKind, Write},
};
use tokio::sync::{mpsc, oneshot};

/// Lines that wait for the writer.
const WAITING: usize = 1024;
/// So much goes into one write.
const BATCH: usize = 64 << 10;

/// Why nothing more will be printed.
#[derive(Debug)]
pub(crate) enum End {
    /// As many lines as were wanted have been.
    Count,
    /// Nobody reads stdout any more.
    Closed,
    /// Writing failed.
    Failed(io::Error),
}

impl End {
    /// What that makes of the program's end.
    pub(crate) fn result(self) -> Result<(), Failure> {
        match self {
            End::Count | End::Closed => Ok(()),
            End::Failed(error) => Err(Failure::new(
                Code::Local,
                format!("writing to stdout failed: {error}; nothing more was accepted"),
            )),
        }
    }
}

/// A line to print, and what waits for it.
struct Line<R: Runtime> {
    /// With its line feed; empty to wait for those before it.
    text: String,
    verdict: Option<Verdict<R>>,
    printed: Option<oneshot::Sender<()>>,
}

/// Where lines are given in.
#[derive(Debug, Clone)]
pub(crate) struct Output<R: Runtime> {
    lines: mpsc::Sender<Line<R>>,
}

impl<R: Runtime> Output<R> {
    /// Starts the writer. What comes second tells the end, once: `count` lines
    /// were written, or no more can be.
    pub(crate) fn start(
        count: Option<u64>,
    ) -> Result<(Output<R>, oneshot::Receiver<End>), Failure> {
        let (lines, queue) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let writer = Writer {
            out: io::stdout(),
            left: count,
            end: Some(end),
        };
        std::thread::Builder::new()
            .name("stdout".into())
            .spawn(move || writer.run(queue))
            .map_err(|error| {
                Failure::new(
                    Code::Local,
                    format!("cannot start a thread: {error}; end other programs"),
                )
            })?;
        Ok((Output { lines }, ended))
    }

    /// Prints a line; its message, if there is a verdict to give on one, is accepted
    /// when it was flushed, and rejected if it could not be.
    pub(crate) async fn print(&self, text: String, verdict: Option<Verdict<R>>) {
        self.hand_over(text, verdict, None).await;
    }

    /// Returns when all lines that were given in are written, or cannot be.
    pub(crate) async fn flushed(&self) {
        let (printed, wait) = oneshot::channel();
        self.hand_over(String::new(), None, Some(printed)).await;
        // An error means that there is no writer any more.
        let _ = wait.await;
    }

    async fn hand_over(
        &self,
        text: String,
        verdict: Option<Verdict<R>>,
        printed: Option<oneshot::Sender<()>>,
    ) {
        let line = Line {
            text,
            verdict,
            printed,
        };
        // The writer outlives every `Output`.
        let _ = self.lines.send(line).await;
    }
}

struct Writer<W> {
    out: W,
    left: Option<u64>,
    end: Option<oneshot::Sender<End>>,
}

impl<W: Write> Writer<W> {
    fn run<R: Runtime>(mut self, mut queue: mpsc::Receiver<Line<R>>) {
        let mut batch = String::new();
        let mut waiting = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let (mut next, mut left) = (Some(first), self.left);
            while let Some(line) = next.take() {
                batch.push_str(&line.text);
                if !line.text.is_empty() {
                    left = left.map(|left| left.saturating_sub(1));
                }
                waiting.push(line);
                // No more lines than were asked for.
                if batch.len() < BATCH && left != Some(0) {
                    next = queue.try_recv().ok();
                }
            }
            self.write(&batch);
            batch.clear();
            batch.shrink_to(BATCH);
            self.settle(&mut waiting);
        }
    }

    fn write(&mut self, batch: &str) {
        if batch.is_empty() || self.end.is_none() {
            return;
        }
        let written = self.out.write_all(batch.as_bytes());
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.finish(End::Closed),
            Err(error) => self.finish(End::Failed(error)),
        }
    }

    /// The lines are out, or lost.
    fn settle<R: Runtime>(&mut self, lines: &mut Vec<Line<R>>) {
        let works = self.end.is_some();
        for line in lines.drain(..) {
            match line.verdict {
                Some(verdict) if works => verdict.accept(),
                Some(verdict) => verdict.reject(Rejection::new(
                    Rejection::UNSPECIFIED,
                    "the receiver's output is closed; it was not printed",
                )),
                None => {}
            }
            if !line.text.is_empty()
                && let Some(left) = &mut self.left
            {
                *left = left.saturating_sub(1);
            }
            if let Some(printed) = line.printed {
                // Whoever waited may have gone.
                let _ = printed.send(());
            }
        }
        if works && self.left == Some(0) {
            self.finish(End::Count);
        }
    }

    fn finish(&mut self, end: End) {
        if let Some(tell) = self.end.take() {
            let _ = tell.send(end);
        }
    }
}

/// Writes to stdout where nothing else waits; if nobody reads that any more, ends
/// quietly.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::silent(Code::Local),
            _ => Failure::new(
                Code::Local,
                format!("writing to stdout failed: {error}; look whether there is room"),
            ),
        })
}

/// How a message looks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    /// Escaped text.
    Text,
    /// An object of JSON.
    Json,
}

impl Format {
    pub(crate) fn new(json: bool) -> Format {
        if json { Format::Json } else { Format::Text }
    }

    /// The line for a message, with its line feed.
    pub(crate) fn line(self, connection: impl Display, sequence: u64, payload: &[u8]) -> String {
        match self {
            Format::Text => text_line(String::new(), payload),
            Format::Json => json_line(
                format_args!(r#""connection":{connection},"sequence":{sequence}"#),
                payload,
            ),
        }
    }

    /// The line for an event, with its line feed.
    pub(crate) fn event(self, topic: &str, missed: u64, payload: &[u8]) -> String {
        match self {
            Format::Text => {
                let mut line = String::new();
                text::escape_into(&mut line, topic.as_bytes());
                // The first space is the one behind it.
                text_line(line.replace(' ', "\\x20") + " ", payload)
            }
            Format::Json => {
                let topic = serde_json::Value::from(topic);
                json_line(
                    format_args!(r#""topic":{topic},"missed":{missed}"#),
                    payload,
                )
            }
        }
    }
}

fn text_line(mut line: String, payload: &[u8]) -> String {
    line.reserve(payload.len() + 1);
    text::escape_into(&mut line, payload);
    line.push('\n');
    line
}

fn json_line(head: fmt::Arguments<'_>, payload: &[u8]) -> String {
    let mut line = String::with_capacity(payload.len() + 64);
    // Writing to a string does not fail.
    let _ = write!(line, r#"{{{head},"length":{},"#, payload.len());
    match std::str::from_utf8(payload) {
        Ok(text) => {
            let _ = write!(line, r#""text":{}}}"#, serde_json::Value::from(text));
        }
        Err(_) => {
            line.push_str(r#""base64":""#);
            base64::prelude::BASE64_STANDARD.encode_string(payload, &mut line);
            line.push_str("\"}");
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpipe_tokio::Tokio;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Format::Text.line(1, 0, b"a\nb"), "a\\nb\n");
        assert_eq!(Format::Text.line(1, 0, b""), "\n");
        assert_eq!(
            Format::Json.line(2, 7, b"a\n\"b\""),
            "{\"connection\":2,\"sequence\":7,\"length\":5,\"text\":\"a\\n\\\"b\\\"\"}\n"
        );
        assert_eq!(
            Format::Json.line(1, 0, &[0xff, 0]),
            "{\"connection\":1,\"sequence\":0,\"length\":2,\"base64\":\"/wA=\"}\n"
        );
    }

    #[test]
    fn an_event_is_one_line_that_begins_with_its_topic() {
        assert_eq!(
            Format::Text.event("a b/c\n", 0, b"d e"),
            "a\\x20b/c\\n d e\n"
        );
        assert_eq!(
            Format::Json.event("a\"", 3, b"d"),
            "{\"topic\":\"a\\\"\",\"missed\":3,\"length\":1,\"text\":\"d\"}\n"
        );
    }

    /// A queue in which these wait, and to which no more will come.
    fn lines(texts: &[&str]) -> mpsc::Receiver<Line<Tokio>> {
        let (sender, queue) = mpsc::channel(8);
        for text in texts {
            let line = Line {
                text: (*text).to_owned(),
                verdict: None,
                printed: None,
            };
            assert!(sender.try_send(line).is_ok(), "there is room");
        }
        queue
    }

    #[test]
    fn the_end_is_told_once() {
        let (end, mut ended) = oneshot::channel();
        let mut out = Vec::new();
        let writer = Writer {
            out: &mut out,
            left: Some(2),
            end: Some(end),
        };
        writer.run(lines(&["a\n", "", "b\n"]));
        assert!(matches!(ended.try_recv(), Ok(End::Count)));
        assert_eq!(out, b"a\nb\n");

        let (end, mut ended) = oneshot::channel();
        let mut full = [0u8; 1];
        let writer = Writer {
            out: &mut full[..],
            left: None,
            end: Some(end),
        };
        writer.run(lines(&["a\n", "b\n"]));
        assert!(matches!(ended.try_recv(), Ok(End::Failed(_))));
    }

    /// Also if more lines wait by the time it looks.
    #[test]
    fn no_more_lines_are_written_than_were_asked_for() {
        let (end, mut ended) = oneshot::channel();
        let mut out = Vec::new();
        let writer = Writer {
            out: &mut out,
            left: Some(2),
            end: Some(end),
        };
        writer.run(lines(&["one\n", "two\n", "three\n"]));
        assert_eq!(out, b"one\ntwo\n");
        assert!(matches!(ended.try_recv(), Ok(End::Count)));
    }
}
