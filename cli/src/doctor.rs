//! `sealpipe doctor`.

use crate::{
    args::Doctor,
    exit::{self, Code, Failure},
    key,
    ping::print,
    wire::WireName,
};
use sealpipe_blocking::LocalStream;
use sealpipe_core::{Lost, Mismatch, Timeout, wire};
use sealpipe_driver::vocabulary::{
    Access, Config, ConnectionError, Endpoint, EndpointError, ErrorKind, Key, KeyId, Peer, Status,
};
use sealpipe_endpoint::{Backoff, Connected, Inspected, connect, inspect};
use std::{
    fmt,
    io::{self, Read, Write},
    time::{Duration, Instant},
};
use wire::{Mode, Preface};

/// A version that no server has, so that each answers with its own, and goes on to
/// no handshake (PROTOCOL.md, section 2).
const NO_VERSION: u8 = 0;

/// The length of a handshake message that is none: what it takes to be refused
/// after the key was found.
const NO_HANDSHAKE: [u8; 2] = [0; 2];

pub(crate) fn run(args: &Doctor) -> Result<(), Failure> {
    let own = key::key(&args.secret)?.map(|key| key.id());
    check_wire(args, own.is_some())?;
    let mut report = Report { worst: Code::Done };
    let endpoint = &args.endpoint;
    let inspection = inspect(endpoint)
        .map_err(|error| Failure::new(exit::of_endpoint(&error), error.to_string()))?;

    print(format_args!("{endpoint} is looked for at, in this order:"))?;
    for place in &inspection.places {
        print(format_args!("  {}", Place(place)))?;
    }
    for directory in &inspection.passed_over {
        print(format_args!("  passed over: {directory}"))?;
    }
    for trouble in inspection
        .places
        .iter()
        .filter_map(|it| it.trouble.as_ref())
    {
        report.problem(exit::of_endpoint(trouble), trouble)?;
    }

    let until = Instant::now() + args.timeout;
    match reach(endpoint, until) {
        Ok(server) => {
            identify(&server, &mut report)?;
            match args.wire.is_native() {
                true => ask(server, endpoint, own, until, &mut report)?,
                false => say_wire(args.wire)?,
            }
        }
        Err(error) => {
            print(format_args!("no server answers"))?;
            // What is wrong with a place is why, and has been said.
            if report.worst == Code::Done {
                report.problem(exit::of_endpoint(&error), &error)?;
            }
        }
    }
    match report.worst {
        Code::Done => print(format_args!("all is well")),
        code => Err(Failure::silent(code)),
    }
}

/// Connects, whoever the server is. One that has no room is tried again.
fn reach(endpoint: &Endpoint, until: Instant) -> Result<Connected, EndpointError> {
    let mut backoff = Backoff::new(std::process::id().into());
    loop {
        match connect(endpoint, &Access::Anyone) {
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < until => {
                tracing::debug!(%error, "connecting again");
                std::thread::sleep(backoff.next_delay());
            }
            result => return result,
        }
    }
}

/// A key and a wire that do not go together are wrong wherever they are used.
fn check_wire(args: &Doctor, key: bool) -> Result<(), Failure> {
    let builder = match key {
        // Any key will do: what is asked is whether one may be there.
        true => Config::sealed(Key::from_bytes([0; 32])),
        false => Config::plain(),
    };
    let checked = builder.wire(args.wire.wire()).build().map(drop);
    checked.map_err(|error| Failure::new(Code::Usage, error.to_string()))
}

/// There is nothing to ask a server with on such a wire.
fn say_wire(wire: WireName) -> Result<(), Failure> {
    let name = wire.wire();
    print(format_args!(
        "whether it speaks the wire {name} only messages can tell: that has no handshake, and no \
         acks"
    ))?;
    match wire {
        WireName::Le32Sealed => print(format_args!(
            "warning: on the wire {name} messages that are repeated, reordered or left out go \
             unseen, and a key that leaks opens every recording; move both sides to the native \
             wire"
        )),
        _ => Ok(()),
    }
}

/// Says who a server is.
fn identify(server: &Connected, report: &mut Report) -> Result<(), Failure> {
    let Connected { address, peer, .. } = server;
    print(format_args!(
        "a server listens at {address}: {}",
        Whose(peer)
    ))?;
    #[cfg(windows)]
    match sealpipe_endpoint::permissions_of(&server.stream) {
        Ok(text) => print(format_args!("its permissions are {text}"))?,
        Err(error) => report.problem(exit::of_endpoint(&error), error)?,
    }
    if let Err(error) = Access::SameUser.check(peer) {
        let error = error.at(address);
        report.problem(exit::of_endpoint(&error), error)?;
    }
    Ok(())
}

/// Says what a server answers.
fn ask(
    server: Connected,
    endpoint: &Endpoint,
    own: Option<KeyId>,
    until: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let stranger = Preface {
        version: NO_VERSION,
        mode: Mode::Plain,
        status: Status::Accepted,
        key: KeyId::default(),
    };
    let answer = match answer(server, &stranger.encode(), until) {
        Ok(answer) => answer,
        Err(error) => return report.connection(error),
    };
    let version = answer.version;
    match answer.mode {
        Mode::Sealed => print(format_args!(
            "it speaks version {version} of the protocol, sealed; its first key is {}",
            answer.key
        ))?,
        mode => print(format_args!(
            "it speaks version {version} of the protocol, {mode}"
        ))?,
    }
    let refused = matches!(
        answer.status,
        Status::Refused | Status::Busy | Status::ShuttingDown
    );
    if version != wire::VERSION {
        let own = wire::VERSION;
        let peer = version;
        report.mismatch(Mismatch::Version { own, peer })
    } else if refused {
        report.connection(ConnectionError::Refused(answer.status))
    } else {
        match own {
            None => Ok(()),
            Some(own) if answer.mode == Mode::Sealed => try_key(endpoint, own, until, report),
            Some(_) => report.mismatch(Mismatch::Mode {
                own: Mode::Sealed,
                peer: answer.mode,
            }),
        }
    }
}

/// Asks as a client with that key would, up to where a connection would begin: a
/// server may hold others than its first.
fn try_key(
    endpoint: &Endpoint,
    own: KeyId,
    until: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let client = Preface {
        version: wire::VERSION,
        mode: Mode::Sealed,
        status: Status::Accepted,
        key: own,
    };
    let opening = [&client.encode()[..], &NO_HANDSHAKE].concat();
    let server = match reach(endpoint, until) {
        Ok(server) => server,
        Err(error) => return report.problem(exit::of_endpoint(&error), error),
    };
    match answer(server, &opening, until) {
        Ok(Preface { status, key, .. }) => match status {
            // It had the key, and missed the rest.
            Status::Handshake => print(format_args!("it holds your key, {own}")),
            Status::Key => report.mismatch(Mismatch::Key { own, peer: key }),
            status => report.connection(ConnectionError::Refused(status)),
        },
        Err(error) => report.connection(error),
    }
}

/// What a server answers to these bytes. The connection ends with that.
fn answer(server: Connected, opening: &[u8], until: Instant) -> Result<Preface, ConnectionError> {
    let mut came = Vec::new();
    let failed = exchange(server, opening, until, &mut came).err();
    if let Some(error) = &failed {
        tracing::debug!(%error, bytes = came.len(), "no whole answer");
    }
    match Preface::decode(&came) {
        Ok(Some(preface)) => Ok(preface),
        Err(found) => Err(ConnectionError::Mismatch(Mismatch::Magic { found })),
        Ok(None) => Err(match failed {
            Some(error) if error.kind() == io::ErrorKind::TimedOut => {
                ConnectionError::Timeout(Timeout::Handshake)
            }
            _ if came.is_empty() => ConnectionError::Lost(Lost::Silent),
            _ => ConnectionError::Lost(Lost::Preface),
        }),
    }
}

/// Reads until there is a preface, or surely none.
fn exchange(
    server: Connected,
    opening: &[u8],
    until: Instant,
    came: &mut Vec<u8>,
) -> io::Result<()> {
    #[cfg_attr(
        unix,
        expect(
            clippy::unnecessary_fallible_conversions,
            reason = "a pipe can be refused"
        )
    )]
    let mut stream = LocalStream::try_from(server.stream).map_err(io::Error::other)?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(left(until)?))?;
    // A server that refuses may have gone; what it said is there to be read.
    if let Err(error) = stream.write_all(opening) {
        tracing::debug!(%error, "the question was not taken");
    }
    let mut buffer = [0; Preface::LEN];
    while let Ok(None) = Preface::decode(came) {
        stream.set_read_timeout(Some(left(until)?))?;
        let read = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Unix says so of a time limit.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        came.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// What was found to be wrong.
struct Report {
    worst: Code,
}

impl Report {
    fn problem(&mut self, code: Code, what: impl fmt::Display) -> Result<(), Failure> {
        self.worst = self.worst.worse(code);
        print(format_args!("problem: {what}"))
    }

    fn connection(&mut self, error: ConnectionError) -> Result<(), Failure> {
        self.problem(exit::of_connection(&error), error)
    }

    fn mismatch(&mut self, mismatch: Mismatch) -> Result<(), Failure> {
        self.connection(ConnectionError::Mismatch(mismatch))
    }
}

struct Place<'a>(&'a Inspected);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.address)?;
        match &self.0.found {
            Some(found) => {
                let (what, owner, mode) = (found.what, &found.owner, found.mode);
                write!(f, ": {what} of {owner}, mode {mode:03o}")
            }
            // A pipe cannot be seen but by opening it.
            None if cfg!(windows) => Ok(()),
            None => f.write_str(": nothing"),
        }
    }
}

struct Whose<'a>(&'a Peer);

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.process {
            Some(process) => write!(f, "process {process} of {}", self.0.user),
            None => write!(f, "a program of {}", self.0.user),
        }
    }
}
