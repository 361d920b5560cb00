//! From a URL to a WebSocket.

use super::{
    ByteStream, WebSocketError,
    meter::Meter,
    rustls, stream,
    stream::{Carriage, Halves},
    system_roots,
};
use crate::{Error, Runtime, timeout::timeout};
use async_tungstenite::{
    client_async_with_config,
    tungstenite::{
        Error as Tungstenite, client::IntoClientRequest, error::ProtocolError, http::StatusCode,
    },
};
use futures_channel::oneshot;
use futures_rustls::TlsConnector;
use sealpipe_core::{Config, ConnectionError, Lost, wire::Mode};
use sealpipe_endpoint::{Access, Error as EndpointError, Url};
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread,
    time::Duration,
};

/// Connects, and shakes hands for TLS and the WebSocket; all of that within the time for
/// a handshake.
pub(crate) async fn connect<R: Runtime>(
    url: &Url,
    server: &Access,
    tls: Option<&Arc<rustls::ClientConfig>>,
    config: &Config,
) -> Result<Halves<R>, Error> {
    if config.mode() == Mode::Plain && !url.is_secure() && *server != Access::Anyone {
        return Err(unprotected(
            url,
            "without a key and without TLS, nobody knows who serves it",
        ));
    }
    let carriage = carriage(config)?;
    let limit = config.handshake_timeout();
    match timeout::<R, _>(limit, open::<R>(url, tls, carriage, config)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout {
            doing: "opening a WebSocket",
            limit,
            last: None,
        }),
    }
}

pub(crate) fn unprotected(url: &Url, why: &'static str) -> Error {
    let url = url.clone();
    WebSocketError::Unprotected { url, why }.into()
}

/// How the configuration's wire goes over a WebSocket.
pub(super) fn carriage(config: &Config) -> Result<Carriage, WebSocketError> {
    let wire = config.wire();
    Carriage::of(config).ok_or(WebSocketError::Wire { wire })
}

async fn open<R: Runtime>(
    url: &Url,
    tls: Option<&Arc<rustls::ClientConfig>>,
    carriage: Carriage,
    config: &Config,
) -> Result<Halves<R>, Error> {
    let io = dial::<R>(url, config.handshake_timeout()).await?;
    let io: Box<dyn ByteStream> = if url.is_secure() {
        Box::new(secure(url, tls, io).await?)
    } else {
        io
    };
    let broken = |error| match error {
        Tungstenite::Io(error) if is_end(&error) => silent(),
        Tungstenite::Protocol(ProtocolError::HandshakeIncomplete) => silent(),
        // A proxy whose server is not there just now.
        Tungstenite::Http(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
            let address = url.address();
            EndpointError::Busy { address }.into()
        }
        error => describe(url, error).into(),
    };
    let request = url.to_string().into_client_request().map_err(broken)?;
    let (socket, _) = client_async_with_config(request, Meter::new(io), Some(carriage.limits()))
        .await
        .map_err(broken)?;
    tracing::debug!(%url, "a WebSocket is open");
    Ok(stream::halves(socket, carriage, config.close_timeout()))
}

/// The server took the stream and let it go, as one that ends or begins.
fn silent() -> Error {
    Error::Connection(ConnectionError::Lost(Lost::Silent))
}

fn is_end(error: &io::Error) -> bool {
    sealpipe_endpoint::is_end_of_stream(error) || error.kind() == io::ErrorKind::UnexpectedEof
}

/// The first of the host's addresses that answers.
async fn dial<R: Runtime>(url: &Url, limit: Duration) -> Result<Box<dyn ByteStream>, Error> {
    let addresses = resolve(url).await?;
    // So that one that is silent leaves time for the others.
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut worst = None;
    for address in addresses {
        let error = match timeout::<R, _>(share, R::connect_tcp(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        tracing::debug!(%url, %address, %error, "not connected");
        // Of several, one says that nobody listens yet: that is worth waiting for.
        if !worst.as_ref().is_some_and(is_refused) {
            worst = Some(error);
        }
    }
    match worst {
        // It ended before it had taken what the system had taken for it.
        Some(source) if is_end(&source) => Err(silent()),
        Some(source) if !is_refused(&source) => Err(Error::Io {
            doing: "connecting to the host of a WebSocket",
            source,
        }),
        _ => Err(EndpointError::NotFound {
            tried: vec![url.address()],
        }
        .into()),
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// The addresses of the host. The system's own call blocks, so that a thread makes it.
async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = url.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, url.port())]);
    }
    let (tell, told) = oneshot::channel();
    let host = (url.host().to_owned(), url.port());
    let thread = thread::Builder::new().name(String::from("sealpipe-resolve"));
    let look_up = move || {
        let found = host.to_socket_addrs();
        // An error means that nobody waits any more.
        let _ = tell.send(found.map(|addresses| addresses.collect::<Vec<_>>()));
    };
    let found = match thread.spawn(look_up) {
        Ok(_) => told
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
        Err(error) => Err(error),
    };
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        found => Err(WebSocketError::Host {
            url: url.clone(),
            source: found
                .err()
                .unwrap_or_else(|| io::ErrorKind::NotFound.into()),
        }
        .into()),
    }
}

async fn secure(
    url: &Url,
    tls: Option<&Arc<rustls::ClientConfig>>,
    io: Box<dyn ByteStream>,
) -> Result<impl ByteStream + use<>, Error> {
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => system_roots().map_err(|reason| WebSocketError::NoRoots {
            url: url.clone(),
            reason,
        })?,
    };
    let failed = |source| {
        let url = url.clone();
        WebSocketError::Tls { url, source }
    };
    let name = rustls::pki_types::ServerName::try_from(url.host().to_owned())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    match TlsConnector::from(tls).connect(name, io).await {
        Ok(stream) => Ok(stream),
        Err(error) if is_end(&error) => Err(silent()),
        Err(error) => Err(failed(error).into()),
    }
}

/// What a handshake that failed means.
pub(super) fn describe(url: &Url, error: Tungstenite) -> WebSocketError {
    let url = url.clone();
    match error {
        Tungstenite::Http(response) => WebSocketError::Status {
            url,
            status: response.status().as_u16(),
        },
        error => WebSocketError::Handshake {
            url,
            reason: error.to_string(),
        },
    }
}
