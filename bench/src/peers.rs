//! The same echo by each peer.

use crate::run::{rate, ready, round_trips};
use bytes::Bytes;
use sealpipe_tokio::{
    Client, Config, Connection, Endpoint, Handler, Listener, RemoteError, Request, Response,
    Server, Tokio,
};
use std::{
    io::{Read, Write},
    os::unix::net,
    time::Duration,
};
use tarpc::{
    serde_transport::unix, server::Channel, tokio_serde::formats::Bincode,
};
use futures_util::StreamExt;

const SIZE: usize = 64;
const LONG: Duration = Duration::from_secs(30);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

pub(crate) fn serve(peer: &str, path: &str) {
    match peer {
        "std" => serve_std(path),
        "sealpipe message" => block_on(serve_messages(path)),
        "sealpipe" => block_on(serve_requests(path)),
        "tarpc" => block_on(serve_tarpc(path)),
        _ => block_on(serve_zbus(path)),
    }
}

pub(crate) fn drive(peer: &str, path: &str) -> (f64, Option<f64>) {
    match peer {
        "std" => block_on(drive_std(path)),
        "sealpipe message" => block_on(drive_messages(path)),
        "sealpipe" => block_on(drive_requests(path)),
        "tarpc" => block_on(drive_tarpc(path)),
        _ => block_on(drive_zbus(path)),
    }
}

// --- std --------------------------------------------------------------------------

fn serve_std(path: &str) {
    let listener = net::UnixListener::bind(path).expect("a listener");
    ready();
    let (mut stream, _) = listener.accept().expect("a client");
    let mut message = [0; SIZE];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

async fn drive_std(path: &str) -> (f64, Option<f64>) {
    let mut stream = net::UnixStream::connect(path).expect("a connection");
    let mut message = [7; SIZE];
    let figure = round_trips(|| {
        stream.write_all(&message).expect("the peer takes it");
        stream.read_exact(&mut message).expect("the peer answers");
        std::future::ready(())
    });
    (figure.await, None)
}

// --- sealpipe ---------------------------------------------------------------------

async fn serve_messages(path: &str) {
    let mut listener =
        Listener::bind(&Endpoint::path(path), Config::default()).expect("a listener");
    ready();
    let connection = listener.accept().await.expect("a client");
    while let Ok(Some(message)) = connection.recv().await {
        let _ = connection.send(message.payload.clone()).await;
    }
}

async fn connect(path: &str) -> Connection {
    Connection::connect(&Endpoint::path(path), Config::default())
        .await
        .expect("a connection")
}

async fn drive_messages(path: &str) -> (f64, Option<f64>) {
    let connection = connect(path).await;
    let payload = Bytes::from(vec![7; SIZE]);
    let once = async || {
        connection.send(payload.clone()).await.expect("sent");
        connection.recv().await.expect("received").expect("a message").accept();
    };
    (round_trips(once).await, None)
}

struct Echo;

impl Handler<Tokio> for Echo {
    async fn request(&self, _: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        Ok(request.payload.clone().into())
    }
}

async fn serve_requests(path: &str) {
    let server =
        Server::start(&Endpoint::path(path), Config::default(), Echo).expect("a server");
    ready();
    server.stopped().await;
}

async fn drive_requests(path: &str) -> (f64, Option<f64>) {
    let connection = connect(path).await;
    let payload = Bytes::from(vec![7; SIZE]);
    let once = async || {
        connection.request(payload.clone(), LONG).await.expect("a reply");
    };
    (round_trips(once).await, Some(rate(once).await))
}

// --- tarpc ------------------------------------------------------------------------

#[tarpc::service]
trait Service {
    async fn echo(data: Vec<u8>) -> Vec<u8>;
}

#[derive(Clone)]
struct TarpcEcho;

impl Service for TarpcEcho {
    async fn echo(self, _: tarpc::context::Context, data: Vec<u8>) -> Vec<u8> {
        data
    }
}

async fn serve_tarpc(path: &str) {
    let mut listener = unix::listen(path, Bincode::default).await.expect("a listener");
    ready();
    let transport = listener.next().await.expect("a client").expect("a client");
    tarpc::server::BaseChannel::with_defaults(transport)
        .execute(TarpcEcho.serve())
        .for_each_concurrent(None, |response| response)
        .await;
}

async fn drive_tarpc(path: &str) -> (f64, Option<f64>) {
    let transport = unix::connect(path, Bincode::default).await.expect("a connection");
    let client = ServiceClient::new(tarpc::client::Config::default(), transport).spawn();
    let once = async || {
        let echoed = client.echo(tarpc::context::current(), vec![7; SIZE]).await;
        echoed.expect("a reply");
    };
    (round_trips(once).await, Some(rate(once).await))
}

// --- zbus -------------------------------------------------------------------------

struct ZbusEcho;

#[zbus::interface(name = "sealpipe.bench.Echo")]
impl ZbusEcho {
    async fn echo(&self, data: Vec<u8>) -> Vec<u8> {
        data
    }
}

async fn serve_zbus(path: &str) {
    let listener = tokio::net::UnixListener::bind(path).expect("a listener");
    ready();
    let (stream, _) = listener.accept().await.expect("a client");
    let connection = zbus::connection::Builder::unix_stream(stream)
        .server(zbus::Guid::generate())
        .expect("a server")
        .p2p()
        .serve_at("/echo", ZbusEcho)
        .expect("an object")
        .build()
        .await;
    let _connection = connection.expect("a connection");
    std::future::pending().await
}

async fn drive_zbus(path: &str) -> (f64, Option<f64>) {
    let stream = tokio::net::UnixStream::connect(path).await.expect("a connection");
    let connection = zbus::connection::Builder::unix_stream(stream).p2p().build().await;
    let connection = connection.expect("a connection");
    let once = async || {
        let data = &vec![7_u8; SIZE];
        let interface = Some("sealpipe.bench.Echo");
        let call = connection.call_method(None::<&str>, "/echo", interface, "Echo", data);
        call.await.expect("a reply");
    };
    (round_trips(once).await, Some(rate(once).await))
}
