//! `--wire`: other systems' wires.

mod support;

use sealpipe_blocking::LocalStream;
use std::io::{Read, Write};
use support::{Place, Program};

fn connect(place: &Place) -> LocalStream {
    LocalStream::connect(&place.name).unwrap()
}

/// A request of bunctl-ipc's: a length, and JSON.
const STATUS: &[u8] = br#"{"Status":{"name":"web"}}"#;

#[test]
fn a_bunctl_client_is_served() {
    let place = Place::new();
    let listener = place.listen(&["--wire", "le32", "--json", "--echo", "--count", "2"]);
    let mut client = connect(&place);
    let length = u32::try_from(STATUS.len()).unwrap().to_le_bytes();
    let mut echo = vec![0; 4 + STATUS.len()];
    for _ in 0..2 {
        client.write_all(&[&length, STATUS].concat()).unwrap();
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, [&length, STATUS].concat());
    }
    let heard = listener.end().expect(0);
    let line = |n| {
        format!(
            "{{\"connection\":1,\"sequence\":{n},\"length\":25,\
             \"text\":\"{{\\\"Status\\\":{{\\\"name\\\":\\\"web\\\"}}}}\"}}\n"
        )
    };
    assert_eq!(heard.stdout, line(0) + &line(1));
}

#[test]
fn messages_and_replies_cross_on_every_wire() {
    for runtime in ["tokio", "smol", "blocking"] {
        for wire in ["le32", "be32", "le32-sealed"] {
            let place = Place::new();
            let key = place.key("5a");
            let mut options = vec!["--wire", wire, "--runtime", runtime];
            if wire == "le32-sealed" {
                options.extend(["--key-file", &key]);
            }
            let listener = place.listen(&[&options[..], &["--echo", "--count", "3"]].concat());
            let sent =
                place.send_lines("one\ntwo\n", &[&options[..], &["--expect-reply"]].concat());
            let sent = sent.expect(0);
            assert_eq!(sent.stdout, "one\ntwo\n");
            assert_eq!(sent.outcomes(), [2, 0, 0, 0, 0, 0]);
            place.send(&[&["three"], &options[..]].concat()).expect(0);
            assert_eq!(listener.end().expect(0).stdout, "one\ntwo\nthree\n");
        }
    }
}

#[test]
fn each_wire_has_its_own_limit() {
    let place = Place::new();
    let five = place.file("five", vec![b'x'; 5 << 20]);
    for (wire, code) in [("be32", 6), ("le32", 0)] {
        let place = Place::new();
        let listener = place.listen(&["--wire", wire, "--count", "1"]);
        place.send(&["--file", &five, "--wire", wire]).expect(code);
        if code == 0 {
            assert_eq!(listener.end().expect(0).stdout.len(), (5 << 20) + 1);
        }
    }
    let above = ["--wire", "le32", "--max-message", "4294967296", "hello"];
    let refused = place.send(&above).expect(2);
    refused.says("the wire le32 carries messages of up to 4294967295 bytes");
}

#[test]
fn what_a_wire_has_not_is_a_usage_error_that_says_why() {
    let place = Place::new();
    let key = place.key("5a");
    let wire = ["--wire", "le32"];
    for (command, says) in [
        (
            vec!["request", &place.name, "x"],
            "bare messages, and no requests; use `sealpipe send --expect-reply`",
        ),
        (vec!["ping", &place.name], "bare messages, and no pings"),
        (
            vec!["publish", &place.name, "a", "x"],
            "bare messages, and no events",
        ),
        (
            vec!["subscribe", &place.name, "a"],
            "bare messages, and no subscriptions",
        ),
        (
            vec!["send", &place.name, "x", "--ack", "received"],
            "bare messages, and no acks",
        ),
        (
            vec!["send", &place.name, "x", "--key-file", &key],
            "the wire le32 cannot be sealed",
        ),
        (
            vec!["listen", &place.name, "--key-file", &key],
            "the wire le32 cannot be sealed",
        ),
        (
            vec!["doctor", &place.name, "--key-file", &key],
            "the wire le32 cannot be sealed",
        ),
    ] {
        let ended = Program::start(&[&command[..], &wire].concat())
            .end()
            .expect(2);
        ended.says(says);
    }
    let keyless = place.send(&["x", "--wire", "le32-sealed"]).expect(2);
    keyless.says("is sealed and needs a key");
}

#[test]
fn another_key_and_another_wire_are_told() {
    let place = Place::new();
    let (ours, theirs) = (place.key("5a"), place.key("a5"));
    let sealed = ["--wire", "le32-sealed", "--key-file"];
    let mut listener = place.listen(&[&sealed[..], &[&ours]].concat());
    place.send(&[&["x"], &sealed[..], &[&theirs]].concat());
    listener.wait_for("a sealed message could not be opened: the keys differ");
    // A native sender is told that nobody shakes hands; the listener, who came.
    place.send(&["x", "--timeout", "10"]);
    listener.wait_for("the other side speaks sealpipe's native wire");
}

#[test]
fn the_doctor_warns_of_what_goes_unseen() {
    let place = Place::new();
    let key = place.key("5a");
    let sealed = ["--wire", "le32-sealed", "--key-file", &key];
    let _listener = place.listen(&sealed);
    let doctor = Program::start(&[&["doctor", &place.name], &sealed[..]].concat());
    let said = doctor.end().expect(0).stdout;
    assert!(
        said.contains("warning: on the wire le32-sealed messages that are repeated"),
        "{said}"
    );
    assert!(said.contains("all is well"), "{said}");

    let place = Place::new();
    let _listener = place.listen(&["--wire", "be32"]);
    let doctor = Program::start(&["doctor", &place.name, "--wire", "be32"]);
    let said = doctor.end().expect(0).stdout;
    assert!(
        said.contains("only messages can tell") && !said.contains("warning"),
        "{said}"
    );
}
