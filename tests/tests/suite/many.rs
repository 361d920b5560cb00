//! Many clients at once, and clients that are there before their server.

use sealpipe_driver::{
    Error,
    vocabulary::{Access, AckLevel, Config, ConnectionError, Endpoint, Message, Outcome, Status},
};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    modes, place, raw, within,
};
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    clients_wait_for_their_server,
    who_comes_while_all_handshakes_are_taken_is_told_to_come_again,
    who_is_not_accepted_keeps_its_place;
    on two threads: two_hundred_at_once
}

const LIMIT: Duration = Duration::from_secs(20);

async fn two_hundred_at_once<R: Adapter>() {
    const CLIENTS: u32 = 200;
    const EACH: u32 = 5;
    for (_, builder) in modes() {
        // A busy machine under Wine takes its time for so many.
        let config = builder
            .send_timeout(Duration::from_secs(80))
            .build()
            .unwrap();
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|who| {
                    let (endpoint, config) = (place.endpoint.clone(), config.clone());
                    tokio::spawn(async move {
                        let client = R::connect(&endpoint, config).await.unwrap();
                        for n in 0..EACH {
                            let payload = [who.to_be_bytes(), n.to_be_bytes()].concat();
                            let message = Message::new(payload.clone());
                            let (sent, echo) = tokio::join!(
                                client.send(message.with_ack(AckLevel::Processed)),
                                client.recv()
                            );
                            assert_eq!(sent.unwrap(), Outcome::Processed);
                            assert_eq!(echo.unwrap().unwrap().payload, payload);
                        }
                        client.finish().await.unwrap();
                    })
                })
                .collect();
            let mut servers = Vec::new();
            for _ in 0..CLIENTS {
                let server = listener.accept().await.unwrap();
                servers.push(tokio::spawn(async move {
                    while let Some(message) = server.recv().await.unwrap() {
                        server.send(message.payload.clone()).await.unwrap();
                        message.accept();
                    }
                    server.finish().await.unwrap();
                }));
            }
            for task in clients.into_iter().chain(servers) {
                task.await.unwrap();
            }
        })
        .await;
    }
}

async fn clients_wait_for_their_server<R: Adapter>() {
    const CLIENTS: usize = 10;
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let mut waiting = Vec::new();
            for _ in 0..CLIENTS {
                let (endpoint, config) = (place.endpoint.clone(), config.clone());
                let mut client = Box::pin(async move {
                    let client = R::connect_within(LIMIT, true, &endpoint, config)
                        .await
                        .unwrap();
                    client.send("here at last").await.unwrap();
                    client.finish().await.unwrap();
                });
                // It has tried, in vain.
                assert!(futures_util::poll!(client.as_mut()).is_pending());
                waiting.push(tokio::spawn(client));
            }
            // Who does not wait is told at once.
            let refused = R::connect(&place.endpoint, config.clone()).await;
            assert!(refused.is_err());
            let mut listener = R::bind(&place.endpoint, config).unwrap();
            for _ in 0..CLIENTS {
                let server = listener.accept().await.unwrap();
                let message = server.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, "here at last");
                server.finish().await.unwrap();
            }
            for client in waiting {
                client.await.unwrap();
            }
        })
        .await;
    }
}

async fn who_comes_while_all_handshakes_are_taken_is_told_to_come_again<R: Adapter>() {
    for (name, builder) in modes() {
        // A machine that stands still for seconds must not make room.
        let config = builder.handshake_timeout(Duration::from_secs(60));
        let config = config.build().unwrap();
        within(async {
            let place = place();
            let access = Access::SameUser;
            let listener = sealpipe_endpoint::listen(&place.endpoint, &access).unwrap();
            let mut listener = R::listen(listener, 2, config.clone()).unwrap();
            // They take both places, and say nothing.
            let mut silent = Vec::new();
            for _ in 0..2 {
                silent.push(raw::connect_patiently(&place.endpoint).await);
            }
            // Whoever comes right after them may be seen before them.
            while let Some(early) = comes::<R>(name, &place.endpoint, config.clone()).await {
                let accepted = tokio::time::timeout(LIMIT, listener.accept()).await;
                let accepted = accepted.expect("who got in is not accepted");
                drop((accepted.unwrap(), early));
                // The one that was seen after it found no place.
                silent.push(raw::connect_patiently(&place.endpoint).await);
            }
            // They leave, and make room.
            drop(silent);
            let connecting = async {
                let connecting =
                    R::connect_within(LIMIT, cfg!(windows), &place.endpoint, config).await;
                connecting.expect("there is room")
            };
            let accepting = tokio::time::timeout(LIMIT, listener.accept());
            let (client, server) = tokio::join!(connecting, accepting);
            let server = server.expect("who got in is not accepted");
            drop((client, server.unwrap()));
        })
        .await;
    }
}

async fn who_is_not_accepted_keeps_its_place<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let access = Access::SameUser;
            let listener = sealpipe_endpoint::listen(&place.endpoint, &access).unwrap();
            let mut listener = R::listen(listener, 2, config.clone()).unwrap();
            let mut ready = Vec::new();
            for _ in 0..2 {
                ready.push(R::connect(&place.endpoint, config.clone()).await.unwrap());
            }
            let came = comes::<R>(name, &place.endpoint, config.clone()).await;
            assert!(came.is_none(), "there was room");
            // Accepted, they make room; the attempt that was given up may take one place.
            let servers = (
                listener.accept().await.unwrap(),
                listener.accept().await.unwrap(),
            );
            let connecting = R::connect_within(LIMIT, cfg!(windows), &place.endpoint, config);
            drop((connecting.await.unwrap(), servers));
        })
        .await;
    }
}

/// Gets in, or is told to come again.
async fn comes<R: Adapter>(
    name: &str,
    endpoint: &Endpoint,
    config: Config,
) -> Option<R::Connection> {
    let limit = Duration::from_millis(500);
    let error = match R::connect_within(limit, false, endpoint, config).await {
        Ok(connection) => return Some(connection),
        Err(error) => error,
    };
    // Under Wine the pipe may be gone before the client has read why.
    if cfg!(unix) {
        let Error::Timeout {
            last: Some(last), ..
        } = &error
        else {
            panic!("{name}: {error}")
        };
        let busy = ConnectionError::Refused(Status::Busy);
        assert_eq!(last.connection(), Some(&busy), "{name}");
    }
    None
}
