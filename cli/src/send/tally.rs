//! What became of the messages.

use crate::{
    args::{Common, Send},
    exit::{Code, Failure, of_send},
    text::note,
};
use sealpipe_driver::{
    Delivery, Error, Runtime, SendError,
    vocabulary::{Endpoint, Outcome},
};
use std::{
    fmt,
    fs::File,
    io::{self, LineWriter, Write},
    path::PathBuf,
};
use tokio::sync::mpsc;

/// So many failures are told one by one.
const TOLD: u64 = 10;

/// What has happened to a message so far.
#[derive(Debug)]
pub(super) enum Fate<R: Runtime> {
    /// On its way; this will tell the outcome.
    Queued(Delivery<R>),
    /// Not taken, because of itself.
    Refused(SendError),
    /// Above this side's limit.
    TooLarge { length: u64, max: usize },
    /// It could not be read.
    Unreadable(io::Error),
    /// There was no room for it in time.
    NoRoom(Error),
    /// It came too late: the connection has ended.
    Over,
}

/// Counts outcomes, reports each, and finds out how the program ends.
#[derive(Debug)]
pub(super) struct Tally {
    sent: u64,
    received: u64,
    processed: u64,
    rejected: u64,
    not_sent: u64,
    unknown: u64,
    code: Code,
    told: u64,
    of_lines: bool,
    endpoint: Endpoint,
    report: Option<Report>,
}

#[derive(Debug)]
struct Report {
    path: PathBuf,
    file: LineWriter<File>,
    trouble: Option<io::Error>,
}

impl Tally {
    pub(super) fn new(args: &Send) -> Result<Tally, Failure> {
        let Common { endpoint, .. } = &args.common;
        let report = match &args.report {
            Some(path) => Some(Report::create(path.clone())?),
            None => None,
        };
        Ok(Tally {
            sent: 0,
            received: 0,
            processed: 0,
            rejected: 0,
            not_sent: 0,
            unknown: 0,
            code: Code::Done,
            told: 0,
            of_lines: args.file.is_none() && args.text.as_deref() == Some("-"),
            endpoint: endpoint.clone(),
            report,
        })
    }

    /// Takes in what becomes of the messages, in their order.
    pub(super) async fn collect<R: Runtime>(
        &mut self,
        mut fates: mpsc::UnboundedReceiver<(u64, Fate<R>)>,
    ) {
        while let Some((index, fate)) = fates.recv().await {
            self.take(index, fate).await;
        }
        self.tell_more();
    }

    /// Takes in what becomes of one message.
    pub(super) async fn take<R: Runtime>(&mut self, index: u64, fate: Fate<R>) {
        match fate {
            Fate::Queued(delivery) => self.settle(index, delivery.await),
            Fate::Refused(error) => self.settle(index, Err(error)),
            Fate::TooLarge { length, max } => {
                self.not_sent(index);
                self.fail(
                    index,
                    Code::Rejected,
                    format_args!("it has {length} bytes, and {max} are allowed; raise --max-message, or send less"),
                );
            }
            Fate::Unreadable(error) => {
                self.not_sent(index);
                self.fail(
                    index,
                    Code::Local,
                    format_args!("stdin cannot be read: {error}; nothing after it was sent"),
                );
            }
            Fate::NoRoom(error) => {
                self.not_sent(index);
                self.fail(index, Code::Unknown, format_args!("{error}"));
            }
            Fate::Over => self.not_sent(index),
        }
    }

    /// Says how many failures were not told, if any.
    pub(super) fn tell_more(&self) {
        if self.told > TOLD {
            let more = self.told - TOLD;
            note(format_args!("sealpipe: and {more} more like these"));
        }
    }

    fn settle(&mut self, index: u64, result: Result<Outcome, SendError>) {
        let outcome = match &result {
            Ok(outcome) => outcome.clone(),
            Err(error) => error.outcome(),
        };
        let (count, word) = match outcome {
            Outcome::Sent => (&mut self.sent, "sent"),
            Outcome::Received => (&mut self.received, "received"),
            Outcome::Processed => (&mut self.processed, "processed"),
            Outcome::Rejected(_) => (&mut self.rejected, "rejected"),
            Outcome::NotSent => (&mut self.not_sent, "notsent"),
            // To know less is always true.
            _ => (&mut self.unknown, "unknown"),
        };
        *count += 1;
        self.report(index, word);
        if let Err(error) = result {
            self.fail(index, of_send(&error), format_args!("{error}"));
        }
    }

    /// A message that never went out.
    pub(super) fn not_sent(&mut self, index: u64) {
        self.not_sent += 1;
        self.report(index, "notsent");
    }

    /// A message that the receiver's program has processed.
    pub(super) fn processed(&mut self, index: u64) {
        self.processed += 1;
        self.report(index, "processed");
    }

    /// A message that may have arrived.
    pub(super) fn unknown(&mut self, index: u64) {
        self.unknown += 1;
        self.report(index, "unknown");
    }

    pub(super) fn fail(&mut self, index: u64, code: Code, what: fmt::Arguments<'_>) {
        self.code = self.code.worse(code);
        self.told += 1;
        if self.told > TOLD {
            return;
        }
        let endpoint = &self.endpoint;
        if self.of_lines {
            note(format_args!(
                "sealpipe: line {} to {endpoint}: {what}",
                index + 1
            ));
        } else {
            note(format_args!("sealpipe: the message to {endpoint}: {what}"));
        }
    }

    fn report(&mut self, index: u64, word: &str) {
        if let Some(report) = &mut self.report
            && report.trouble.is_none()
            && let Err(error) = writeln!(report.file, "{index} {word}")
        {
            report.trouble = Some(error);
        }
    }

    /// How many messages reached what they asked for.
    pub(super) fn delivered(&self) -> u64 {
        self.sent + self.received + self.processed
    }

    /// The end: how the program is to exit by the outcomes alone.
    pub(super) fn end(&mut self) -> Code {
        if let Some(Report {
            path,
            file,
            trouble,
        }) = &mut self.report
            && let Err(error) = trouble.take().map_or_else(|| file.flush(), Err)
        {
            note(format_args!(
                "sealpipe: the report {} is not complete: {error}; look whether there is room",
                path.display()
            ));
            self.code = self.code.worse(Code::Local);
        }
        self.code
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} received {} processed {} rejected {} notsent {} unknown {}",
            self.sent, self.received, self.processed, self.rejected, self.not_sent, self.unknown
        )
    }
}

impl Report {
    fn create(path: PathBuf) -> Result<Report, Failure> {
        match File::create(&path) {
            Ok(file) => Ok(Report {
                path,
                file: LineWriter::new(file),
                trouble: None,
            }),
            Err(error) => Err(Failure::new(
                Code::Usage,
                format!(
                    "the report {} cannot be written: {error}; check its directory and permissions",
                    path.display()
                ),
            )),
        }
    }
}
