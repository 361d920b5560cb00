//! Connections over WebSockets, on every adapter.

use sealpipe_core::Wire;
use sealpipe_driver::{
    Error, SendError,
    vocabulary::{
        Access, AckLevel, Config, Endpoint, EndpointError, Message, Outcome, SendErrorReason,
        WebSocketError,
    },
};
use sealpipe_tests::{
    Adapter, Authority,
    api::{Connection, Listener},
    key, modes, on_every_adapter, talk, within,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

on_every_adapter! {
    everything_goes_over_a_websocket,
    a_stream_that_nothing_protects_is_to_be_asked_for,
    where_nobody_listens_there_is_no_server,
    messages_of_a_wire_with_lengths_are_those_of_the_websocket,
    tls_needs_a_certificate_that_is_trusted_and_the_hosts,
    a_listener_uses_the_certificate_that_it_is_given,
    a_request_may_come_with_the_end_of_the_tls_handshake,
    a_wire_of_lines_does_not_go_over_a_websocket,
    a_session_goes_on_over_another_websocket;
    on two threads: large_messages_go_both_ways_at_once
}

/// A port of its own on this machine.
fn anywhere() -> Endpoint {
    Endpoint::url("ws://127.0.0.1:0/app").unwrap()
}

fn endpoint_of(listener: &impl Listener) -> Endpoint {
    listener.address().to_string().parse().unwrap()
}

/// Two ends: the client, the server.
async fn connected<A: Adapter>(client: Config, server: Config) -> (A::Connection, A::Connection) {
    let mut listener = A::bind_with(&anywhere(), Access::Anyone, None, server).unwrap();
    let endpoint = endpoint_of(&listener);
    let (client, server) = tokio::join!(
        A::connect_with(&endpoint, Access::Anyone, None, client),
        listener.accept()
    );
    (client.unwrap(), server.unwrap())
}

async fn everything_goes_over_a_websocket<A: Adapter>() {
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b) = connected::<A>(config.clone(), config).await;
            assert!(a.peer().is_none() && b.peer().is_none());
            assert_eq!(a.handshake_hash(), b.handshake_hash());
            a.ping().await.unwrap();
            talk(&a, &b).await;
        })
        .await;
    }
}

async fn large_messages_go_both_ways_at_once<A: Adapter>() {
    const SIZE: usize = 3 << 20;
    let config = Config::sealed(key(1)).build().unwrap();
    within(async {
        let (a, b) = connected::<A>(config.clone(), config).await;
        let side = async |side: &A::Connection, own: u8, others: u8| {
            let sends = async {
                for _ in 0..4 {
                    let message = Message::new(vec![own; SIZE]).with_ack(AckLevel::Received);
                    assert_eq!(side.send(message).await.unwrap(), Outcome::Received);
                }
            };
            let receives = async {
                for _ in 0..4 {
                    let message = side.recv().await.unwrap().unwrap();
                    assert!(
                        message.payload.len() == SIZE
                            && message.payload.iter().all(|&byte| byte == others)
                    );
                }
            };
            tokio::join!(sends, receives);
        };
        tokio::join!(side(&a, 1, 2), side(&b, 2, 1));
    })
    .await;
}

async fn a_stream_that_nothing_protects_is_to_be_asked_for<A: Adapter>() {
    let unprotected = |error: &Error| {
        matches!(error, Error::WebSocket(WebSocketError::Unprotected { .. }))
            && error.to_string().contains("Access::Anyone")
    };
    let error = A::bind(&anywhere(), Config::default()).unwrap_err();
    assert!(unprotected(&error), "{error}");
    let error = A::connect(&anywhere(), Config::default())
        .await
        .unwrap_err();
    assert!(unprotected(&error), "{error}");
}

async fn where_nobody_listens_there_is_no_server<A: Adapter>() {
    let config = Config::sealed(key(1)).build().unwrap();
    let listener = A::bind(&anywhere(), config.clone()).unwrap();
    let endpoint = endpoint_of(&listener);
    drop(listener);
    within(async {
        loop {
            // The accepting task may not have let go of the socket yet.
            let error = A::connect(&endpoint, config.clone()).await.unwrap_err();
            match error {
                Error::Endpoint(EndpointError::NotFound { .. }) => {
                    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
                    return;
                }
                Error::Connection(_) | Error::WebSocket(_) | Error::Io { .. } => {
                    tokio::task::yield_now().await
                }
                error => panic!("{error}"),
            }
        }
    })
    .await;
}

async fn messages_of_a_wire_with_lengths_are_those_of_the_websocket<A: Adapter>() {
    let wires = [
        Config::plain().wire(Wire::Be32),
        Config::plain().wire(Wire::Le32),
        Config::sealed(key(3)).wire(Wire::LegacySealed),
    ];
    for builder in wires {
        let config = builder.max_message(300_000).build().unwrap();
        within(async {
            let (a, b) = connected::<A>(config.clone(), config).await;
            for (from, to) in [(&a, &b), (&b, &a)] {
                for size in [1, 0, 300_000, 5] {
                    let (sent, ()) = tokio::join!(from.send(vec![7; size]), async {
                        assert_eq!(to.recv().await.unwrap().unwrap().payload, vec![7; size]);
                    });
                    assert_eq!(sent.unwrap(), Outcome::Sent);
                }
                assert!(matches!(
                    from.send(vec![7; 300_001]).await,
                    Err(SendError::NotTaken {
                        reason: SendErrorReason::TooLarge { .. },
                        ..
                    })
                ));
            }
            assert!(a.try_send("the last").is_ok());
            let (finished, ()) = tokio::join!(a.finish(), async {
                assert_eq!(b.recv().await.unwrap().unwrap().payload, "the last");
                assert!(b.recv().await.unwrap().is_none());
                b.finish().await.unwrap();
            });
            finished.unwrap();
        })
        .await;
    }
}

/// As where the machine is busy: what the client writes one after the other is read at once.
async fn a_request_may_come_with_the_end_of_the_tls_handshake<A: Adapter>() {
    within(async {
        let authority = Authority::new();
        let somewhere = Endpoint::url("wss://127.0.0.1:0/app").unwrap();
        let config = Config::default();
        let tls = Some(authority.server("localhost"));
        let mut listener = A::bind_with(&somewhere, Access::Anyone, tls, config.clone()).unwrap();
        let server = listener.address().as_url().unwrap().port();
        let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = between.local_addr().unwrap().port();
        let relay = async {
            let (client, _) = between.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            server.set_nodelay(true).unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let answers = tokio::io::copy(&mut from_server, &mut to_client);
            let requests = async {
                to_server
                    .write_all(&record(&mut from_client).await)
                    .await
                    .unwrap();
                let (mut held, mut sealed) = (Vec::new(), 0);
                while sealed < 2 {
                    let next = record(&mut from_client).await;
                    sealed += usize::from(next[0] == SEALED);
                    held.extend(next);
                }
                to_server.write_all(&held).await.unwrap();
                tokio::io::copy(&mut from_client, &mut to_server).await
            };
            let _ = tokio::join!(answers, requests);
            // Both have said their goodbye.
            std::future::pending::<()>().await;
        };
        let talk = async {
            let endpoint = Endpoint::url(&format!("wss://localhost:{port}/app")).unwrap();
            let tls = Some(authority.client());
            let (client, server) = tokio::join!(
                A::connect_with(&endpoint, Access::Anyone, tls, config),
                listener.accept()
            );
            talk(&client.unwrap(), &server.unwrap()).await;
        };
        tokio::select! {
            () = talk => {}
            () = relay => {}
        }
    })
    .await;
}

/// The type of TLS's records that are sealed (RFC 8446, 5.1).
const SEALED: u8 = 23;

/// The next record of TLS, whole.
async fn record(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await.unwrap();
    let mut record = head.to_vec();
    record.resize(5 + usize::from(u16::from_be_bytes([head[3], head[4]])), 0);
    from.read_exact(&mut record[5..]).await.unwrap();
    record
}

async fn a_wire_of_lines_does_not_go_over_a_websocket<A: Adapter>() {
    let lines = || Config::plain().wire(Wire::Base64Lines).build().unwrap();
    let is_wire = |error| matches!(error, Error::WebSocket(WebSocketError::Wire { .. }));
    let bound = A::bind_with(&anywhere(), Access::Anyone, None, lines());
    assert!(is_wire(bound.unwrap_err()));
    let connected = A::connect_with(&anywhere(), Access::Anyone, None, lines()).await;
    assert!(is_wire(connected.unwrap_err()));
}

async fn tls_needs_a_certificate_that_is_trusted_and_the_hosts<A: Adapter>() {
    let (own, other) = (Authority::new(), Authority::new());
    let somewhere = Endpoint::url("wss://127.0.0.1:0/app").unwrap();
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let tls = Some(own.server("localhost"));
            let mut listener =
                A::bind_with(&somewhere, Access::Anyone, tls, config.clone()).unwrap();
            let address = listener.address();
            let port = address.as_url().unwrap().port();
            let connect = async |host: &str, authority: &Authority| {
                let endpoint = Endpoint::url(&format!("wss://{host}:{port}/app")).unwrap();
                // A certificate is checked whoever is acceptable.
                let (tls, access) = (Some(authority.client()), Access::SameUser);
                A::connect_with(&endpoint, access, tls, config.clone()).await
            };
            let (client, server) = tokio::join!(connect("localhost", &own), listener.accept());
            talk(&client.unwrap(), &server.unwrap()).await;
            for (host, authority) in [("localhost", &other), ("127.0.0.1", &own)] {
                let error = connect(host, authority).await.unwrap_err();
                assert!(
                    matches!(&error, Error::WebSocket(WebSocketError::Tls { .. })),
                    "{error}"
                );
                assert!(error.to_string().contains("certificate"), "{error}");
            }
        })
        .await;
    }
}

async fn a_listener_uses_the_certificate_that_it_is_given<A: Adapter>() {
    let config = Config::sealed(key(1)).build().unwrap();
    let bind = |url: &str, tls| {
        let endpoint = Endpoint::url(url).unwrap();
        let error = A::bind_with(&endpoint, Access::SameUser, tls, config.clone()).unwrap_err();
        match error {
            Error::WebSocket(error) => error,
            error => panic!("{error}"),
        }
    };
    let error = bind("wss://127.0.0.1:0", None);
    assert!(
        matches!(error, WebSocketError::NoCertificate { .. }),
        "{error}"
    );
    let tls = Some(Authority::new().server("localhost"));
    let error = bind("ws://127.0.0.1:0", tls);
    assert!(
        matches!(error, WebSocketError::CertificateUnused { .. }),
        "{error}"
    );
    let error = bind("ws://example.invalid:0", None);
    assert!(
        matches!(error, WebSocketError::NotAnAddress { .. }),
        "{error}"
    );
}

/// Hands streams on to a port, and cuts those that there are when it is told to.
async fn cuttable(port: u16) -> (u16, watch::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let (cut, told) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut told = told.clone();
            told.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = told.changed() => {}
                }
            });
        }
    });
    (own, cut)
}

async fn a_session_goes_on_over_another_websocket<A: Adapter>() {
    let config = Config::sealed(key(4)).resumption(true).build().unwrap();
    within(async {
        let mut listener = A::bind(&anywhere(), config.clone()).unwrap();
        let address = listener.address();
        let (port, cut) = cuttable(address.as_url().unwrap().port()).await;
        let endpoint = Endpoint::url(&format!("ws://127.0.0.1:{port}/app")).unwrap();
        let (client, server) =
            tokio::join!(A::connect(&endpoint, config.clone()), listener.accept());
        let (client, server) = (client.unwrap(), server.unwrap());
        for n in 0..5u8 {
            let message = Message::new(vec![n; 1000]).with_ack(AckLevel::Processed);
            let (sent, ()) = tokio::join!(client.send(message), async {
                let message = server.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, vec![n; 1000]);
                message.accept();
            });
            assert_eq!(sent.unwrap(), Outcome::Processed);
            cut.send(()).unwrap();
        }
    })
    .await;
}
