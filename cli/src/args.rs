//! What can be said on the command line.

use crate::wire::WireName;
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use sealpipe_core::service::check_topic;
use sealpipe_driver::vocabulary::{Access, AckLevel, Endpoint, Pattern, PatternError};
use std::{path::PathBuf, time::Duration};

/// Messages between two programs of one machine: framed, acknowledged, and
/// sealed with ChaCha20-Poly1305 when a key is given; over Unix sockets and
/// Windows named pipes.
///
/// See it work, between two real processes:
///
///   sealpipe demo
///
/// Try it, in two terminals:
///
///   sealpipe listen greetings
///   sealpipe send greetings "hello"
///
/// The same, sealed: only programs that hold the key get through.
///
///   (umask 077; openssl rand -hex 32 > greetings.key)
///   sealpipe listen greetings --key-file greetings.key
///   sealpipe send greetings "hello" --key-file greetings.key
#[derive(Debug, Parser)]
#[command(name = "sealpipe", version, verbatim_doc_comment)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_long_help = EXIT_CODES, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log more to stderr: -v the life of connections, -vv also system calls
    /// and byte counts, -vvv also the runtime. Never payloads or keys. Warnings
    /// are logged always. SEALPIPE_LOG sets it for each part, as in
    /// "warn,sealpipe_endpoint=trace"
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 100)]
    pub(crate) verbose: u8,

    /// The adapter to run on: tokio unless said; all of them, for the demo
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "NAME",
        display_order = 101
    )]
    pub(crate) runtime: Option<Runtime>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something on this side failed, such as writing the output
  2  the command line, or a file it names, cannot be used
  3  nothing there, refused, or the name is in use
  4  key, mode or identity mismatch, or the other side does not speak sealpipe
  5  a deadline passed, or the outcome of a message is unknown
  6  a message was rejected or too large, or a request answered with an error
  7  the peer broke the protocol
Where several apply, the one that is first in 1, 2, 7, 4, 5, 6, 3 counts.";

/// What there is an adapter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// Driven by tokio
    Tokio,
    /// Driven by async-io, as under smol and async-std
    Smol,
    /// The thread itself waits for its sockets or pipes
    Blocking,
}

impl Runtime {
    /// As it is said on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Runtime::Tokio => "tokio",
            Runtime::Smol => "smol",
            Runtime::Blocking => "blocking",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show that it works: two processes, real messages, a small table
    ///
    /// Starts a second process that listens, sends it messages of 0 B to 1 MiB,
    /// plain and then sealed with a fresh key, has it check the content and
    /// order of each, and prints how many went through and how fast. Takes a few
    /// seconds, leaves nothing behind, and exits with 0 only if every message
    /// arrived once, in order and unchanged.
    Demo,
    Listen(Listen),
    Send(Send),
    Request(Request),
    Publish(Publish),
    Subscribe(Subscribe),
    Ping(Ping),
    Doctor(Doctor),
    /// The other process of `demo`.
    #[command(hide = true)]
    DemoListener,
}

/// Where, and how it is secured.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// A name, such as "app"; a path, if it has a separator in it; a full pipe name
    /// (\\.\pipe\app); or a URL (ws://HOST:PORT/PATH, wss://…), also on another machine
    #[arg(value_name = "NAME")]
    pub(crate) endpoint: Endpoint,

    #[command(flatten)]
    pub(crate) secret: Secret,

    /// Let the other side be any user of this machine, where that is known, and anybody
    /// over ws:// without a key. Only the same user's programs meet unless said
    #[arg(long)]
    pub(crate) anyone: bool,

    /// How messages travel: both sides must say the same
    #[arg(long, value_enum, default_value_t, value_name = "WIRE")]
    pub(crate) wire: WireName,

    /// The largest message to send or accept: 4194304 unless said, and 10485760 with
    /// --wire le32
    #[arg(long, value_name = "BYTES")]
    max_message: Option<usize>,
}

impl Common {
    /// Who the other side may be.
    pub(crate) fn access(&self) -> Access {
        match self.anyone {
            true => Access::Anyone,
            false => Access::SameUser,
        }
    }

    /// In bytes.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message.unwrap_or(self.wire.max_message())
    }
}

/// The key, if there is one.
#[derive(Debug, Args)]
pub(crate) struct Secret {
    /// Seal with the key in this file: 32 bytes, or 64 hexadecimal digits
    #[arg(long, value_name = "PATH", conflicts_with = "build_key")]
    pub(crate) key_file: Option<PathBuf>,

    /// Seal with the key that was made when this program was built, which
    /// programs of the same build share. Whoever can read the program has it
    #[arg(long)]
    pub(crate) build_key: bool,
}

/// How to reach a listener.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// How long connecting may take, and then each message or round trip;
    /// fractions are allowed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Try to connect up to N times, with growing pauses. Without it and --wait,
    /// a listener that is not there is an error at once, and a busy one is tried
    /// until the timeout
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempts: Option<u32>,

    /// Wait for a listener that is not there yet
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Receive messages and print each as one line.
///
/// Prints "listening on ADDRESS" to stderr once it can be connected to, then
/// each message and request of any connection as one line on stdout. A message
/// counts as processed, and its sender is told so, when its line has been written
/// and flushed, or when --exec's command has accepted it. Requests are answered
/// with --echo or --exec. Events that one client publishes go to the others that
/// have subscribed to them, and are not printed. Ends on control-C.
///
/// In a line, a backslash is written \\, a line feed \n, a carriage return \r, a
/// tab \t, and every other byte of a control character, of a Unicode line
/// separator or of what is not UTF-8 is \x and two hexadecimal digits, so that
/// the bytes can be had back.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    about = "Receive messages and print each as one line"
)]
pub(crate) struct Listen {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Print an object of JSON a line instead:
    /// {"connection":1,"sequence":0,"length":5,"text":"hello"}, with "base64" in
    /// place of "text" where the message is not UTF-8. Connections count from 1,
    /// the messages of each from 0
    #[arg(long)]
    pub(crate) json: bool,

    /// Send each message's bytes back to its sender, after printing it; with
    /// --exec, what the command prints. Answers requests likewise
    #[arg(long)]
    pub(crate) echo: bool,

    /// Run COMMAND in a shell for each message, which is its stdin. Exit status 0
    /// accepts the message, another rejects it with code 256 + status. What it
    /// prints, at most --max-message bytes, answers a request, and is dropped for
    /// other messages unless there is --echo. A request that nobody waits for any
    /// more ends its command
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<String>,

    /// End with exit code 0 after N messages and requests over all connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// End with exit code 0 when a message says just this; it is not printed
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop_message: Option<String>,

    /// End with exit code 0 when nothing has come for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) idle: Option<Duration>,
}

/// Send a message, or one for each line of stdin, and say what became of it.
///
/// Messages are sent without waiting for one another's outcome. At the end, one
/// line on stderr counts the outcomes:
///
///   sent 0 received 0 processed 9 rejected 0 notsent 1 unknown 0
///
/// sent: handed to the system (--ack none). received: in the receiver's queue.
/// processed, rejected: the receiving program's verdict. notsent: it never
/// arrived and can safely be sent again. unknown: it may or may not have arrived.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    about = "Send a message, or one for each line of stdin, and say what became of it"
)]
#[command(override_usage = "sealpipe send [OPTIONS] <NAME> <TEXT | - | --file <PATH>>")]
#[command(group = ArgGroup::new("what").args(["text", "file"]).required(true))]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) common: Common,

    /// The message; or "-" for one message for each line of stdin, without the
    /// end of the line (a line feed, or a carriage return and a line feed)
    pub(crate) text: Option<String>,

    /// Send the content of this file as one message
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// What to wait for: processed unless said. Other wires than the native one have
    /// none, but for pipecom, which has nothing else
    #[arg(long, value_enum, value_name = "LEVEL")]
    ack: Option<Ack>,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Wait for a reply to each message, and print the replies as `listen` prints
    /// messages
    #[arg(long)]
    pub(crate) expect_reply: bool,

    /// Print replies as JSON
    #[arg(long, requires = "expect_reply")]
    pub(crate) json: bool,

    /// Write a line "INDEX OUTCOME" into this file for each message, as outcomes
    /// come; indexes count from 0
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,
}

impl Send {
    pub(crate) fn ack(&self) -> Ack {
        let usual = match self.common.wire {
            WireName::Native | WireName::Pipecom => Ack::Processed,
            _ => Ack::None,
        };
        self.ack.unwrap_or(usual)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// Nothing: the message is done when the system has it
    None,
    /// That it is in the receiver's queue
    Received,
    /// That the receiving program has processed it
    Processed,
}

impl From<Ack> for AckLevel {
    fn from(ack: Ack) -> AckLevel {
        match ack {
            Ack::None => AckLevel::None,
            Ack::Received => AckLevel::Received,
            Ack::Processed => AckLevel::Processed,
        }
    }
}

/// Ask, and print the reply as one line.
///
/// The line is written as `listen` writes messages. An error that the other
/// program answers with is printed to stderr.
#[derive(Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    pub(crate) common: Common,

    /// The request
    pub(crate) text: String,

    /// Print the bytes of the reply as they are, and nothing else
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Publish an event to those that have subscribed to its topic.
///
/// The listener hands it on; done when it has. That nobody has subscribed is no
/// error.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) common: Common,

    /// What it is about: segments between slashes, such as jobs/7/log
    #[arg(value_parser = topic)]
    pub(crate) topic: String,

    /// The event
    pub(crate) text: String,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Print the events of the topics that match a pattern, each as one line.
///
/// Prints "subscribed to PATTERN at ADDRESS" to stderr, then a line "TOPIC TEXT"
/// for each event, both written as `listen` writes messages, a space in a topic
/// as \x20. Events that come faster than they can be printed are dropped, oldest
/// first, and how many is said on stderr. Ends on control-C, or when the listener
/// ends.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    about = "Print the events of the topics that match a pattern, each as one line"
)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Which topics: in place of a segment, * is any one, and ** any number, also
    /// none; as in jobs/*/log or jobs/**
    #[arg(value_parser = pattern)]
    pub(crate) pattern: String,

    /// Print an object of JSON a line instead:
    /// {"topic":"jobs/7","missed":0,"length":5,"text":"begun"}, with "base64" in
    /// place of "text" where the event is not UTF-8
    #[arg(long)]
    pub(crate) json: bool,

    /// End with exit code 0 after N events; with 3 if the listener ends before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Measure round trips to a listener.
///
/// The listener's protocol answers, whatever its program is busy with.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How many round trips, at most 1000
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,

    /// How long to pause in between; fractions are allowed
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = pause)]
    pub(crate) interval: Duration,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Say what is at a name, and what is wrong with it.
///
/// Says where the name is looked for and what is there, who listens and with
/// which permissions, and which version and mode the server answers with; then
/// what is wrong and what to do, a line each that begins with "problem:". Ends
/// with exit code 0 if nothing is.
///
/// It asks as a client would, and goes again before a connection comes about: the
/// server's program does not notice, though its log does (a client of version 0,
/// and with a key one that breaks off).
#[derive(Debug, Args)]
#[command(about = "Say what is at a name, and what is wrong with it")]
pub(crate) struct Doctor {
    /// As given to the other commands: a name, a path, or a full pipe name
    #[arg(value_name = "NAME")]
    pub(crate) endpoint: Endpoint,

    #[command(flatten)]
    pub(crate) secret: Secret,

    /// How messages travel there. Other wires than the native one have nothing to ask a
    /// server with: it is only reached
    #[arg(long, value_enum, default_value_t, value_name = "WIRE")]
    pub(crate) wire: WireName,

    /// How long the server may take to answer; fractions are allowed
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

fn pause(text: &str) -> Result<Duration, String> {
    /// As good as forever, and far from where adding to a clock overflows.
    const YEAR: f64 = 365.0 * 86_400.0;
    let number: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if (0.0..=YEAR).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("give 0 seconds to a year".into())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match pause(text)? {
        Duration::ZERO => Err("give more than 0 seconds".into()),
        time => Ok(time),
    }
}

fn topic(text: &str) -> Result<String, PatternError> {
    check_topic(text).map(|()| text.to_owned())
}

fn pattern(text: &str) -> Result<String, PatternError> {
    Pattern::new(text).map(|pattern| pattern.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_may_have_fractions() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(pause("0"), Ok(Duration::ZERO));
        for bad in ["0", "-1", "nan", "inf", "1e300", "soon", ""] {
            seconds(bad).unwrap_err();
        }
    }

    #[test]
    fn names_keys_and_messages_are_checked() {
        let parse =
            |line: &str| Arguments::try_parse_from(line.split(' ')).map(|parsed| parsed.command);
        for good in [
            "sealpipe demo --runtime tokio",
            "sealpipe listen app --json --echo --count 3 -vv",
            "sealpipe send ./a.sock - --ack none --build-key",
            "sealpipe send app --file x --timeout 0.5 --attempts 3 --wait",
            "sealpipe send app -- -x",
            "sealpipe ping app --count 1000 --interval 0",
            "sealpipe listen app --exec cat --idle 0.5 --stop-message stop",
            "sealpipe request app status --timeout 2 --raw",
            "sealpipe publish app jobs/7 begun --wait",
            "sealpipe subscribe app jobs/** --json --count 2",
            "sealpipe doctor app --build-key --timeout 0.5",
        ] {
            parse(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in [
            "sealpipe",
            "sealpipe shout app",
            "sealpipe listen",
            "sealpipe listen .hidden",
            "sealpipe listen app --count 0",
            "sealpipe listen app --build-key --key-file x",
            "sealpipe send app",
            "sealpipe send app text --file x",
            "sealpipe send app text --json",
            "sealpipe send app text --ack maybe",
            "sealpipe ping app --count 1001",
            "sealpipe listen app --idle 0",
            "sealpipe request app",
            "sealpipe publish app jobs/* begun",
            "sealpipe subscribe app jobs//7",
            "sealpipe demo --runtime threads",
        ] {
            assert_eq!(parse(bad).expect_err(bad).exit_code(), 2, "{bad}");
        }
    }
}
