//! A WebSocket peer of another make, Python's package `websockets`: as a server, as a
//! client, and over TLS.
//!
//! Run by the interpreter in `SEALPIPE_TEST_PYTHON`, else by `python3`. Where that or the
//! package is missing, a test says that it was skipped; with the variable set it fails
//! instead.
#![cfg(unix)]

use sealpipe_core::Wire;
use sealpipe_driver::{
    Error,
    vocabulary::{Access, Config, Endpoint, WebSocketError, rustls},
};
use sealpipe_tests::{
    Adapter, Authority,
    api::{Connection, Listener},
    on_every_adapter,
    python::{script, there_is_python_with},
    within,
};
use std::{process::Stdio, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

on_every_adapter! {
    the_adapter_talks_to_its_server,
    its_client_talks_to_the_adapter,
}

struct Peer {
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Peer {
    fn start(arguments: &[&str]) -> Peer {
        let mut command = script("websocket_peer.py", arguments);
        // Seen if the test fails.
        let mut process = command.stderr(Stdio::inherit()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Peer {
            lines,
            _process: process,
        }
    }

    /// What it says next, as one of the values in it.
    async fn says(&mut self, what: &str) -> serde_json::Value {
        let line = self.lines.next_line().await.unwrap().expect("a line");
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        said.get(what).unwrap_or_else(|| panic!("{line}")).clone()
    }
}

fn config(wire: Wire) -> Config {
    let builder = Config::plain().wire(wire);
    builder.max_message(200_000).build().unwrap()
}

async fn the_adapter_talks_to_its_server<A: Adapter>() {
    if !there_is_python_with("websockets") {
        return;
    }
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.issue("localhost");
    std::fs::write(directory.path().join("certificate.der"), certificate).unwrap();
    std::fs::write(directory.path().join("key.der"), key).unwrap();
    within(async {
        for secure in [false, true] {
            let place = directory.path().to_str().unwrap();
            let mut peer = match secure {
                true => Peer::start(&["server", place]),
                false => Peer::start(&["server"]),
            };
            let port = peer.says("port").await;
            let (scheme, tls, access) = match secure {
                true => ("wss", Some(authority.client()), Access::SameUser),
                false => ("ws", None, Access::Anyone),
            };
            let connect = async |host: &str, tls: Option<Arc<rustls::ClientConfig>>| {
                let url = format!("{scheme}://{host}:{port}/any/path?query");
                let endpoint = Endpoint::url(&url).unwrap();
                A::connect_with(&endpoint, access.clone(), tls, config(Wire::Be32)).await
            };
            let connection = connect("localhost", tls.clone()).await.unwrap();
            assert_eq!(connection.recv().await.unwrap().unwrap().payload, "hello");
            for size in [3, 0, 1, 65_536, 200_000] {
                let message: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                connection.send(message.clone()).await.unwrap();
                let mut answer = connection.recv().await.unwrap().unwrap().payload.to_vec();
                answer.reverse();
                assert!(answer == message, "{size}");
            }
            connection.finish().await.unwrap();
            assert_eq!(peer.says("code").await, 1000);
            if secure {
                let refused = |result: Result<A::Connection, Error>| {
                    matches!(result, Err(Error::WebSocket(WebSocketError::Tls { .. })))
                };
                assert!(refused(
                    connect("localhost", Some(Authority::new().client())).await
                ));
                assert!(refused(connect("127.0.0.1", tls).await));
            }
        }
    })
    .await;
}

async fn its_client_talks_to_the_adapter<A: Adapter>() {
    if !there_is_python_with("websockets") {
        return;
    }
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("authority.der");
    std::fs::write(&trusted, authority.certificate()).unwrap();
    let mut tls = Arc::unwrap_or_clone(authority.server("localhost"));
    // Tickets make the client's socket readable without a message. Python's thread that reads then
    // waits inside OpenSSL, while another writes there, and the request may be lost.
    tls.send_tls13_tickets = 0;
    within(async {
        for (scheme, tls) in [("ws", None), ("wss", Some(Arc::new(tls)))] {
            let anywhere = Endpoint::url(&format!("{scheme}://127.0.0.1:0/app")).unwrap();
            let mut listener =
                A::bind_with(&anywhere, Access::Anyone, tls, config(Wire::Le32)).unwrap();
            let port = listener.address().as_url().unwrap().port();
            let url = format!("{scheme}://localhost:{port}/app");
            let mut arguments = vec!["client", url.as_str()];
            if scheme == "wss" {
                arguments.push(trusted.to_str().unwrap());
            }
            let mut peer = Peer::start(&arguments);
            let connection = listener.accept().await.unwrap();
            for expected in [&b"one"[..], b"two", b"", &[0; 200_000], b"text"] {
                let message = connection.recv().await.unwrap().unwrap();
                assert!(message.payload == expected, "{}", expected.len());
            }
            assert_eq!(peer.says("pong").await, true);
            for size in [2usize, 0, 200_000] {
                connection.send(vec![0xab; size]).await.unwrap();
                assert_eq!(peer.says("length").await, size);
            }
            connection.finish().await.unwrap();
            assert_eq!(peer.says("code").await, 1000);
        }
    })
    .await;
}
