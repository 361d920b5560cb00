//! What was asked for, before it becomes a place.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Address, Error, Url, url};

/// How every full pipe name begins.
pub(crate) const PIPE_PREFIX: &str = r"\\.\pipe\";

/// Where two programs meet, as the user said it: a name, which each system
/// maps to a place of its own, or that place itself.
///
/// From text ([`FromStr`]) it is a URL if it begins with `ws://` or `wss://`, a full
/// pipe name if it begins with `\\.\pipe\`, a path if it has a separator in it, and
/// a name otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(crate) kind: Kind,
    #[cfg(unix)]
    pub(crate) environment: Option<crate::Environment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Name(String),
    Path(PathBuf),
    Pipe(String),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Abstract(String),
    Url(Url),
}

impl Endpoint {
    /// The endpoint of that name, of this user.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] unless it is 1 to 64 of `A-Z a-z 0-9 . _ -` and
    /// does not begin with a dot.
    pub fn name(name: &str) -> Result<Endpoint, Error> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > 64 {
            "it is too long"
        } else if name.starts_with('.') {
            "it begins with a dot"
        } else if !name.bytes().all(is_name_byte) {
            "a character in it is not allowed"
        } else {
            return Ok(Endpoint::of(Kind::Name(name.to_owned())));
        };
        Err(Error::InvalidName {
            name: name.to_owned(),
            reason,
        })
    }

    /// The Unix socket at exactly that path. Its directory must exist; who may
    /// write there is up to the user. On Windows using it is an error.
    ///
    /// A path too long for a socket stands for a short form that both sides
    /// derive (see the [crate's page](crate#where-a-name-lies)). A relative
    /// one is taken from the current directory.
    #[must_use]
    pub fn path(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint::of(Kind::Path(path.into()))
    }

    /// The Windows pipe of exactly that full name, `\\.\pipe\…`. On Unix using
    /// it is an error.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] if it does not begin so (pipes of other
    /// machines are never used), is longer than 256 characters, or holds
    /// characters that no pipe name can.
    pub fn pipe(name: &str) -> Result<Endpoint, Error> {
        let rest = match name.get(..PIPE_PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PIPE_PREFIX) => {
                name.get(PIPE_PREFIX.len()..).unwrap_or_default()
            }
            _ => return Err(bad_pipe(name, r"it must begin with \\.\pipe\")),
        };
        if rest.is_empty() {
            return Err(bad_pipe(name, "there is no name after the prefix"));
        }
        if name.encode_utf16().count() > 256 {
            return Err(bad_pipe(name, "it is longer than 256 characters"));
        }
        if rest.chars().any(char::is_control) {
            return Err(bad_pipe(name, "it has control characters in it"));
        }
        // The system would take these out, and with them the prefix.
        if rest
            .split(['\\', '/'])
            .any(|part| matches!(part, "." | ".."))
        {
            return Err(bad_pipe(name, "a part of it is . or .."));
        }
        Ok(Endpoint::of(Kind::Pipe(format!("{PIPE_PREFIX}{rest}"))))
    }

    /// The abstract socket of that name, which lives in no directory and so
    /// leaves nothing behind, but has no permissions either: any user of the
    /// machine (of the network namespace) can connect, and any can take the
    /// name first. So [`Access::Anyone`](crate::Access::Anyone) is refused on
    /// it, and the check of the peer must not be left out.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] unless it is 1 to 107 bytes without control
    /// characters.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn abstract_socket(name: &str) -> Result<Endpoint, Error> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > 107 {
            "it is longer than 107 bytes"
        } else if name.chars().any(char::is_control) {
            "it has control characters in it"
        } else {
            return Ok(Endpoint::of(Kind::Abstract(name.to_owned())));
        };
        Err(Error::InvalidAddress {
            name: name.to_owned(),
            what: "name for an abstract socket",
            reason,
        })
    }

    /// The WebSocket of that URL, `ws://host:port/path` or `wss://…`, which may be on
    /// another machine. This crate only knows its parts ([`as_url`](Self::as_url));
    /// adapters with the feature `websocket` go there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] if it is no such URL, has a user or a password in it,
    /// or is longer than 2048 bytes.
    pub fn url(text: &str) -> Result<Endpoint, Error> {
        Ok(Endpoint::of(Kind::Url(Url::parse(text)?)))
    }

    /// The parts of an [`url`](Self::url), if it is one.
    #[must_use]
    pub fn as_url(&self) -> Option<&Url> {
        match &self.kind {
            Kind::Url(url) => Some(url),
            _ => None,
        }
    }

    /// The same endpoint with these directories instead of those of the
    /// process: for tests, and for a program that acts on behalf of another
    /// session.
    #[cfg(unix)]
    #[must_use]
    pub fn within(mut self, environment: crate::Environment) -> Endpoint {
        self.environment = Some(environment);
        self
    }

    /// The places of this endpoint: a listener binds at the first, a client
    /// asks at each in this order. Never empty. It looks at the directories
    /// that are there and makes none.
    ///
    /// # Errors
    ///
    /// [`Error::PathTooLong`] if no place fits into a socket address;
    /// [`Error::Unsupported`] for a path on Windows, a pipe on Unix, or a URL;
    /// [`Error::Io`] on Windows, when the current user cannot be told.
    pub fn addresses(&self) -> Result<Vec<Address>, Error> {
        #[cfg(unix)]
        return crate::unix::addresses(self);
        #[cfg(windows)]
        return crate::windows::addresses(self);
    }

    fn of(kind: Kind) -> Endpoint {
        Endpoint {
            kind,
            #[cfg(unix)]
            environment: None,
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn bad_pipe(name: &str, reason: &'static str) -> Error {
    Error::InvalidAddress {
        name: name.to_owned(),
        what: "pipe name",
        reason,
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint, Error> {
        let begins_as_pipe = text
            .get(..PIPE_PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PIPE_PREFIX));
        if url::is_url(text) {
            Endpoint::url(text)
        } else if begins_as_pipe {
            Endpoint::pipe(text)
        } else if text.contains(['/', '\\']) {
            Ok(Endpoint::path(text))
        } else {
            Endpoint::name(text)
        }
    }
}

/// As it was asked for; [`Address`] prints where that is.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Name(name) | Kind::Pipe(name) => f.write_str(name),
            Kind::Path(path) => path.display().fmt(f),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Abstract(name) => write!(f, "@{name}"),
            Kind::Url(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_validated() {
        let longest = "x".repeat(64);
        for good in ["a", "my-app.v2_1", "-", longest.as_str()] {
            Endpoint::name(good).unwrap();
        }
        let too_long = "x".repeat(65);
        for bad in [
            "", ".", "..", ".hidden", "a b", "a/b", "a\\b", "ä", "a\0", &too_long,
        ] {
            let error = Endpoint::name(bad).unwrap_err();
            assert!(matches!(error, Error::InvalidName { .. }), "{bad:?}");
        }
    }

    #[test]
    fn text_is_a_pipe_a_path_or_a_name() {
        let parse = |text: &str| text.parse::<Endpoint>();
        assert_eq!(parse("app").unwrap(), Endpoint::name("app").unwrap());
        assert_eq!(parse("./app").unwrap(), Endpoint::path("./app"));
        assert_eq!(
            parse("/run/app.sock").unwrap(),
            Endpoint::path("/run/app.sock")
        );
        let pipe = parse(r"\\.\PIPE\app\1").unwrap();
        assert_eq!(pipe, Endpoint::pipe(r"\\.\pipe\app\1").unwrap());
        assert_eq!(pipe.to_string(), r"\\.\pipe\app\1");
        let url = parse("ws://localhost/app").unwrap();
        assert_eq!(url, Endpoint::url("ws://localhost:80/app").unwrap());
        assert_eq!(url.as_url().unwrap().host(), "localhost");
        parse("wss://").unwrap_err();
        parse(r"\\.\pipe\").unwrap_err();
        parse("two words").unwrap_err();
    }

    #[test]
    fn pipes_of_other_machines_and_impossible_ones_are_refused() {
        for bad in [
            r"\\server\pipe\app",
            r"\\.\pipe\",
            r"\\.\pipe\a\..\..\C:",
            "app",
            "\\\\.\\pipe\\a\0b",
        ] {
            Endpoint::pipe(bad).unwrap_err();
        }
        Endpoint::pipe(&format!("{PIPE_PREFIX}{}", "x".repeat(247))).unwrap();
        Endpoint::pipe(&format!("{PIPE_PREFIX}{}", "x".repeat(248))).unwrap_err();
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn abstract_names_are_validated() {
        Endpoint::abstract_socket("a/b c").unwrap();
        for bad in ["", "a\0b", &"x".repeat(108)] {
            Endpoint::abstract_socket(bad).unwrap_err();
        }
    }
}
