//! Connections over WebSockets, on every adapter.

use sealpipe_driver::{
    Error,
    vocabulary::{
        Access, AckLevel, Config, Endpoint, EndpointError, Message, Outcome, WebSocketError,
    },
};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    key, modes, on_every_adapter, talk, within,
};

on_every_adapter! {
    everything_goes_over_a_websocket,
    a_stream_that_nothing_protects_is_to_be_asked_for,
    where_nobody_listens_there_is_no_server;
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
                    assert!(message.payload.len() == SIZE && message.payload.iter().all(|&byte| byte == others));
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
    let error = A::connect(&anywhere(), Config::default()).await.unwrap_err();
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
                Error::Connection(_) | Error::WebSocket(_) | Error::Io { .. } => tokio::task::yield_now().await,
                error => panic!("{error}"),
            }
        }
    })
    .await;
}
