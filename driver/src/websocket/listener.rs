//! Accepting over TCP.

use super::{
    ByteStream, TcpAccept, WebSocketError, meter::Meter, reach, rustls, stream, stream::Carriage,
};
use crate::{
    Error, Listener, Runtime,
    listener::{Intake, PAUSE, Permit, spawn},
    timeout::{sleep, timeout},
    transport::Transport,
};
use async_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http::{StatusCode, header::ORIGIN},
    },
};
use futures_rustls::TlsAcceptor;
use sealpipe_core::wire::Mode;
use sealpipe_endpoint::{AcceptErrorKind, Access, Error as EndpointError, Url, accept_error_kind};
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

/// How a listener takes in WebSockets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) origins: Arc<[String]>,
}

/// What the tasks of a listener share.
struct Upgrade<R: Runtime> {
    door: Door,
    carriage: Carriage,
    url: Url,
    intake: Intake<R>,
}

/// Listens at a URL.
pub(crate) fn listen<R: Runtime>(
    url: &Url,
    door: Door,
    options: &crate::ListenOptions<R>,
) -> Result<Listener<R>, Error> {
    if options.config().mode() == Mode::Plain && *options.allowed() != Access::Anyone {
        return Err(reach::unprotected(
            url,
            "without a key, nobody knows who connects to it",
        ));
    }
    if url.is_secure() != door.tls.is_some() {
        let url = url.clone();
        return Err(match door.tls {
            None => WebSocketError::NoCertificate { url },
            Some(_) => WebSocketError::CertificateUnused { url },
        }
        .into());
    }
    let carriage = reach::carriage(options.config())?;
    let socket = bind(url)?;
    let bound = socket
        .local_addr()
        .map_err(Error::io("asking for the port"))?;
    let url = url.clone().with_port(bound.port());
    socket
        .set_nonblocking(true)
        .map_err(Error::io("making a socket non-blocking"))?;
    let socket = R::listen_tcp(socket).map_err(Error::io("registering the listening socket"))?;
    options.listen_with(url.address(), |intake| {
        let upgrade = Arc::new(Upgrade {
            door,
            carriage,
            url,
            intake,
        });
        Ok(vec![spawn::<R>(accept_all(socket, upgrade))])
    })
}

fn bind(url: &Url) -> Result<TcpListener, Error> {
    let host = match url.host().parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) if url.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        Err(_) => return Err(WebSocketError::NotAnAddress { url: url.clone() }.into()),
    };
    TcpListener::bind(SocketAddr::new(host, url.port())).map_err(|source| {
        let address = url.address();
        match source.kind() {
            io::ErrorKind::AddrInUse => EndpointError::AddressInUse {
                address,
                holder: sealpipe_endpoint::Holder::default(),
            },
            io::ErrorKind::PermissionDenied => EndpointError::PermissionDenied {
                doing: "listen at",
                address,
                source,
            },
            _ => EndpointError::Io {
                doing: "listening",
                place: address.to_string(),
                source,
            },
        }
        .into()
    })
}

async fn accept_all<R: Runtime>(mut socket: Box<dyn TcpAccept>, upgrade: Arc<Upgrade<R>>) {
    let url = &upgrade.url;
    loop {
        match poll_fn(|context| socket.poll_accept(context)).await {
            Ok((io, from)) => {
                tracing::debug!(%url, %from, "a client came");
                // Without a place it is let go of.
                if let Some(permit) = upgrade.intake.permit() {
                    R::spawn(take_in(io, upgrade.clone(), permit));
                }
            }
            Err(error) if accept_error_kind(&error) == AcceptErrorKind::Retry => {
                tracing::debug!(%url, %error, "a client left before it was accepted");
            }
            // What is not known, too: networks have errors of their own, which are no
            // reason to be deaf from then on.
            Err(error) => {
                tracing::warn!(%url, %error, "accepting rests");
                sleep::<R>(PAUSE).await;
            }
        }
    }
}

async fn take_in<R: Runtime>(io: Box<dyn ByteStream>, upgrade: Arc<Upgrade<R>>, permit: Permit) {
    let limit = upgrade.intake.config().handshake_timeout();
    match timeout::<R, _>(limit, upgrade.open(io)).await {
        Ok(Ok(transport)) => upgrade.intake.open(transport, Arc::default(), permit).await,
        Ok(Err(error)) => tracing::warn!(%error, "a client did not get to a WebSocket"),
        Err(_) => {
            tracing::warn!(url = %upgrade.url, "a client took too long to get to a WebSocket")
        }
    }
}

impl<R: Runtime> Upgrade<R> {
    async fn open(&self, io: Box<dyn ByteStream>) -> Result<Transport<R>, WebSocketError> {
        let io: Box<dyn ByteStream> = match &self.door.tls {
            Some(tls) => {
                let accepted = TlsAcceptor::from(tls.clone()).accept(io).await;
                Box::new(accepted.map_err(|source| WebSocketError::Tls {
                    url: self.url.clone(),
                    source,
                })?)
            }
            None => io,
        };
        let config = self.intake.config();
        let carriage = self.carriage;
        let porter = Porter {
            path: self.url.path(),
            origins: &self.door.origins,
        };
        let socket = accept_hdr_async_with_config(Meter::new(io), porter, Some(carriage.limits()))
            .await
            .map_err(|error| reach::describe(&self.url, error))?;
        let halves = stream::halves::<R>(socket, carriage, config.close_timeout());
        Ok(halves.into_transport())
    }
}

/// Looks at what a client asks for.
struct Porter<'a> {
    path: &'a str,
    origins: &'a [String],
}

impl Callback for Porter<'_> {
    #[allow(clippy::result_large_err, reason = "the type is the other crate's")]
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let asked = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        if asked != self.path {
            return Err(refusal(StatusCode::NOT_FOUND));
        }
        // Of a browser: the page says who it is, and could be any.
        let is_known = |origin: &[u8]| self.origins.iter().any(|known| known.as_bytes() == origin);
        match request.headers().get(ORIGIN) {
            Some(origin) if !is_known(origin.as_bytes()) => Err(refusal(StatusCode::FORBIDDEN)),
            _ => Ok(response),
        }
    }
}

fn refusal(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}
