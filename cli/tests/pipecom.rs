//! `--wire pipecom`: listen and send.

mod support;

use support::{Ended, Place, Program};

const PIPECOM: [&str; 2] = ["--wire", "pipecom"];

fn listen(place: &Place, options: &[&str]) -> Program {
    place.listen(&[&PIPECOM, options].concat())
}

fn send(place: &Place, options: &[&str]) -> Ended {
    place.send(&[&PIPECOM, options].concat())
}

#[test]
fn a_message_is_printed_and_its_sender_told() {
    let place = Place::new();
    let listener = listen(&place, &["--count", "3"]);
    let sent = send(&place, &["two\nlines ü"]).expect(0);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    let lines = place.send_lines("a\nb\n", &PIPECOM).expect(0);
    assert_eq!(lines.outcomes(), [0, 0, 2, 0, 0, 0]);
    assert_eq!(listener.end().expect(0).stdout, "two\\nlines ü\na\nb\n");
}

#[test]
fn it_ends_on_its_stop_message_or_when_idle() {
    let place = Place::new();
    let listener = listen(&place, &["--json"]);
    send(&place, &["one"]).expect(0);
    send(&place, &["PIPECOM_DIE"]).expect(0);
    assert_eq!(
        listener.end().expect(0).stdout,
        "{\"connection\":1,\"sequence\":0,\"length\":3,\"text\":\"one\"}\n"
    );
    let listener = listen(&place, &["--stop-message", "enough"]);
    send(&place, &["PIPECOM_DIE"]).expect(0);
    send(&place, &["enough"]).expect(0);
    assert_eq!(listener.end().expect(0).stdout, "PIPECOM_DIE\n");
    listen(&place, &["--idle", "0.05"]).end().expect(0);
}

#[cfg(unix)]
#[test]
fn only_the_same_user_may_send_unless_anyone_may() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    for (options, mode) in [(&[] as &[&str], 0o600), (&["--anyone"], 0o666)] {
        let listener = listen(&place, &[&["--count", "1"], options].concat());
        let fifo = std::fs::metadata(&place.name).unwrap();
        assert_eq!(fifo.permissions().mode() & 0o777, mode);
        send(&place, &[&["text"], options].concat()).expect(0);
        listener.end().expect(0);
    }
}

#[test]
fn what_it_cannot_do_is_a_usage_error() {
    let place = Place::new();
    let key = place.key("ab");
    let usage = |ended: Ended| {
        let ended = ended.expect(2);
        assert!(ended.stderr.contains("pipecom"), "{ended:?}");
    };
    usage(send(&place, &["text", "--runtime", "tokio"]));
    usage(send(&place, &["text", "--runtime", "smol"]));
    usage(send(&place, &["text", "--ack", "none"]));
    usage(send(&place, &["text", "--expect-reply"]));
    usage(send(&place, &["text", "--key-file", &key]));
    for options in [
        &["listen", "--runtime", "tokio"] as &[_],
        &["listen", "--echo"],
        &["listen", "--exec", "cat"],
        &["listen", "--build-key"],
        &["doctor"],
        &["ping"],
    ] {
        let arguments = [options, &[&place.name], &PIPECOM].concat();
        usage(Program::start(&arguments).end());
    }
}

#[test]
fn who_is_not_there_and_what_is_no_text_is_told() {
    let place = Place::new();
    let nobody = place.send_lines("a\nb\n", &PIPECOM).expect(3);
    assert_eq!(nobody.outcomes(), [0, 0, 0, 0, 2, 0]);
    let waited = send(&place, &["text", "--wait", "--timeout", "0.05"]).expect(5);
    assert_eq!(waited.outcomes(), [0, 0, 0, 0, 1, 0]);

    let listener = listen(&place, &["--runtime", "blocking"]);
    // Wine lets a second first instance of a pipe be made.
    if cfg!(unix) {
        let other = Program::start(&[&["listen", &place.name], &PIPECOM as &[_]].concat());
        let other = other.end().expect(3);
        assert!(other.stderr.contains("in use"), "{other:?}");
    }
    let binary = place.file("binary", b"\xff");
    let sent = send(&place, &["--file", &binary]).expect(6);
    assert_eq!(sent.outcomes(), [0, 0, 0, 0, 1, 0]);
    let large = send(&place, &["large", "--max-message", "4"]).expect(6);
    assert_eq!(large.outcomes(), [0, 0, 0, 0, 1, 0]);
    send(&place, &["PIPECOM_DIE"]).expect(0);
    listener.end().expect(0);
}
