//! The second implementation, in Python, written from PROTOCOL.md: it talks to
//! the adapter both ways, in both modes, and does harm on purpose.
//!
//! Run by the interpreter in `SEALPIPE_TEST_PYTHON`, else by `python3`. Where that
//! is missing, or for sealed mode its package `cryptography`, a test says that it
//! was skipped; with the variable set it fails instead.
//!
//! Unix only: the peer speaks over Unix sockets.
#![cfg(unix)]

use sealpipe_driver::{
    SendError,
    vocabulary::{
        AckLevel, Config, ConfigBuilder, ConnectionError, Key, Message, Mismatch, Outcome,
        Rejection,
    },
};
use sealpipe_tests::{
    Adapter, Place,
    api::{Connection, Listener},
    place,
    python::{hex, peer, texts, there_is_python},
    within,
};
use std::time::Duration;
use tokio::process::Child;

sealpipe_tests::on_every_adapter! {
    it_sends_to_the_adapter,
    the_adapter_sends_to_it_and_hears_the_echo,
    both_send_at_once,
    mismatches_are_told_at_both_ends,
    the_harm_that_it_does_is_caught,
}

const LIMIT: Duration = Duration::from_secs(20);
const KEY: [u8; 32] = *b"the key of both implementations!";

/// For each mode that can be run: its configuration, and the arguments for it.
fn modes() -> Vec<(ConfigBuilder, Vec<String>)> {
    let mut modes = Vec::new();
    if there_is_python(false) {
        modes.push((Config::plain(), Vec::new()));
        if there_is_python(true) {
            modes.push((
                Config::sealed(Key::from_bytes(KEY)),
                vec![String::from("--key"), hex(&KEY)],
            ));
        }
    }
    modes
}

fn with<'a>(fixed: &[&'a str], mode: &'a [String]) -> Vec<&'a str> {
    fixed
        .iter()
        .copied()
        .chain(mode.iter().map(String::as_str))
        .collect()
}

fn address(place: &Place) -> String {
    place.endpoint.to_string()
}

async fn it_sends_to_the_adapter<R: Adapter>() {
    for (builder, mode) in modes() {
        let config = builder.build().unwrap();
        for (level, size) in [
            ("none", None),
            ("received", None),
            ("processed", None),
            ("processed", Some(0)),
            ("processed", Some(1_000_000)),
        ] {
            within(async {
                let place = place();
                let address = address(&place);
                let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
                let size = size.map(|size: usize| (size, size.to_string()));
                let arguments = match &size {
                    Some((_, text)) => vec!["--size", text, "--count", "3"],
                    None => vec!["one", "two", "three"],
                };
                let arguments = [&["send", &address], &arguments[..], &["--ack", level]].concat();
                let client = peer(&with(&arguments, &mode)).output();
                let server = async {
                    let server = listener.accept().await.unwrap();
                    let mut payloads = Vec::new();
                    while let Some(message) = server.recv().await.unwrap() {
                        payloads.push(message.payload.clone());
                        message.accept();
                    }
                    server.finish().await.unwrap();
                    payloads
                };
                let (output, payloads) = tokio::join!(client, server);
                let output = output.unwrap();
                let (out, err) = texts(&output);
                assert!(output.status.success(), "{level}: {out}{err}");
                match size {
                    None => assert_eq!(payloads, ["one", "two", "three"]),
                    Some((size, _)) => {
                        let wanted: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
                        assert_eq!(payloads.len(), 3);
                        assert!(payloads.iter().all(|payload| *payload == wanted));
                    }
                }
                let counted = match level {
                    "none" => "sent 3 received 0 processed 0 rejected 0",
                    "received" => "sent 3 received 3 processed 0 rejected 0",
                    _ => "sent 3 received 0 processed 3 rejected 0",
                };
                assert!(out.contains(counted), "{level}: {out}");
            })
            .await;
        }
    }
}

/// Starts it as a server, once it can be connected to.
async fn listening(place: &Place, arguments: &[&str], mode: &[String]) -> Child {
    let address = address(place);
    let arguments = [&["listen", &address], arguments].concat();
    peer(&with(&arguments, mode)).spawn().unwrap()
}

async fn the_adapter_sends_to_it_and_hears_the_echo<R: Adapter>() {
    for (builder, mode) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let server = listening(&place, &["--echo", "--reject", "not this"], &mode).await;
            let client = R::connect_within(LIMIT, true, &place.endpoint, config)
                .await
                .unwrap();
            for (level, wanted) in [
                (AckLevel::None, Outcome::Sent),
                (AckLevel::Received, Outcome::Received),
                (AckLevel::Processed, Outcome::Processed),
            ] {
                for size in [0, 1, 5_000, 70_000, 1_000_000] {
                    let message = Message::new(vec![b'x'; size]).with_ack(level);
                    let (sent, echo) = tokio::join!(client.send(message), client.recv());
                    assert_eq!(sent.unwrap(), wanted);
                    assert!(echo.unwrap().unwrap().payload == vec![b'x'; size]);
                }
            }
            let message = Message::new("not this").with_ack(AckLevel::Processed);
            let rejected = client.send(message).await.unwrap_err();
            let SendError::Rejected(rejection) = rejected else {
                panic!("{rejected}")
            };
            assert_eq!(rejection, Rejection::new(300, "no thanks"));
            assert!(client.recv().await.unwrap().is_some());
            client.ping().await.unwrap();
            client.finish().await.unwrap();
            let output = server.wait_with_output().await.unwrap();
            let (out, err) = texts(&output);
            assert!(output.status.success(), "{err}");
            assert_eq!(out.lines().count(), 16);
        })
        .await;
    }
}

async fn both_send_at_once<R: Adapter>() {
    for (builder, mode) in modes() {
        let config = builder
            .max_message(1 << 20)
            .receive_window(1 << 20, 8)
            .build()
            .unwrap();
        within(async {
            let place = place();
            let address = address(&place);
            let mut listener = R::bind(&place.endpoint, config).unwrap();
            let arguments = [
                "send",
                &address,
                "--size",
                "50000",
                "--count",
                "40",
                "--expect-reply",
            ];
            let client = peer(&with(&arguments, &mode)).output();
            let server = async {
                let server = listener.accept().await.unwrap();
                while let Some(message) = server.recv().await.unwrap() {
                    server.send(message.payload.clone()).await.unwrap();
                    message.accept();
                }
                server.finish().await.unwrap();
            };
            let (output, ()) = tokio::join!(client, server);
            let (out, err) = texts(output.as_ref().unwrap());
            assert!(output.unwrap().status.success(), "{out}{err}");
            assert!(
                out.contains("sent 40 received 0 processed 40 rejected 0"),
                "{out}"
            );
        })
        .await;
    }
}

async fn mismatches_are_told_at_both_ends<R: Adapter>() {
    if !there_is_python(true) {
        return;
    }
    let key = |byte: u8| Config::sealed(Key::from_bytes([byte; 32])).build().unwrap();
    let other = hex(&[2; 32]);
    within(async {
        for (config, arguments) in [
            (key(1), vec!["--key", &other]),
            (key(1), vec![]),
            (Config::default(), vec!["--key", &other]),
        ] {
            let place = place();
            let path = address(&place);
            let listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let arguments = [&["send", path.as_str(), "hello"], &arguments[..]].concat();
            let output = peer(&arguments).output().await.unwrap();
            assert_eq!(output.status.code(), Some(4), "{:?}", texts(&output));
            drop(listener);
            let place = self::place();
            let server = listening(&place, &arguments[3..], &[]).await;
            let error = R::connect_within(LIMIT, true, &place.endpoint, config)
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error.connection(),
                    Some(ConnectionError::Mismatch(
                        Mismatch::Key { .. } | Mismatch::Mode { .. }
                    ))
                ),
                "{error}"
            );
            let output = server.wait_with_output().await.unwrap();
            assert_eq!(output.status.code(), Some(4), "{:?}", texts(&output));
        }
    })
    .await;
}

async fn the_harm_that_it_does_is_caught<R: Adapter>() {
    for (builder, mode) in modes() {
        let sealed = !mode.is_empty();
        let config = builder
            .max_message(64 << 10)
            .receive_window(128 << 10, 32)
            .record_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        // What the adapter says of it: the code of its CLOSE, in sealed mode and in
        // plain; `None` where the stream just ends.
        for (name, in_sealed, in_plain) in [
            ("replay", Some(5), Some(2)),
            ("flip", Some(5), Some(2)),
            ("truncate", None, None),
            ("huge", Some(3), Some(3)),
            ("garbage", Some(5), Some(2)),
            ("flood", Some(7), Some(7)),
            ("stall", Some(4), Some(4)),
            ("nocredit", Some(3), Some(3)),
            ("reorder", Some(5), Some(2)),
            ("reflect", Some(5), Some(2)),
        ] {
            within(async {
                let place = place();
                let address = address(&place);
                let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
                let arguments = ["send", &address, "--hostile", name];
                let client = peer(&with(&arguments, &mode)).output();
                let server = async {
                    let server = listener.accept().await.unwrap();
                    let mut delivered = 0;
                    loop {
                        match server.recv().await {
                            Ok(Some(message)) => {
                                delivered += 1;
                                // Neither accepted nor rejected: no credit comes back.
                                std::mem::forget(message);
                            }
                            Ok(None) => panic!("{name}: taken for an orderly end"),
                            Err(error) => break (delivered, error),
                        }
                    }
                };
                let (output, (delivered, error)) = tokio::join!(client, server);
                let (out, err) = texts(&output.unwrap());
                let most = match name {
                    "replay" => 1,
                    "nocredit" => 32,
                    "reorder" | "flip" if sealed => 0,
                    _ => 0,
                };
                assert!(delivered <= most, "{name}: {delivered} delivered");
                println!("{name}: {error} | {out}{err}");
                match if sealed { in_sealed } else { in_plain } {
                    Some(code) => assert!(
                        out.contains(&format!("closed {code}")),
                        "{name}: {error}; the peer says: {out}{err}"
                    ),
                    None => assert!(
                        matches!(error.connection(), Some(ConnectionError::Lost(_))),
                        "{name}: {error}"
                    ),
                }
            })
            .await;
        }
    }
}
