//! Peers that do not keep to WebSockets: what they get, by hand.

use sealpipe_core::Wire;
use sealpipe_driver::{
    Error, ListenOptions,
    vocabulary::{
        Access, AckLevel, Config, ConnectionError, Endpoint, EndpointError, Lost, Message, Outcome,
        Url,
    },
};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    on_every_adapter,
    websocket::{
        ask, frame, head,
        opcode::{BINARY, CLOSE, CONTINUE, PING, PONG, TEXT},
        open, read_frame, request,
    },
    within,
};
use std::{collections::HashSet, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FIN: u8 = 0x80;
const MAX: usize = 100_000;

on_every_adapter! {
    messages_come_however_they_are_framed,
    pings_are_answered_and_the_goodbye_too,
    what_breaks_the_rules_is_closed_with_the_reason,
    a_stream_that_is_cut_is_a_loss,
    a_goodbye_with_an_error_is_a_loss,
    a_native_peer_is_sent_no_text,
    a_reader_that_is_slow_slows_its_sender,
    silent_clients_hold_up_nobody,
}

/// A listener for bare messages, and where it is.
fn listen<A: Adapter>() -> (A::Listener, Url) {
    let config = Config::plain().wire(Wire::Be32).max_message(MAX);
    let config = config.handshake_timeout(Duration::from_millis(300));
    let endpoint = Endpoint::url("ws://127.0.0.1:0/app").unwrap();
    let listener = A::bind_with(&endpoint, Access::Anyone, None, config.build().unwrap()).unwrap();
    let url = listener.address().as_url().unwrap().clone();
    (listener, url)
}

async fn messages_come_however_they_are_framed<A: Adapter>() {
    within(async {
        let (mut listener, url) = listen::<A>();
        let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
        let connection = connection.unwrap();
        let mut bytes = frame(FIN | BINARY, b"one");
        bytes.extend(frame(BINARY, b"t"));
        // Control frames may stand between the fragments of a message.
        bytes.extend(frame(FIN | PING, b"?"));
        bytes.extend(frame(CONTINUE, b"w"));
        bytes.extend(frame(FIN | CONTINUE, b"o"));
        bytes.extend(frame(FIN | BINARY, b""));
        bytes.extend(frame(FIN | TEXT, b"text"));
        // Byte by byte, as the network may have it.
        let sending = async {
            for byte in bytes {
                peer.write_all(&[byte]).await.unwrap();
                peer.flush().await.unwrap();
            }
        };
        let receiving = async {
            for expected in ["one", "two", "", "text"] {
                let message = connection.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, expected);
            }
        };
        tokio::join!(sending, receiving);
        connection.send("back").await.unwrap();
        let mut got = HashSet::new();
        for _ in 0..2 {
            got.insert(read_frame(&mut peer).await.unwrap());
        }
        let expected = [
            (FIN | PONG, b"?".to_vec()),
            (FIN | BINARY, b"back".to_vec()),
        ];
        assert_eq!(got, HashSet::from(expected));
    })
    .await;
}

async fn pings_are_answered_and_the_goodbye_too<A: Adapter>() {
    within(async {
        let (mut listener, url) = listen::<A>();
        let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
        let connection = connection.unwrap();
        // Nobody receives: the background answers.
        peer.write_all(&frame(FIN | PING, b"there?")).await.unwrap();
        let pong = read_frame(&mut peer).await.unwrap();
        assert_eq!(pong, (FIN | PONG, b"there?".to_vec()));
        let goodbye = [
            frame(FIN | BINARY, b"last"),
            frame(FIN | CLOSE, &1000u16.to_be_bytes()),
        ];
        peer.write_all(&goodbye.concat()).await.unwrap();
        assert_eq!(connection.recv().await.unwrap().unwrap().payload, "last");
        assert!(connection.recv().await.unwrap().is_none());
        let (first, code) = read_frame(&mut peer).await.unwrap();
        assert_eq!(
            (first, &code[..2]),
            (FIN | CLOSE, &1000u16.to_be_bytes()[..])
        );
        connection.finish().await.unwrap();
        assert!(read_frame(&mut peer).await.is_none());
    })
    .await;
}

async fn what_breaks_the_rules_is_closed_with_the_reason<A: Adapter>() {
    const PROTOCOL: u16 = 1002;
    const POLICY: u16 = 1008;
    const SIZE: u16 = 1009;
    let unmasked = [&[FIN | BINARY, 1][..], b"x"].concat();
    let too_long = |first| head(first, MAX as u64 + 1);
    let half = frame(BINARY, &[0; MAX / 2 + 1]);
    let rest = frame(CONTINUE, &[0; MAX / 2 + 1]);
    let flood = frame(FIN | PING, b"").repeat(5_000);
    let mut hollow = frame(BINARY, b"x");
    hollow.extend(frame(CONTINUE, b"").repeat(1_000_000));
    for (what, bytes, code) in [
        ("a length that is too large", too_long(FIN | BINARY), SIZE),
        (
            "the largest length",
            head(FIN | BINARY, u64::MAX >> 1),
            SIZE,
        ),
        ("fragments that are too large", [half, rest].concat(), SIZE),
        ("no mask", unmasked, PROTOCOL),
        ("an unknown opcode", frame(FIN | 3, b""), PROTOCOL),
        ("a reserved bit", frame(FIN | 0x40 | BINARY, b"x"), PROTOCOL),
        (
            "a fragment of nothing",
            frame(FIN | CONTINUE, b"x"),
            PROTOCOL,
        ),
        ("a long ping", frame(FIN | PING, &[0; 126]), PROTOCOL),
        ("a flood of pings", flood, POLICY),
        ("a flood of fragments", hollow, POLICY),
    ] {
        within(async {
            let (mut listener, url) = listen::<A>();
            let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
            let connection = connection.unwrap();
            let (mut read, mut write) = peer.split();
            let sending = async {
                // The other side may have closed before all is sent.
                let _ = write.write_all(&bytes).await;
            };
            let receiving = connection.recv();
            let mut answer = Vec::new();
            let answered = async {
                // A reset takes away what was not read: then there is no telling.
                let _ = read.read_to_end(&mut answer).await;
            };
            let (_, received, ()) = tokio::join!(sending, receiving, answered);
            received.unwrap_err();
            assert!(!connection.is_connected(), "{what}");
            let goodbye = answer
                .windows(4)
                .any(|bytes| bytes[0] == FIN | CLOSE && bytes[2..] == code.to_be_bytes());
            // With much unread the system resets the stream, and the reason may be lost.
            assert!(goodbye || what.starts_with("a flood"), "{what}: {answer:?}");
        })
        .await;
    }
}

async fn a_stream_that_is_cut_is_a_loss<A: Adapter>() {
    within(async {
        // In the middle of a frame: nothing of it is shown.
        let (mut listener, url) = listen::<A>();
        let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
        let connection = connection.unwrap();
        let mut bytes = frame(FIN | BINARY, b"whole");
        bytes.extend(head(FIN | BINARY, 10));
        bytes.extend(b"cut");
        peer.write_all(&bytes).await.unwrap();
        drop(peer);
        assert_eq!(connection.recv().await.unwrap().unwrap().payload, "whole");
        let error = connection.recv().await.unwrap_err();
        assert!(
            matches!(error, Error::Connection(ConnectionError::Lost(_))),
            "{error}"
        );

        // A native peer that goes without a word is lost, goodbye of the WebSocket or not.
        let endpoint = Endpoint::url("ws://127.0.0.1:0/").unwrap();
        let config = Config::default();
        let mut listener = A::bind_with(&endpoint, Access::Anyone, None, config.clone()).unwrap();
        let url = listener.address().as_url().unwrap().clone();
        let endpoint = Endpoint::url(&url.to_string()).unwrap();
        let (client, server) = tokio::join!(
            A::connect_with(&endpoint, Access::Anyone, None, config),
            listener.accept()
        );
        let (client, server) = (client.unwrap(), server.unwrap());
        drop(client);
        assert!(!matches!(server.recv().await, Ok(Some(_))));
    })
    .await;
}

async fn a_goodbye_with_an_error_is_a_loss<A: Adapter>() {
    within(async {
        for (code, orderly) in [(1001u16, true), (1002, false), (1011, false), (4000, false)] {
            let (mut listener, url) = listen::<A>();
            let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
            let connection = connection.unwrap();
            let goodbye = [
                frame(FIN | BINARY, b"last"),
                frame(FIN | CLOSE, &code.to_be_bytes()),
            ];
            peer.write_all(&goodbye.concat()).await.unwrap();
            assert_eq!(connection.recv().await.unwrap().unwrap().payload, "last");
            assert_eq!(connection.recv().await.is_ok(), orderly, "{code}");
        }
    })
    .await;
}

async fn a_native_peer_is_sent_no_text<A: Adapter>() {
    within(async {
        let endpoint = Endpoint::url("ws://127.0.0.1:0/").unwrap();
        let config = Config::default();
        let mut listener = A::bind_with(&endpoint, Access::Anyone, None, config).unwrap();
        let url = listener.address().as_url().unwrap().clone();
        let mut peer = open(&url).await;
        peer.write_all(&frame(FIN | TEXT, b"hello")).await.unwrap();
        // Its own preface may come first.
        let mut seen = Vec::new();
        while let Some((first, payload)) = read_frame(&mut peer).await {
            seen.push(first);
            if first == FIN | CLOSE {
                assert_eq!(payload[..2], 1003u16.to_be_bytes());
            }
        }
        assert_eq!(seen.last(), Some(&(FIN | CLOSE)));
        drop(listener.accept());
    })
    .await;
}

async fn a_reader_that_is_slow_slows_its_sender<A: Adapter>() {
    within(async {
        let (mut listener, url) = listen::<A>();
        let (mut peer, connection) = tokio::join!(open(&url), listener.accept());
        let connection = connection.unwrap();
        // More than the buffers of the system and the queue hold.
        let mut sent = 0u32;
        while connection.try_send(Message::new(vec![1; MAX])).is_ok() {
            sent += 1;
            assert!(sent < 10_000, "there is no limit");
            tokio::task::yield_now().await;
        }
        for _ in 0..sent {
            let (first, payload) = read_frame(&mut peer).await.unwrap();
            assert!(first == FIN | BINARY && payload.len() == MAX);
        }
        let message = Message::new("there is room").with_ack(AckLevel::None);
        assert_eq!(connection.send(message).await.unwrap(), Outcome::Sent);
        let (_, payload) = read_frame(&mut peer).await.unwrap();
        assert_eq!(payload, b"there is room");
    })
    .await;
}

async fn silent_clients_hold_up_nobody<A: Adapter>() {
    within(async {
        let (mut listener, url) = listen::<A>();
        let mut silent = Vec::new();
        for part in ["", "GET /app HTTP/1.1\r\n"] {
            let mut stream = tokio::net::TcpStream::connect((url.host(), url.port()))
                .await
                .unwrap();
            stream.write_all(part.as_bytes()).await.unwrap();
            silent.push(stream);
        }
        let (peer, connection) = tokio::join!(open(&url), listener.accept());
        drop((peer, connection.unwrap()));
        // The time for a handshake is theirs, and no more.
        for mut stream in silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_asks_for_something_else_is_told_so() {
    within(async {
        let (_listener, url) = listen::<sealpipe_tokio::Tokio>();
        let wrong = request(&url, "").replace("/app", "/other");
        let (_, answer) = ask(&url, &wrong).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        let (_, answer) = ask(&url, "no request at all\r\n\r\n").await;
        assert!(!answer.contains("101"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_web_page_is_let_in_only_by_name() {
    within(async {
        let config = Config::plain().wire(Wire::Be32).build().unwrap();
        let options = ListenOptions::<sealpipe_tokio::Tokio>::new(config)
            .access(Access::Anyone)
            .origins(["https://own.example"]);
        let listener = options
            .bind(&Endpoint::url("ws://127.0.0.1:0/").unwrap())
            .unwrap();
        let url = listener.address().as_url().unwrap().clone();
        for (origin, status) in [
            ("https://own.example", "101"),
            ("https://own.example.evil", "403"),
            ("null", "403"),
        ] {
            let asked = request(&url, &format!("Origin: {origin}\r\n"));
            let (_, answer) = ask(&url, &asked).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_no_websocket_is_told_from_one() {
    use sealpipe_driver::vocabulary::WebSocketError;
    within(async {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let endpoint = Endpoint::url(&format!("ws://127.0.0.1:{port}/")).unwrap();
        let config = Config::plain().handshake_timeout(Duration::from_millis(200));
        let config = config.build().unwrap();
        let connect = async || {
            let options = sealpipe_tokio::ConnectOptions::new(config.clone());
            let options = options.server(Access::Anyone).attempts(1);
            options.connect(&endpoint).await.unwrap_err()
        };
        let answer = async |text: &str| {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        };
        let (error, ()) = tokio::join!(connect(), answer("HTTP/1.1 404 Not Found\r\n\r\n"));
        assert!(
            matches!(
                error,
                Error::WebSocket(WebSocketError::Status { status: 404, .. })
            ),
            "{error}"
        );
        let (error, ()) = tokio::join!(connect(), answer("SSH-2.0-OpenSSH\r\n\r\n"));
        assert!(
            matches!(error, Error::WebSocket(WebSocketError::Handshake { .. })),
            "{error}"
        );
        let (error, ()) = tokio::join!(connect(), answer(""));
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        let answered = answer("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let (error, ()) = tokio::join!(connect(), answered);
        assert!(
            matches!(error, Error::Endpoint(EndpointError::Busy { .. })),
            "{error}"
        );
        let leaves = async { drop(server.accept().await.unwrap()) };
        let (error, ()) = tokio::join!(connect(), leaves);
        assert!(
            matches!(error, Error::Connection(ConnectionError::Lost(_))),
            "{error}"
        );
    })
    .await;
}

/// As a server's program does that is killed with clients still in its queue.
#[tokio::test]
async fn a_server_that_resets_its_clients_is_one_that_ends() {
    const CLIENTS: usize = 300;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let server = server.into_std().unwrap();
    // A thread of its own: it may be faster than a client that is still connecting.
    let resets = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        runtime.unwrap().block_on(async {
            let server = tokio::net::TcpListener::from_std(server).unwrap();
            for _ in 0..CLIENTS {
                let (stream, _) = server.accept().await.unwrap();
                stream.set_zero_linger().unwrap();
            }
        });
    });
    within(async {
        let endpoint = Endpoint::url(&format!("ws://127.0.0.1:{port}/")).unwrap();
        for _ in 0..CLIENTS {
            let options = sealpipe_tokio::ConnectOptions::new(Config::default());
            let options = options.server(Access::Anyone).attempts(1);
            let error = options.connect(&endpoint).await.unwrap_err();
            let silent = ConnectionError::Lost(Lost::Silent);
            assert_eq!(error.connection(), Some(&silent), "{error}");
        }
    })
    .await;
    resets.join().unwrap();
}
