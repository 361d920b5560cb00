//! Other systems' wires, against a program in Python that has nothing of this project:
//! struct, base64 and `cryptography`, both ways.
//!
//! Which interpreter, and when a test is skipped, is said in `python.rs`.
#![cfg(unix)]

use sealpipe_driver::vocabulary::{Config, ConfigBuilder, Key, Wire};
use sealpipe_tests::{
    Adapter,
    api::{Connection, Listener},
    place,
    python::{hex, script, texts, there_is_python},
    within,
};
use tokio::io::{AsyncBufReadExt, BufReader};

sealpipe_tests::on_every_adapter! {
    it_talks_to_the_adapter,
    the_adapter_talks_to_it,
    what_it_repeats_is_taken_again,
}

const KEY: [u8; 32] = *b"the static key of both programs.";
const SIZES: [usize; 7] = [0, 1, 2, 3, 250, 70_000, 1 << 20];

/// Those that can be run: the configuration, and the arguments for the program.
fn wires() -> Vec<(Config, Vec<String>)> {
    let plain = [Wire::Le32, Wire::Be32, Wire::Base64Lines]
        .map(|wire| (Config::plain().wire(wire), Vec::new()));
    let key = vec![String::from("--key"), hex(&KEY)];
    let sealed = Config::sealed(Key::from_bytes(KEY)).wire(Wire::LegacySealed);
    let (plain, sealed) = match (there_is_python(false), there_is_python(true)) {
        (true, true) => (Some(plain), Some((sealed, key))),
        (true, false) => (Some(plain), None),
        _ => (None, None),
    };
    let plain = plain.into_iter().flatten();
    let with_name = |(builder, mut arguments): (ConfigBuilder, Vec<String>)| {
        let config = builder.build().unwrap();
        arguments.insert(0, config.wire().to_string());
        (config, arguments)
    };
    plain.chain(sealed).map(with_name).collect()
}

/// `command`, the place, the wire, and what else is said.
fn arguments<'a>(command: &'a str, path: &'a str, wire: &'a [String]) -> Vec<&'a str> {
    let wire = wire.iter().map(String::as_str);
    [command, path].into_iter().chain(wire).collect()
}

async fn it_talks_to_the_adapter<R: Adapter>() {
    for (config, wire) in wires() {
        within(async {
            let place = place();
            let path = place.endpoint.to_string();
            let mut listener = R::bind(&place.endpoint, config).unwrap();
            let sizes = SIZES.map(|size| size.to_string());
            let mut arguments = arguments("talk", &path, &wire);
            arguments.extend(sizes.iter().map(String::as_str));
            let client = script("other_wires.py", &arguments).output();
            let server = async {
                let server = listener.accept().await.unwrap();
                while let Some(message) = server.recv().await.unwrap() {
                    let mut echo = message.payload.to_vec();
                    echo.reverse();
                    server.send(echo).await.unwrap();
                }
                server.finish().await.unwrap();
                server.stats().messages_received
            };
            let (output, received) = tokio::join!(client, server);
            let (out, err) = texts(&output.unwrap());
            assert_eq!(out, format!("talked {}\n", SIZES.len()), "{wire:?} {err}");
            assert_eq!(received, SIZES.len() as u64);
        })
        .await;
    }
}

async fn the_adapter_talks_to_it<R: Adapter>() {
    for (config, wire) in wires() {
        within(async {
            let place = place();
            let path = place.endpoint.to_string();
            let mut server = script("other_wires.py", &arguments("serve", &path, &wire))
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let first = lines.next_line().await.unwrap();
            assert_eq!(first.as_deref(), Some("listening"));
            let client = R::connect(&place.endpoint, config).await.unwrap();
            for size in SIZES {
                let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
                client.send(payload.clone()).await.unwrap();
                let mut echo = client.recv().await.unwrap().unwrap().payload.to_vec();
                echo.reverse();
                assert!(echo == payload, "{wire:?} {size}");
            }
            client.finish().await.unwrap();
            let last = lines.next_line().await.unwrap();
            assert_eq!(last, Some(format!("echoed {}", SIZES.len())));
            assert!(server.wait().await.unwrap().success());
        })
        .await;
    }
}

/// Nothing on that wire tells a message from its copy.
async fn what_it_repeats_is_taken_again<R: Adapter>() {
    for (config, wire) in wires() {
        if config.wire() != Wire::LegacySealed {
            continue;
        }
        within(async {
            let place = place();
            let path = place.endpoint.to_string();
            let mut listener = R::bind(&place.endpoint, config).unwrap();
            let mut arguments = arguments("replay", &path, &wire);
            arguments.push("3");
            let thief = script("other_wires.py", &arguments).output();
            let server = async {
                let server = listener.accept().await.unwrap();
                while let Some(message) = server.recv().await.unwrap() {
                    assert_eq!(message.payload, "pay 5");
                    server.send("5 yap").await.unwrap();
                }
            };
            let (output, ()) = tokio::join!(thief, server);
            let (out, err) = texts(&output.unwrap());
            assert_eq!(out, "replayed 3\n", "{err}");
        })
        .await;
    }
}
