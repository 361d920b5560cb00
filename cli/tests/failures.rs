//! Every exit code but 0, and what is said with it.

mod support;

use std::collections::BTreeSet;
use support::{Place, Program};

const NONE: [u64; 6] = [0, 0, 0, 0, 1, 0];

#[test]
fn usage_is_2() {
    let place = Place::new();
    for arguments in [
        &["send", "app"][..],
        &["listen", "two words"],
        &["listen", "app", "--runtime", "threads"],
        &["listen", "app", "--key-file", "x", "--build-key"],
        &["listen", "app", "--max-message", "18446744073709551615"],
        &["ping", "app", "--timeout", "0"],
        &["demo-listener"],
    ] {
        let ended = Program::start(arguments).end().expect(2);
        assert!(!ended.stderr.is_empty());
    }
    let missing = place.dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    place
        .send(&["x", "--key-file", missing])
        .expect(2)
        .says("openssl rand -hex 32");
    place
        .send(&["--file", missing])
        .expect(2)
        .says("cannot be read");
    let nowhere = place.dir.path().join("no/report");
    place
        .send(&["x", "--report", nowhere.to_str().unwrap()])
        .expect(2)
        .says("cannot be written");
    let short = place.file("short", "5a5a");
    place
        .send(&["x", "--key-file", &short])
        .expect(2)
        .says("found 4 characters");
    let ended = Program::start_with(&["ping", &place.name], |command| {
        command.env("SEALPIPE_LOG", "a=b=c")
    });
    ended.end().expect(2).says("SEALPIPE_LOG");
}

#[test]
fn nothing_there_is_3() {
    let place = Place::new();
    let sent = place.send(&["x"]).expect(3);
    assert_eq!(sent.outcomes(), NONE);
    sent.says("no server at ")
        .says("start it, or check the name");
    place.send(&["x", "--attempts", "2"]).expect(3);
    Program::start(&["ping", &place.name])
        .end()
        .expect(3)
        .says("no server at ");
}

#[test]
fn a_name_in_use_is_3() {
    // Wine lets several programs make the first instance of a pipe.
    if cfg!(windows) && std::path::Path::new(r"C:\windows\system32\winepath.exe").exists() {
        eprintln!("skipped: Wine does not keep a pipe's name to one program");
        return;
    }
    let place = Place::new();
    let _listener = place.listen(&[]);
    let second = Program::start(&["listen", &place.name]).end().expect(3);
    second
        .says("is in use by ")
        .says("end that program or choose another name");
}

#[test]
fn keys_and_modes_must_agree_or_it_is_4() {
    let place = Place::new();
    let (right, wrong) = (place.key("5a"), place.key("a5"));
    let raw = place.file("raw.key", [0x5a; 32]);
    let mut listener = place.listen(&["--key-file", &right, "--count", "2"]);
    for options in [&["--key-file", &wrong][..], &["--build-key"], &[]] {
        let sent = place.send(&[&["x"], options].concat()).expect(4);
        assert_eq!(sent.outcomes(), NONE);
        sent.says("cannot connect to ");
        let ping = Program::start(&[&["ping", &place.name], options].concat());
        ping.end().expect(4);
        listener.wait_for("a client did not get through the handshake");
    }
    // It goes on serving those who have the key, in either form.
    place.send(&["one", "--key-file", &right]).expect(0);
    let ping = Program::start(&["ping", &place.name, "--key-file", &raw])
        .end()
        .expect(0);
    assert!(ping.stdout.contains(", sealed: min "), "{ping:?}");
    place.send(&["two", "--key-file", &raw]).expect(0);
    assert_eq!(listener.end().expect(0).stdout, "one\ntwo\n");
}

#[test]
fn a_plain_listener_takes_no_sealed_sender() {
    let place = Place::new();
    let _listener = place.listen(&[]);
    let sent = place.send(&["x", "--build-key"]).expect(4);
    sent.says("give both the same key, or neither one");
}

#[test]
fn programs_of_one_build_share_a_key() {
    let place = Place::new();
    let listener = place.listen(&["--build-key", "--count", "1"]);
    place.send(&["x", "--build-key"]).expect(0);
    listener.end().expect(0);
}

#[test]
fn a_passed_deadline_is_5() {
    let place = Place::new();
    let sent = place.send(&["x", "--wait", "--timeout", "0.3"]).expect(5);
    assert_eq!(sent.outcomes(), NONE);
    sent.says("took longer than 300ms").says("no server at ");
}

#[test]
fn too_large_is_6() {
    let place = Place::new();
    let listener = place.listen(&["--max-message", "100", "--count", "2"]);
    let long = "x".repeat(101);
    let sent = place.send(&[&long]).expect(6);
    assert_eq!(sent.outcomes(), NONE);
    sent.says("101 bytes").says("the peer accepts (100 bytes)");
    let sent = place.send(&[&long, "--max-message", "50"]).expect(6);
    sent.says("101 bytes").says("raise --max-message");
    // The others get through.
    let sent = place.send_lines(format!("a\n{long}\nb\n"), &[]).expect(6);
    assert_eq!(sent.outcomes(), [0, 0, 2, 0, 1, 0]);
    sent.says("line 2 to ");
    assert_eq!(listener.end().expect(0).stdout, "a\nb\n");
}

#[test]
fn output_that_nobody_reads_rejects_and_ends() {
    let place = Place::new();
    let mut kept = None;
    let mut listener = Program::start_with(&["listen", &place.name], |command| {
        let (reader, writer) = std::io::pipe().unwrap();
        kept = Some(reader);
        command.stdout(writer)
    });
    listener.wait_for("listening on ");
    drop(kept);
    let sent = place.send(&["x"]).expect(6);
    assert_eq!(sent.outcomes(), [0, 0, 0, 1, 0, 0]);
    sent.says("it was not printed");
    let ended = listener.end().expect(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn a_killed_listener_leaves_a_true_account() {
    let place = Place::new();
    let report = place.dir.path().join("report");
    let mut listener = place.listen(&[]);
    let mut sender = Program::start(&[
        "send",
        &place.name,
        "-",
        "--report",
        report.to_str().unwrap(),
    ]);
    let lines: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let feeding = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| sender.input(lines.as_bytes()));
        for _ in 0..500 {
            listener.line();
        }
        listener.kill();
        feeder.join().is_ok()
    });
    assert!(feeding);
    let printed = listener.end().stdout;
    // The last line may be cut where the program was.
    let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
    let printed: BTreeSet<u64> = whole.lines().map(|line| line.parse().unwrap()).collect();
    let sent = sender.end().expect(5);
    let [_, _, processed, rejected, not_sent, unknown] = sent.outcomes();
    assert_eq!(rejected, 0);
    assert!(
        processed + unknown + not_sent <= 100_000 && unknown + not_sent > 0,
        "{sent:?}"
    );
    sent.says("send again what is counted as notsent");
    let report = std::fs::read_to_string(report).unwrap();
    let of = |outcome: &str| -> BTreeSet<u64> {
        let lines = report.lines().filter_map(|line| line.strip_suffix(outcome));
        lines.map(|index| index.trim().parse().unwrap()).collect()
    };
    let (processed_set, unknown_set) = (of(" processed"), of(" unknown"));
    assert_eq!(processed_set.len() as u64, processed);
    assert_eq!(unknown_set.len() as u64, unknown);
    assert_eq!(of(" notsent").len() as u64, not_sent);
    assert!(processed_set.is_subset(&printed));
    let may_be_printed = &processed_set | &unknown_set;
    assert!(printed.is_subset(&may_be_printed));
    assert!(of(" notsent").is_disjoint(&printed));
}

#[test]
fn a_sender_that_waits_for_input_notices_the_loss() {
    let place = Place::new();
    let mut listener = place.listen(&[]);
    let mut sender = Program::start(&["send", &place.name, "-"]);
    sender.input(b"one\n");
    assert_eq!(listener.line(), "one");
    listener.kill();
    let sent = sender.end_with_open_stdin().expect(5);
    let [_, _, processed, _, _, unknown] = sent.outcomes();
    // The acknowledgement may have died with the listener.
    assert_eq!(processed + unknown, 1, "{sent:?}");
    sent.says("the connection was lost");
}

#[test]
fn a_killed_sender_does_not_disturb_the_others() {
    let place = Place::new();
    let mut listener = place.listen(&["--count", "2"]);
    let mut sender = Program::start(&["send", &place.name, "-"]);
    sender.input(b"one\n");
    assert_eq!(listener.line(), "one");
    sender.kill();
    listener.wait_for("a connection ended early");
    place.send(&["two"]).expect(0);
    assert_eq!(listener.end().expect(0).stdout, "one\ntwo\n");
}
