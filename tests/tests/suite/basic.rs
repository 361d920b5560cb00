//! What a user does first.

use sealpipe_driver::vocabulary::{AckLevel, Config, Key, Message, Outcome, Rejection};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    connected, eventually, place, within,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

sealpipe_tests::on_every_adapter! {
    messages_cross_and_get_their_outcomes,
    large_messages_cross_whole,
    a_server_may_greet_first,
    what_is_there_is_taken_without_waiting,
}

fn configs() -> [Config; 2] {
    let key = Key::from_bytes([7; 32]);
    [Config::default(), Config::sealed(key).build().unwrap()]
}

async fn messages_cross_and_get_their_outcomes<R: Adapter>() {
    for config in configs() {
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let client = tokio::spawn({
                let endpoint = place.endpoint.clone();
                async move {
                    let client = R::connect(&endpoint, config).await.unwrap();
                    let sent = client.send("none").await.unwrap();
                    let received = client
                        .send(Message::new("received").with_ack(AckLevel::Received))
                        .await
                        .unwrap();
                    let processed = client
                        .send(Message::new("yes").with_ack(AckLevel::Processed))
                        .await
                        .unwrap();
                    let rejected = client
                        .send(Message::new("no").with_ack(AckLevel::Processed))
                        .await
                        .unwrap_err();
                    client.finish().await.unwrap();
                    (sent, received, processed, rejected.outcome())
                }
            });
            let server = listener.accept().await.unwrap();
            let mut texts = Vec::new();
            while let Some(message) = server.recv().await.unwrap() {
                texts.push(String::from_utf8(message.payload.to_vec()).unwrap());
                if message.payload == "no" {
                    message.reject(Rejection::new(300, "not this one"));
                } else {
                    message.accept();
                }
            }
            assert_eq!(texts, ["none", "received", "yes", "no"]);
            server.finish().await.unwrap();
            let (sent, received, processed, rejected) = client.await.unwrap();
            assert_eq!(
                (sent, received, processed),
                (Outcome::Sent, Outcome::Received, Outcome::Processed)
            );
            assert_eq!(
                rejected,
                Outcome::Rejected(Rejection::new(300, "not this one"))
            );
        })
        .await;
    }
}

async fn large_messages_cross_whole<R: Adapter>() {
    for config in configs() {
        within(async {
            let (a, b) = R::pair(config).await.unwrap();
            for size in [
                0,
                1,
                1_023,
                16_383,
                16_384,
                65_535,
                65_536,
                262_144,
                1 << 20,
                4 << 20,
            ] {
                let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
                let (sent, received) = tokio::join!(a.send(payload.clone()), b.recv());
                sent.unwrap();
                assert!(received.unwrap().unwrap().payload == payload);
            }
        })
        .await;
    }
}

async fn a_server_may_greet_first<R: Adapter>() {
    for config in configs() {
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let (client, server) =
                tokio::join!(R::connect(&place.endpoint, config), listener.accept());
            let (client, server) = (client.unwrap(), server.unwrap());
            let (received, sent) = tokio::join!(client.recv(), server.send("welcome"));
            assert_eq!(received.unwrap().unwrap().payload, "welcome");
            sent.unwrap();
        })
        .await;
    }
}

async fn what_is_there_is_taken_without_waiting<R: Adapter>() {
    for config in configs() {
        within(async {
            let (client, server, _place) = connected::<R>(config.clone(), config).await;
            assert!(server.try_recv().is_none());
            for text in ["one", "two", "three"] {
                client.send(text).await.unwrap();
            }
            let mut texts = Vec::new();
            eventually(SOON, "all three are there", || {
                if let Some(received) = server.try_recv() {
                    texts.push(received.unwrap().unwrap().payload.clone());
                }
                texts.len() == 3
            })
            .await;
            assert_eq!(texts, ["one", "two", "three"]);
            assert!(server.try_recv().is_none());
            let finishing = client.finish();
            let ends = eventually(SOON, "the end is there", || match server.try_recv() {
                Some(end) => {
                    assert!(end.unwrap().is_none());
                    true
                }
                None => false,
            });
            let both = async {
                ends.await;
                server.finish().await.unwrap();
            };
            let (finished, ()) = tokio::join!(finishing, both);
            finished.unwrap();
        })
        .await;
    }
}
