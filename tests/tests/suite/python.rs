//! The second implementation, in Python, written from PROTOCOL.md: it talks to
//! the adapter both ways, in both modes, and does harm on purpose.
//!
//! Run by the interpreter in `SEALPIPE_TEST_PYTHON`, else by `python3`. Where that
//! is missing, or for sealed mode its package `cryptography`, a test says that it
//! was skipped; with the variable set it fails instead.
//!
//! Unix only: the peer speaks over Unix sockets.
#![cfg(unix)]

use futures_util::future::join_all;
use sealpipe_driver::{
    Client, ConnectOptions, Connection as FutureConnection, Handler, Request, RequestError,
    Response, Runtime, SendError, Server, Subscription,
    vocabulary::{
        AckLevel, Config, ConfigBuilder, ConnectionError, Key, Message, Mismatch, Outcome,
        Rejection, RemoteError,
    },
};
use sealpipe_tests::{
    Adapter, Place,
    api::{Connection, Listener},
    place,
    python::{hex, own_tests, peer, texts, there_is_python},
    within,
};
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Child,
};

sealpipe_tests::on_every_adapter! {
    it_sends_to_the_adapter,
    the_adapter_sends_to_it_and_hears_the_echo,
    both_send_at_once,
    mismatches_are_told_at_both_ends,
    the_harm_that_it_does_is_caught,
    ; of futures:
    it_asks_a_server_that_asks_back,
    the_adapter_asks_it,
    it_subscribes_to_a_server,
    the_adapter_subscribes_to_it,
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
                    let mut delivered = Vec::new();
                    loop {
                        match server.recv().await {
                            Ok(Some(message)) => {
                                // Neither accepted nor rejected: no credit comes back.
                                delivered.push(message);
                            }
                            Ok(None) => panic!("{name}: taken for an orderly end"),
                            Err(error) => break (delivered.len(), error),
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

// --- Requests and subscriptions -------------------------------------------------------

struct Answers;

impl<R: Runtime> Handler<R> for Answers {
    async fn request(
        &self,
        client: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        let left = request.time_left().expect("it has set a deadline");
        assert!(left <= LIMIT);
        match &request.payload[..] {
            b"no" => Err(RemoteError::new(700, "no thanks").with_details("why")),
            b"ask back" => match client.request("the server asks", LIMIT).await {
                Ok(reply) => Ok(reply.into()),
                Err(error) => panic!("{error}"),
            },
            _ => Ok(request.payload.clone().into()),
        }
    }
}

async fn it_asks_a_server_that_asks_back<R: Runtime>() {
    for (builder, mode) in modes() {
        within(async {
            let place = place();
            let address = address(&place);
            let config = builder.build().unwrap();
            let _server = Server::<R>::start(&place.endpoint, config, Answers).unwrap();
            let long = "x".repeat(100_000);
            for (texts_, wanted, code) in [
                (
                    &["hello", "ask back", &long][..],
                    format!("{{\"reply\": \"hello\"}}\n{{\"reply\": \"sksa revres eht\"}}\n{{\"reply\": \"{long}\"}}\n"),
                    0,
                ),
                (
                    &["no"][..],
                    String::from(
                        "{\"error\": 700, \"message\": \"no thanks\", \"details\": \"776879\"}\n",
                    ),
                    1,
                ),
            ] {
                let deadline = LIMIT.as_secs().to_string();
                let arguments = [&["request", &address, "--deadline", &deadline], texts_].concat();
                let output = peer(&with(&arguments, &mode)).output().await.unwrap();
                let (out, err) = texts(&output);
                assert_eq!(output.status.code(), Some(code), "{out}{err}");
                assert_eq!(out, wanted, "{err}");
            }
        })
        .await;
    }
}

/// Starts it with `--answer`, and connects to it.
async fn answering<R: Runtime>(
    place: &Place,
    arguments: &[&str],
    (builder, mode): (ConfigBuilder, Vec<String>),
) -> (Child, FutureConnection<R>) {
    let server = listening(place, &[&["--answer"], arguments].concat(), &mode).await;
    let options = ConnectOptions::new(builder.build().unwrap()).timeout(LIMIT);
    let options = options.wait_for_server(true);
    (server, options.connect(&place.endpoint).await.unwrap())
}

/// What it printed, when it has ended well.
async fn printed(server: Child) -> String {
    let output = server.wait_with_output().await.unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    out
}

async fn the_adapter_asks_it<R: Runtime>() {
    for mode in modes() {
        within(async {
            let place = place();
            let (server, client) = answering::<R>(&place, &["--reject", "not this"], mode).await;
            let replies = join_all((0..50).map(|n| client.request(format!("<{n}"), LIMIT))).await;
            for (n, reply) in replies.into_iter().enumerate() {
                let wanted: String = format!("<{n}").chars().rev().collect();
                assert_eq!(reply.unwrap(), wanted);
            }
            match client.request("no", LIMIT).await.unwrap_err() {
                RequestError::Remote(error) => {
                    let wanted = RemoteError::new(300, "no thanks").with_details("no");
                    assert_eq!(error, wanted);
                }
                other => panic!("{other}"),
            }
            match client.request("not this", LIMIT).await.unwrap_err() {
                RequestError::Send(SendError::Rejected(rejection)) => {
                    assert_eq!(rejection, Rejection::new(300, "no thanks"));
                }
                other => panic!("{other}"),
            }
            tokio::select! {
                biased;
                answer = client.request("wait", LIMIT) => panic!("{answer:?}"),
                // It has that one, too, then.
                reply = client.request("behind it", LIMIT) => drop(reply.unwrap()),
            }
            client.finish().await.unwrap();
            let out = printed(server).await;
            assert!(out.contains("{\"cancelled\": 52}"), "{out}");
            let limit = LIMIT.as_millis();
            let left = out.split("\"time_left\": ").skip(1).map(|rest| {
                let (number, _) = rest.split_once('}').unwrap();
                number.parse::<u128>().unwrap()
            });
            assert_eq!(left.filter(|left| (1..=limit).contains(left)).count(), 54);
        })
        .await;
    }
}

async fn it_subscribes_to_a_server<R: Runtime>() {
    for (builder, mode) in modes() {
        within(async {
            let place = place();
            let address = address(&place);
            let config = builder.build().unwrap();
            let server = Server::<R>::start(&place.endpoint, config, Answers).unwrap();
            let arguments = ["subscribe", &address, "jobs/*", "--count", "2"];
            let mut client = peer(&with(&arguments, &mode)).spawn().unwrap();
            let mut out = BufReader::new(client.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).await.unwrap();
            assert_eq!(line, "{\"reply\": \"\"}\n");
            for (topic, text, reached) in [
                ("jobs/7", "begun", 1),
                ("others/7", "begun", 0),
                ("jobs/7", "done", 1),
            ] {
                assert_eq!(server.publish(topic, text).await.unwrap(), reached);
            }
            let mut rest = String::new();
            out.read_to_string(&mut rest).await.unwrap();
            assert!(client.wait().await.unwrap().success(), "{rest}");
            let lines: Vec<&str> = rest.lines().collect();
            assert!(
                lines.len() == 3
                    && lines[0].contains("\"begun\", \"topic\": \"jobs/7\"")
                    && lines[1].contains("\"done\", \"topic\": \"jobs/7\"")
                    && lines[2] == "{\"reply\": \"\"}",
                "{rest}"
            );
            let arguments = ["subscribe", &address, "jobs*"];
            let output = peer(&with(&arguments, &mode)).output().await.unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert!(texts(&output).0.contains("{\"error\": 8"));
        })
        .await;
    }
}

async fn the_adapter_subscribes_to_it<R: Runtime>() {
    async fn next<R: Runtime>(subscription: &mut Subscription<R>) -> (String, String, u64) {
        let event = subscription.recv().await.unwrap().unwrap();
        let text = String::from_utf8(event.payload.to_vec()).unwrap();
        (event.topic().to_owned(), text, event.missed())
    }
    fn event(topic: &str, text: &str) -> (String, String, u64) {
        (topic.to_owned(), text.to_owned(), 2)
    }
    for mode in modes() {
        within(async {
            let place = place();
            let (server, client) = answering::<R>(&place, &["--missed", "2"], mode).await;
            let mut jobs = client.subscribe("jobs/*").await.unwrap();
            let mut all = client.subscribe("**").await.unwrap();
            for text in ["jobs/7 begun", "x y", "jobs/7 done"] {
                client.send(text).await.unwrap();
            }
            assert_eq!(next(&mut jobs).await, event("jobs/7", "begun"));
            assert_eq!(next(&mut jobs).await, event("jobs/7", "done"));
            for (topic, text) in [("jobs/7", "begun"), ("x", "y"), ("jobs/7", "done")] {
                assert_eq!(next(&mut all).await, event(topic, text));
            }
            drop(all);
            client.send("x nobody").await.unwrap();
            client.send("jobs/8 begun").await.unwrap();
            assert_eq!(next(&mut jobs).await, event("jobs/8", "begun"));
            assert!(client.stats().waiting == 0);
            client.finish().await.unwrap();
            let out = printed(server).await;
            assert_eq!(out.matches("subscribe").count(), 3, "{out}");
        })
        .await;
    }
}

#[tokio::test]
async fn its_own_tests_pass() {
    if there_is_python(false) {
        let ended = tokio::time::timeout(LIMIT * 3, own_tests().output());
        let ended = ended.await.expect("they end").unwrap();
        let (_, said) = texts(&ended);
        assert!(ended.status.success(), "{said}");
        assert!(said.contains("Ran "), "{said}");
    }
}
