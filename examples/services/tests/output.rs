//! Each example run as a program, and what it prints.

#[path = "../../../cli/tests/support/program.rs"]
mod program;

use program::{Place, Program};

/// Runs an example that plays both sides.
#[track_caller]
fn prints(example: &str) -> String {
    let place = Place::new();
    let ended = Program::of(example, &[&place.name]).end().expect(0);
    ended.stdout
}

#[test]
fn echo() {
    assert_eq!(
        prints(env!("CARGO_BIN_EXE_echo")),
        "hello: hello\nhello again: hello again\n2 requests answered\n"
    );
}

#[test]
fn encryption() {
    let printed = prints(env!("CARGO_BIN_EXE_encryption"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "no key: plain",
            "a key of one's own: sealed",
            "the key of the build: sealed"
        ]
    );
    assert_eq!(lines.len(), 5, "{printed}");
    assert!(lines[3].starts_with("another key does not get in: "));
    assert!(lines[4].starts_with("no key does not get in: "));
    assert!(lines[4].ends_with("give both the same key, or neither one"));
}

#[test]
fn events() {
    assert_eq!(
        prints(env!("CARGO_BIN_EXE_events")),
        "started\n\
         client 1 has come\n\
         client 1 sends 6 bytes\n\
         client 1 sends 3 bytes\n\
         client 1 has gone: the connection is finished: both sides have sent all and closed it\n\
         stopped: 1 accepted, 1 rejected\n"
    );
}

#[test]
fn json() {
    let printed = prints(env!("CARGO_BIN_EXE_json"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "backup: processed",
            "cleanup: processed",
            "update: processed",
            "next: Some(Job { name: \"update\", priority: 7 })",
            "of priority 3 or more: 2",
        ]
    );
    assert_eq!(lines.len(), 7, "{printed}");
    assert!(lines[5].starts_with("Json(30 bytes): "), "{printed}");
    assert!(
        lines[5].contains("does not fit json::Job at priority"),
        "{printed}"
    );
    assert!(lines[6].starts_with("Text(14 bytes): "), "{printed}");
    assert!(lines[6].contains("cannot be read as JSON"), "{printed}");
}

#[test]
fn bunctl() {
    let printed = prints(env!("CARGO_BIN_EXE_bunctl"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[..6],
        [
            r#"watcher: Success { message: "subscribed" }"#,
            r#"Success { message: "web is running" }"#,
            r#"Success { message: "worker is running" }"#,
            r#"Data { data: Object {"status": String("running")} }"#,
            r#"watcher: Event { event_type: "status", data: Object {"app": String("web"), "status": String("running")} }"#,
            r#"watcher: Success { message: "unsubscribed" }"#,
        ]
    );
    assert!(lines[6].starts_with("Error { message: "), "{printed}");
    assert_eq!(lines.len(), 7);
}

#[test]
fn named_pipe() {
    let printed = prints(env!("CARGO_BIN_EXE_named_pipe"));
    let once = "started\n\
        client 1 connected\n\
        client 1 sent 26 bytes\n\
        {\"id\":1,\"content\":\"processed: hello\"}\n\
        client 1 sent 5 bytes\n\
        echo: hello\n\
        client 1: 2 received\n\
        client 1 disconnected\n\
        stopped after 2 messages\n";
    assert_eq!(printed, once.repeat(2));
}

#[test]
fn tasks() {
    let printed = prints(env!("CARGO_BIN_EXE_tasks"));
    let (first, rest) = printed.split_once('\n').unwrap();
    assert!(first.starts_with("task 0: "), "{printed}");
    assert!(first.contains("divided by zero"), "{printed}");
    assert_eq!(
        rest,
        "task 1: 60\ntask 2: 30\ntask 3: 20\ntask 4: 15\ntask 5: 12\n"
    );
}

#[test]
fn chat() {
    let chat = env!("CARGO_BIN_EXE_chat");
    let place = Place::new();
    let mut server = Program::of(chat, &[&place.name, "serve"]);
    assert_eq!(server.line(), "open");
    let join = |nick: &str| {
        let mut member = Program::of(chat, &[&place.name, "join", nick]);
        assert_eq!(member.line(), format!("welcome, {nick}"));
        member
    };
    let (mut anna, mut ben, mut carl) = (join("anna"), join("ben"), join("carl"));
    anna.input(b"who is there?\n");
    assert_eq!(ben.line(), "anna: who is there?");
    assert_eq!(carl.line(), "anna: who is there?");
    ben.input("ben, grüß dich\n".as_bytes());
    assert_eq!(anna.line(), "ben: ben, grüß dich");
    assert_eq!(carl.line(), "ben: ben, grüß dich");
    ben.end().expect(0);
    carl.input(b"bye\n");
    assert_eq!(anna.line(), "carl: bye");
    assert_eq!(carl.end().expect(0).stdout.lines().count(), 3);
    anna.end().expect(0);
}
