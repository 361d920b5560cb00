//! What can go wrong before a WebSocket stands.

use sealpipe_core::Wire;
use sealpipe_endpoint::Url;
use std::io;

/// A WebSocket could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// Nothing would tell who is at the other end, and that was not asked for.
    #[error(
        "{url} is open to anybody: {why}; seal the connection with a key (Config::sealed), \
         or allow that by name (Access::Anyone)"
    )]
    Unprotected {
        /// Where.
        url: Url,
        /// What is missing.
        why: &'static str,
    },
    /// The name of the host leads nowhere.
    #[error("the host of {url} was not found: {source}; check its name and the network")]
    Host {
        /// Where to.
        url: Url,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's URL must name an address of this machine.
    #[error(
        "{url} cannot be listened at: a listener's host is localhost or an IP address; \
         0.0.0.0 stands for all of this machine's, and so does [::], on Windows for those of \
         version 6 only"
    )]
    NotAnAddress {
        /// Where.
        url: Url,
    },
    /// A listener of `wss://` was given no certificate.
    #[error("{url} needs a certificate to listen with: give one with ListenOptions::tls")]
    NoCertificate {
        /// Where.
        url: Url,
    },
    /// A listener of `ws://` was given a certificate, which it would not use.
    #[error("{url} does not use the certificate that is given for it: listen at wss://")]
    CertificateUnused {
        /// Where.
        url: Url,
    },
    /// The wire of the configuration is none of whole messages of bytes.
    #[error(
        "the wire {wire} does not go over a WebSocket; use native, or one with a length prefix, \
         whose messages then are the WebSocket's"
    )]
    Wire {
        /// The wire.
        wire: Wire,
    },
    /// The system does not say whom to trust.
    #[error(
        "the system has no certificates to check {url} with: {reason}; install its \
         ca-certificates, or say whom to trust with ConnectOptions::tls"
    )]
    NoRoots {
        /// Where to.
        url: Url,
        /// What was found.
        reason: String,
    },
    /// TLS did not come about: among others, a certificate that is not trusted, or is
    /// another host's.
    #[error(
        "no TLS with {url}: {source}; check the server's certificate, and whom this side trusts"
    )]
    Tls {
        /// Where to.
        url: Url,
        /// What rustls said.
        source: io::Error,
    },
    /// The server answered, and not with a WebSocket.
    #[error("{url} is no WebSocket: the server answered with status {status}; check the path")]
    Status {
        /// Where to.
        url: Url,
        /// The status of HTTP.
        status: u16,
    },
    /// Something else answered than a server of WebSockets.
    #[error("{url} is no WebSocket: {reason}; check what listens there")]
    Handshake {
        /// Where to.
        url: Url,
        /// What was wrong.
        reason: String,
    },
}
