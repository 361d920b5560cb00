//! Endpoints that are reached over WebSockets, also on other machines.

use std::fmt;
use std::net::IpAddr;

use crate::address::Place;
use crate::{Address, Error};

/// How many bytes a URL may have.
const LONGEST: usize = 2048;

/// The parts of an [`Endpoint::url`](crate::Endpoint::url). It prints as the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    /// An IPv6 address without its brackets.
    host: Box<str>,
    port: u16,
    /// With its query; begins with `/`.
    path: Box<str>,
}

/// Whether text is meant as a URL, so that [`Url::parse`] says what is wrong with it.
pub(crate) fn is_url(text: &str) -> bool {
    split_scheme(text).is_some()
}

/// Whether it is wss, and what comes after the scheme.
fn split_scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("ws") {
        Some((false, rest))
    } else if scheme.eq_ignore_ascii_case("wss") {
        Some((true, rest))
    } else {
        None
    }
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Url, Error> {
        parse(text).map_err(|reason| Error::InvalidAddress {
            name: without_user(text).to_owned(),
            what: "WebSocket URL",
            reason,
        })
    }

    /// Whether it is `wss://`: over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name of the host, or its IP address, which has no brackets here.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 80, and 443 for `wss://`, unless it says another.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path with the query, `/` if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it says that the server is on this machine: `localhost`, or an address
    /// of the loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The same with another port: what a listener got that asked for any.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Url {
        self.port = port;
        self
    }

    /// The place that it names.
    #[must_use]
    pub fn address(&self) -> Address {
        Place::Url(self.clone()).into()
    }

    /// Where a socket or a pipe was to be.
    pub(crate) fn unsupported(&self) -> Error {
        Error::Unsupported {
            what: format!("the URL {self}"),
            hint: "it is no socket and no pipe, and a stream without the protocol does not go over it; \
                   use it with a connection or listener of an adapter that has the feature `websocket`",
        }
    }
}

/// What stands before an `@` may be a password.
fn without_user(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

fn parse(text: &str) -> Result<Url, &'static str> {
    let (secure, rest) = split_scheme(text).ok_or("it must begin with ws:// or wss://")?;
    if text.len() > LONGEST {
        return Err("it is longer than 2048 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters in it that must be written as %XX");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains('#') {
        return Err("a fragment (#…) means nothing to a server");
    }
    if authority.contains('@') {
        return Err("a user or password does not belong into a URL");
    }
    let (host, port) = split_port(authority)?;
    Ok(Url {
        secure,
        host: host.into(),
        port: port.unwrap_or(if secure { 443 } else { 80 }),
        path: if path.starts_with('/') {
            path.into()
        } else {
            format!("/{path}").into()
        },
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
            if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                return Err("what is in brackets is no IPv6 address");
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("something stands between the host and the path"),
            }
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            let is_host_byte =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if host.is_empty() || !host.bytes().all(is_host_byte) {
                return Err("the host is no name and no IP address");
            }
            (host, port)
        }
    };
    let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        None => Ok((host, None)),
        Some(port) => match Some(port).filter(digits).and_then(|port| port.parse().ok()) {
            Some(port) => Ok((host, Some(port))),
            None => Err("the port is no number up to 65535"),
        },
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        let Url {
            host, port, path, ..
        } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_parts_are_found() {
        for (text, secure, host, port, path) in [
            ("ws://localhost", false, "localhost", 80, "/"),
            (
                "WSS://example.org/a/b?c=d",
                true,
                "example.org",
                443,
                "/a/b?c=d",
            ),
            ("ws://127.0.0.1:8080?x", false, "127.0.0.1", 8080, "/?x"),
            ("wss://[::1]:9/", true, "::1", 9, "/"),
            ("ws://[fe80::1]", false, "fe80::1", 80, "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.is_secure(), url.host(), url.port(), url.path()),
                (secure, host, port, path),
                "{text}"
            );
            assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for bad in [
            "http://localhost",
            "ws://",
            "ws:///path",
            "ws://host:",
            "ws://host:65536",
            "ws://host:+80",
            "ws://a b",
            "ws://ä",
            "ws://[::1",
            "ws://[127.0.0.1]",
            "ws://[::1]x",
            "ws://host/#there",
            "ws://host/\r\nX: y",
        ] {
            Url::parse(bad).unwrap_err();
        }
        let secret = Url::parse("wss://me:secret@host/").unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn the_loopback_is_known() {
        for (host, loopback) in [
            ("localhost", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.org", false),
            ("10.0.0.1", false),
        ] {
            let url = Url::parse(&format!("ws://{host}/")).unwrap();
            assert_eq!(url.is_loopback(), loopback, "{host}");
        }
    }
}
