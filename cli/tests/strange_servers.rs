//! Servers that are not what they should be.
#![cfg(unix)]

mod support;

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};
use support::{Ended, Place, Program};

/// Runs `sealpipe` against a server that does `answer` with its first client.
fn against(
    answer: impl FnOnce(&mut UnixStream) + Send + 'static,
    command: &str,
    options: &[&str],
) -> Ended {
    let place = Place::new();
    let server = UnixListener::bind(&place.name).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        answer(&mut stream);
    });
    let ended = Program::start(&[&[command, &place.name], options].concat()).end();
    serving.join().unwrap();
    ended
}

/// A plain responder's preface and HELLO may be those of the initiator.
fn shake_hands(stream: &mut UnixStream) {
    let mut start = [0; 18];
    stream.read_exact(&mut start).unwrap();
    let length = usize::from(start[17]);
    assert!(length < 64, "a length of one byte");
    let mut hello = vec![0; length];
    stream.read_exact(&mut hello).unwrap();
    stream.write_all(&start).unwrap();
    stream.write_all(&hello).unwrap();
}

fn until_it_leaves(stream: &mut UnixStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

#[test]
fn rubbish_after_the_handshake_is_7() {
    let rubbish = |stream: &mut UnixStream| {
        shake_hands(stream);
        stream.write_all(&[0xff; 100]).unwrap();
        until_it_leaves(stream);
    };
    let sent = against(rubbish, "send", &["x"]).expect(7);
    sent.says("the peer broke the protocol");
    let [.., not_sent, unknown] = sent.outcomes();
    assert_eq!(not_sent + unknown, 1, "{sent:?}");
    against(rubbish, "ping", &[])
        .expect(7)
        .says("the peer broke the protocol");
}

#[test]
fn what_does_not_speak_sealpipe_is_4() {
    let web = |stream: &mut UnixStream| {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        until_it_leaves(stream);
    };
    let sent = against(web, "send", &["x"]).expect(4);
    sent.says("does not speak sealpipe").says("\"HTTP/1.1\"");
    assert_eq!(sent.outcomes(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn silence_is_5() {
    let sent = against(until_it_leaves, "send", &["x", "--timeout", "0.4"]).expect(5);
    sent.says("took longer than 400ms");
    assert_eq!(sent.outcomes(), [0, 0, 0, 0, 1, 0]);
    against(until_it_leaves, "ping", &["--timeout", "0.4"]).expect(5);
}

#[test]
fn a_message_that_is_never_acknowledged_is_unknown() {
    let deaf = |stream: &mut UnixStream| {
        shake_hands(stream);
        until_it_leaves(stream);
    };
    let started = Instant::now();
    let sent = against(deaf, "send", &["x", "--timeout", "0.4"]).expect(5);
    // The message's time, then as much for each step of the goodbye.
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(sent.outcomes(), [0, 0, 0, 0, 0, 1]);
    sent.says("its deadline passed");
    against(deaf, "ping", &["--timeout", "0.4"])
        .expect(5)
        .says("no answer from ");
}

#[test]
fn being_let_go_of_at_once_is_3() {
    let sent = against(|_| {}, "send", &["x"]).expect(3);
    assert_eq!(sent.outcomes(), [0, 0, 0, 0, 1, 0]);
    against(
        |stream| stream.write_all(&[0xf5, 0x49]).unwrap(),
        "send",
        &["x"],
    )
    .expect(3);
}
