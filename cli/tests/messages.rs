//! Messages that get through: `listen`, `send`, `ping`.

mod support;

use support::{Place, Program};

#[test]
fn a_message_is_printed_and_its_sender_told() {
    let place = Place::new();
    let listener = place.listen(&["--count", "1"]);
    let sent = place.send(&["hello"]).expect(0);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    assert_eq!(sent.stdout, "");
    let heard = listener.end().expect(0);
    assert_eq!(heard.stdout, "hello\n");
    assert!(heard.stderr.starts_with("listening on "), "{heard:?}");
    assert_eq!(heard.stderr.lines().count(), 1, "{heard:?}");
}

#[test]
fn each_level_of_acknowledgement_has_its_count() {
    let place = Place::new();
    let listener = place.listen(&["--count", "6"]);
    let lines = "a\nb\n";
    let none = place.send_lines(lines, &["--ack", "none"]).expect(0);
    assert_eq!(none.outcomes(), [2, 0, 0, 0, 0, 0]);
    let received = place.send_lines(lines, &["--ack", "received"]).expect(0);
    assert_eq!(received.outcomes(), [0, 2, 0, 0, 0, 0]);
    let processed = place.send_lines(lines, &["--ack", "processed"]).expect(0);
    assert_eq!(processed.outcomes(), [0, 0, 2, 0, 0, 0]);
    assert_eq!(listener.end().expect(0).stdout, "a\nb\na\nb\na\nb\n");
}

#[test]
fn lines_stay_lines_whatever_is_in_them() {
    let place = Place::new();
    let listener = place.listen(&["--count", "3"]);
    place.send(&["two\nlines \\n \u{1b}[31m ü"]).expect(0);
    let binary = place.file("binary", b"\x00\xff\r\t");
    place.send(&["--file", &binary]).expect(0);
    place.send(&[""]).expect(0);
    let heard = listener.end().expect(0);
    assert_eq!(
        heard.stdout,
        "two\\nlines \\\\n \\x1b[31m ü\n\\x00\\xff\\r\\t\n\n"
    );
}

#[test]
fn json_tells_connection_number_length_and_content() {
    let place = Place::new();
    let listener = place.listen(&["--json", "--count", "3"]);
    place.send_lines("\"one\"\n\n", &[]).expect(0);
    let binary = place.file("binary", b"\xff\x00");
    place.send(&["--file", &binary]).expect(0);
    assert_eq!(
        listener.end().expect(0).stdout,
        "{\"connection\":1,\"sequence\":0,\"length\":5,\"text\":\"\\\"one\\\"\"}\n\
         {\"connection\":1,\"sequence\":1,\"length\":0,\"text\":\"\"}\n\
         {\"connection\":2,\"sequence\":0,\"length\":2,\"base64\":\"/wA=\"}\n"
    );
}

#[test]
fn many_lines_arrive_in_order_with_a_report_of_each() {
    let place = Place::new();
    let count = 20_000;
    let listener = place.listen(&["--count", "20000"]);
    let lines: String = (0..count).map(|n| format!("line {n}\n")).collect();
    let report = place.dir.path().join("report");
    let sent = place
        .send_lines(&lines, &["--report", report.to_str().unwrap()])
        .expect(0);
    assert_eq!(sent.outcomes(), [0, 0, count, 0, 0, 0]);
    assert_eq!(listener.end().expect(0).stdout, lines);
    let expected: String = (0..count).map(|n| format!("{n} processed\n")).collect();
    assert_eq!(std::fs::read_to_string(report).unwrap(), expected);
}

#[test]
fn an_echo_comes_back_as_a_line() {
    let place = Place::new();
    let listener = place.listen(&["--echo", "--count", "5"]);
    let sent = place.send(&["a\tb", "--expect-reply"]).expect(0);
    assert_eq!(sent.stdout, "a\\tb\n");
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    let sent = place
        .send_lines("x\ny\nz", &["--expect-reply", "--json"])
        .expect(0);
    assert_eq!(sent.stdout.lines().count(), 3);
    assert!(
        sent.stdout
            .ends_with("\"sequence\":2,\"length\":1,\"text\":\"z\"}\n"),
        "{sent:?}"
    );
    // Who does not want the replies is not held up by them.
    let sent = place.send(&["quiet"]).expect(0);
    assert_eq!(sent.stdout, "");
    listener.end().expect(0);
}

#[test]
fn echoes_that_nobody_reads_do_not_stop_the_flow() {
    let place = Place::new();
    let listener = place.listen(&["--echo", "--count", "17000"]);
    let lines = "x\n".repeat(17_000);
    let sent = place.send_lines(lines, &["--ack", "none"]).expect(0);
    assert_eq!(sent.outcomes(), [17_000, 0, 0, 0, 0, 0]);
    listener.end().expect(0);
}

#[test]
fn a_missing_reply_is_missed() {
    let place = Place::new();
    let _listener = place.listen(&[]);
    let sent = place
        .send(&["x", "--expect-reply", "--timeout", "0.5"])
        .expect(5);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    sent.says("1 of 1 replies did not come within 500ms");
}

#[test]
fn several_connections_at_once_give_whole_lines() {
    let place = Place::new();
    let listener = place.listen(&["--count", "2000"]);
    let mut senders: Vec<_> = (0..4)
        .map(|_| Program::start(&["send", &place.name, "-"]))
        .collect();
    for (sender, letter) in senders.iter_mut().zip(["a", "b", "c", "d"]) {
        let line = format!("{}\n", letter.repeat(300));
        sender.input(line.repeat(500).as_bytes());
    }
    for sender in senders {
        assert_eq!(sender.end().expect(0).outcomes(), [0, 0, 500, 0, 0, 0]);
    }
    let heard = listener.end().expect(0).stdout;
    assert_eq!(heard.lines().count(), 2000);
    for line in heard.lines() {
        let first = &line[..1];
        assert_eq!(line, first.repeat(300));
    }
}

#[test]
fn count_leaves_what_is_above_it_to_others() {
    let place = Place::new();
    let listener = place.listen(&["--count", "2"]);
    let sent = place.send_lines("1\n2\n3\n4\n", &[]).expect(3);
    let [none, received, processed, rejected, not_sent, unknown] = sent.outcomes();
    assert_eq!(
        (none, received, processed, unknown),
        (0, 0, 2, 0),
        "{sent:?}"
    );
    assert_eq!(rejected + not_sent, 2, "{sent:?}");
    assert_eq!(listener.end().expect(0).stdout, "1\n2\n");
}

#[test]
fn a_wait_is_rewarded() {
    let place = Place::new();
    let mut sender = Program::start(&["send", &place.name, "hello", "--wait", "-v"]);
    sender.wait_for("connecting again");
    let listener = place.listen(&["--count", "1"]);
    sender.end().expect(0);
    assert_eq!(listener.end().expect(0).stdout, "hello\n");
}

#[test]
fn pings_are_measured() {
    let place = Place::new();
    let _listener = place.listen(&[]);
    let ping = |options: &[&str]| {
        Program::start(&[&["ping", &place.name], options].concat())
            .end()
            .expect(0)
    };
    let pinged = ping(&["--interval", "0.01"]);
    assert_eq!(pinged.stdout.lines().count(), 6, "{pinged:?}");
    assert!(pinged.stdout.starts_with("ping 1: "), "{pinged:?}");
    let summary = pinged.stdout.lines().last().unwrap();
    assert!(summary.starts_with("5 round trips to "), "{summary}");
    for word in ["plain: min ", ", median ", ", p99 ", ", max "] {
        assert!(summary.contains(word), "{summary}");
    }
    let pinged = ping(&["--count", "100", "--interval", "0"]);
    assert_eq!(pinged.stdout.lines().count(), 101, "{pinged:?}");
}

#[cfg(unix)]
#[test]
fn control_c_ends_a_listener_cleanly() {
    let place = Place::new();
    let mut listener = place.listen(&[]);
    let mut sender = Program::start(&["send", &place.name, "-"]);
    sender.input(b"one\n");
    assert_eq!(listener.line(), "one");
    listener.interrupt();
    listener.end().expect(0);
    // Its sender was told, which harms only if there is more to send.
    sender.wait_for("nothing more can be sent to ");
    let sent = sender.end().expect(0);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    assert!(!std::path::Path::new(&place.name).exists());
}

#[test]
fn what_comes_after_the_goodbye_is_not_sent() {
    let place = Place::new();
    let listener = place.listen(&["--count", "1"]);
    let mut sender = Program::start(&["send", &place.name, "-"]);
    sender.input(b"one\n");
    listener.end().expect(0);
    sender.wait_for("nothing more can be sent to ");
    sender.input(b"two\n");
    let sent = sender.end_with_open_stdin().expect(3);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 1, 0]);
}

#[cfg(unix)]
#[test]
fn a_name_has_its_place() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let runtime = place.dir.path();
    std::fs::set_permissions(runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
    let start = |arguments: &[&str]| {
        Program::start_with(arguments, |command| command.env("XDG_RUNTIME_DIR", runtime))
    };
    let mut listener = start(&["listen", "app", "--count", "1"]);
    let said = listener.wait_for("listening on ");
    let address = runtime.join("app.sock");
    assert_eq!(
        said.trim_end(),
        format!("listening on {}", address.display())
    );
    start(&["send", "app", "x"]).end().expect(0);
    listener.end().expect(0);
}
