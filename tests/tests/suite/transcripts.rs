//! The Python peer and this implementation, fed with the same secrets, write the
//! same bytes, and PROTOCOL.md shows them.
//!
//! Unix only, as the peer is.
#![cfg(unix)]

use bytes::Buf;
use sealpipe_core::{Event, RecvBuf, SendBuf, Time, wire::Hello};
use sealpipe_tests::python::{hex, peer, texts, there_is_python};
use sealpipe_tokio::{AckLevel, Close, Config, Key, Message, Outcome, Role};
use std::path::Path;

/// Fixed "randomness": the ephemeral secret, then the session id.
struct Fixed {
    ephemeral: u8,
    drawn: bool,
}

impl rand_core::TryRng for Fixed {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(if self.drawn { 0xc3 } else { self.ephemeral });
        self.drawn = true;
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fixed {}

/// One side of PROTOCOL.md's section 12.
struct Side {
    core: sealpipe_core::Connection,
    input: RecvBuf,
    output: SendBuf,
}

impl Side {
    fn new(sealed: bool, role: Role) -> Side {
        let builder = if sealed {
            let mut key = [0; 32];
            key.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
            Config::sealed(Key::from_bytes(key))
        } else {
            Config::plain()
        };
        let config = builder
            .max_message(4096)
            .receive_window(8192, 16)
            .build()
            .unwrap();
        let ephemeral = if role == Role::Initiator { 0xa1 } else { 0xb2 };
        let mut random = Fixed {
            ephemeral,
            drawn: false,
        };
        Side {
            core: sealpipe_core::Connection::new(config.into(), role, &mut random, Time::ZERO)
                .unwrap(),
            input: RecvBuf::new(),
            output: SendBuf::new(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(Time::ZERO, &mut self.output) {
            let chunk = self.output.chunk();
            bytes.extend_from_slice(chunk);
            let n = chunk.len();
            self.output.advance(n);
        }
        bytes
    }

    fn feed(&mut self, bytes: &[u8]) {
        assert_eq!(self.input.fill_from(bytes), bytes.len());
        let _ = self.core.handle_input(Time::ZERO, &mut self.input);
        self.core.handle_idle();
    }
}

/// The run of section 12 by this implementation, one line for each write; and the
/// handshake hash.
fn transcript(sealed: bool) -> (Vec<String>, Option<[u8; 32]>) {
    let mut initiator = Side::new(sealed, Role::Initiator);
    let mut responder = Side::new(sealed, Role::Responder);
    let hello = Message::new("hello").with_ack(AckLevel::Processed);
    initiator.core.send(Time::ZERO, hello).unwrap();
    let (mut lines, mut hash) = (Vec::new(), None);
    loop {
        let bytes = initiator.take();
        if bytes.is_empty() {
            return (lines, hash);
        }
        lines.push(format!("initiator: {}", hex(&bytes)));
        responder.feed(&bytes);
        while let Some(message) = responder.core.recv() {
            responder.core.settle(message.seq, Ok(())).unwrap();
        }
        let bytes = responder.take();
        if bytes.is_empty() {
            return (lines, hash);
        }
        lines.push(format!("responder: {}", hex(&bytes)));
        initiator.feed(&bytes);
        while let Some(event) = initiator.core.poll_event() {
            match event {
                Event::Open(opened) => hash = opened.handshake_hash,
                Event::Outcome { outcome, .. } => {
                    assert_eq!(outcome, Outcome::Processed);
                    initiator.core.close(Time::ZERO, Close::new(1, "bye"));
                }
                _ => {}
            }
        }
    }
}

/// What stands in PROTOCOL.md from `heading` on.
fn section(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(heading).unwrap();
    section.to_owned()
}

/// The hexadecimal digits of section 12, without anything between them.
fn section_12() -> String {
    let section = section("## 12. Transcripts");
    section.chars().filter(char::is_ascii_hexdigit).collect()
}

#[tokio::test]
async fn the_transcripts_are_the_same_byte_for_byte() {
    for sealed in [false, true] {
        if !there_is_python(sealed) {
            continue;
        }
        let arguments: &[&str] = if sealed {
            &["transcript", "--sealed"]
        } else {
            &["transcript"]
        };
        let output = peer(arguments).output().await.unwrap();
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{err}");
        let own = transcript(sealed).0;
        assert_eq!(out.lines().collect::<Vec<_>>(), own);
        let section = section_12();
        for line in own {
            let (_, bytes) = line.split_once(": ").unwrap();
            assert!(section.contains(bytes), "PROTOCOL.md lacks {line}");
        }
    }
}

/// The core's own test replays the same block.
#[tokio::test]
async fn the_conversation_of_the_protocol_page_is_that_of_the_python_peer() {
    if !there_is_python(false) {
        return;
    }
    let output = peer(&["transcript", "--asking"]).output().await.unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    let section = section("### 12.4");
    let (_, block) = section.split_once("```text\n").unwrap();
    assert_eq!(block.split_once("```").unwrap().0, out);
}

#[tokio::test]
async fn the_noise_handshakes_are_the_same_byte_for_byte() {
    if !there_is_python(true) {
        return;
    }
    let (lines, hash) = transcript(true);
    let bytes = |line: usize| lines[line].split_once(": ").unwrap().1.to_owned();
    let (first, second) = (bytes(0), bytes(1));
    let preface = first[..32].to_owned();
    let hello = {
        let mut body = Vec::new();
        Hello {
            max_message: 4096,
            credit_bytes: 8192,
            credit_messages: 16,
            session: [0xc3; 16],
            ..Hello::default()
        }
        .encode(&mut body);
        hex(&body)
    };
    let payload2 = [&second[..32], &hello].concat();
    let arguments = [
        "noise-vector",
        "--prologue",
        &preface,
        "--payload1",
        &hello,
        "--payload2",
        &payload2,
    ];
    let output = peer(&arguments).output().await.unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    // Behind the preface and the length.
    for wanted in [&first[36..], &second[36..], &hex(&hash.unwrap())] {
        assert!(
            out.contains(&format!("\"{wanted}\"")),
            "{wanted} is not in {out}"
        );
    }
}
