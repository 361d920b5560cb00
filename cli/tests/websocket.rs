//! URLs as names: `listen`, `send` and `request` over WebSockets.
#![cfg(feature = "websocket")]

mod support;

use support::{Place, Program};

const RUNTIMES: [&str; 3] = ["tokio", "smol", "blocking"];

/// A listener at a port of its own, and its URL.
fn listen(options: &[&str]) -> (Program, String) {
    let mut program = Program::start(&[&["listen", "ws://127.0.0.1:0/app"], options].concat());
    let line = program.wait_for("listening on ");
    let url = line.trim_end().rsplit_once(' ').unwrap().1.to_owned();
    (program, url)
}

#[test]
fn messages_and_requests_go_over_a_websocket() {
    for runtime in RUNTIMES {
        let place = Place::new();
        let key = place.key("5a");
        for access in [&["--anyone"][..], &["--key-file", &key]] {
            let options = [access, &["--runtime", runtime]].concat();
            let (listener, url) = listen(&[&["--count", "2", "--echo"], &options[..]].concat());
            let sent = Program::start(&[&["send", &url, "hello"], &options[..]].concat());
            assert_eq!(sent.end().expect(0).outcomes(), [0, 0, 1, 0, 0, 0]);
            let asked = Program::start(&[&["request", &url, "why?"], &options[..]].concat());
            assert_eq!(asked.end().expect(0).stdout, "why?\n");
            assert_eq!(
                listener.end().expect(0).stdout,
                "hello\nwhy?\n",
                "{runtime}"
            );
        }
    }
}

#[test]
fn other_wires_are_one_message_each() {
    let options = ["--anyone", "--wire", "be32"];
    let (listener, url) = listen(&[&["--count", "2"], &options[..]].concat());
    let sent = Program::start(&[&["send", &url, "hello"], &options[..]].concat());
    assert_eq!(sent.end().expect(0).outcomes(), [1, 0, 0, 0, 0, 0]);
    let sent = Program::start(&[&["send", &url, ""], &options[..]].concat());
    sent.end().expect(0);
    assert_eq!(listener.end().expect(0).stdout, "hello\n\n");
}

#[test]
fn what_cannot_be_says_what_to_do() {
    let run = |arguments: &[&str]| Program::start(arguments).end();
    run(&["listen", "ws://127.0.0.1:0/"])
        .expect(2)
        .says("--anyone");
    run(&["send", "ws://127.0.0.1:9/", "x"])
        .expect(2)
        .says("--anyone");
    run(&["listen", "wss://127.0.0.1:0/", "--anyone"])
        .expect(2)
        .says("certificate");
    run(&["send", "ws://me:secret@127.0.0.1/", "x"])
        .expect(2)
        .says("password");
    let (mut listener, url) = listen(&["--anyone"]);
    listener.kill();
    run(&["send", &url, "x", "--anyone"]).expect(3);
    run(&["doctor", &url]).expect(2).says("URL");
}
