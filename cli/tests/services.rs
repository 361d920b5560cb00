//! Requests, events, and a listener that does something: `request`, `publish`,
//! `subscribe`, and what `listen` has for them.

mod support;

use sealpipe_blocking::{Config, Listener};
use support::{Ended, Place, Program};

impl Place {
    fn run(&self, command: &str, options: &[&str]) -> Ended {
        Program::start(&[&[command, &self.name], options].concat()).end()
    }

    /// A subscriber with these options, once it has subscribed.
    fn subscribe(&self, options: &[&str]) -> Program {
        let mut program = Program::start(&[&["subscribe", &self.name], options].concat());
        program.wait_for("subscribed to ");
        program
    }
}

/// Every adapter that can be chosen.
const RUNTIMES: [&str; 3] = ["tokio", "smol", "blocking"];

/// What answers "hello": with its stdin, where Wine has something that does.
const CAT: &str = if cfg!(windows) { "echo hello" } else { "cat" };

#[test]
fn a_request_gets_its_reply_on_every_runtime() {
    for runtime in RUNTIMES {
        let place = Place::new();
        let options = ["--runtime", runtime];
        let listener = place.listen(&["--echo", "--count", "2", "--runtime", runtime]);
        let asked = place.run("request", &[&["a\tb"], &options[..]].concat());
        assert_eq!(asked.expect(0).stdout, "a\\tb\n", "{runtime}");
        let asked = place.run("request", &[&["a\tb", "--raw"], &options[..]].concat());
        assert_eq!(asked.expect(0).stdout, "a\tb", "{runtime}");
        assert_eq!(listener.end().expect(0).stdout, "a\\tb\na\\tb\n");
    }
}

#[test]
fn events_meet_their_subscribers_on_every_runtime() {
    for runtime in RUNTIMES {
        let place = Place::new();
        let options = ["--runtime", runtime];
        let mut listener = place.listen(&options);
        let subscriber = |pattern| {
            let options = [&[pattern, "--count", "2"], &options[..]].concat();
            place.subscribe(&options)
        };
        let (jobs, all) = (subscriber("jobs/*"), subscriber("**"));
        for (topic, text) in [("jobs/7", "be gun"), ("other", "x"), ("jobs/8", "")] {
            let options = [&[topic, text], &options[..]].concat();
            place.run("publish", &options).expect(0);
        }
        assert_eq!(jobs.end().expect(0).stdout, "jobs/7 be gun\njobs/8 \n");
        assert_eq!(all.end().expect(0).stdout, "jobs/7 be gun\nother x\n");
        // Events are not messages.
        place.send(&["a message"]).expect(0);
        assert_eq!(listener.line(), "a message", "{runtime}");
    }
}

#[test]
fn an_event_as_json() {
    let place = Place::new();
    let _listener = place.listen(&[]);
    let subscriber = place.subscribe(&["a/**", "--json", "--count", "1"]);
    place.run("publish", &["a", "\"x\""]).expect(0);
    assert_eq!(
        subscriber.end().expect(0).stdout,
        "{\"topic\":\"a\",\"missed\":0,\"length\":3,\"text\":\"\\\"x\\\"\"}\n"
    );
}

#[test]
fn sealed_services_need_the_key() {
    let place = Place::new();
    let key = place.key("5a");
    let options = ["--key-file", &key];
    let _listener = place.listen(&[&["--echo"], &options[..]].concat());
    let subscriber = place.subscribe(&[&["**", "--count", "1"], &options[..]].concat());
    let asked = place.run("request", &[&["x"], &options[..]].concat());
    assert_eq!(asked.expect(0).stdout, "x\n");
    place.run("request", &["x"]).expect(4);
    place.run("publish", &["a", "x"]).expect(4);
    place.run("subscribe", &["a"]).expect(4);
    let event = [&["a", "x"], &options[..]].concat();
    place.run("publish", &event).expect(0);
    assert_eq!(subscriber.end().expect(0).stdout, "a x\n");
}

#[test]
fn a_request_that_nobody_answers_is_6() {
    let place = Place::new();
    let listener = place.listen(&["--count", "1"]);
    let asked = place.run("request", &["x"]).expect(6);
    assert_eq!(asked.stdout, "");
    asked
        .says("the other side answered: ")
        .says("start it with --echo or --exec")
        .says("(code 2)");
    listener.end().expect(0);
}

#[test]
fn a_command_answers_on_every_runtime() {
    for runtime in RUNTIMES {
        let place = Place::new();
        let listener = place.listen(&["--exec", CAT, "--count", "3", "--runtime", runtime]);
        let asked = place.run("request", &["hello"]).expect(0);
        // A command ends lines in the way of its system.
        assert_eq!(asked.stdout.replace("\\r\\n", ""), "hello\n", "{runtime}");
        let sent = place.send(&["quiet"]).expect(0);
        assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
        assert_eq!(sent.stdout, "");
        let sent = place.send(&["x", "--expect-reply", "--timeout", "1.5"]);
        sent.expect(5).says("1 of 1 replies did not come");
        assert_eq!(listener.end().expect(0).stdout, "hello\nquiet\nx\n");
    }
}

#[test]
fn a_command_s_output_is_sent_back_to_those_who_want_it() {
    let place = Place::new();
    let listener = place.listen(&["--exec", "echo done", "--echo", "--count", "1"]);
    let sent = place.send(&["x", "--expect-reply"]).expect(0);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    assert_eq!(sent.stdout.replace("\\r", ""), "done\\n\n");
    listener.end().expect(0);
}

#[test]
fn a_command_that_fails_rejects_with_its_status() {
    let place = Place::new();
    let listener = place.listen(&["--exec", "exit 3", "--count", "2"]);
    let sent = place.send(&["x"]).expect(6);
    assert_eq!(sent.outcomes(), [0, 0, 0, 1, 0, 0]);
    sent.says("code 259").says("the command ended with exit ");
    let asked = place.run("request", &["x"]).expect(6);
    asked
        .says("(code 259)")
        .says("the command ended with exit ");
    listener.end().expect(0);
}

#[test]
fn a_command_that_prints_too_much_is_an_error() {
    let place = Place::new();
    let command = format!("echo {}", "x".repeat(300));
    let _listener = place.listen(&["--exec", &command, "--max-message", "200"]);
    let asked = place.run("request", &["x"]).expect(6);
    asked
        .says("prints more than 200 bytes")
        .says("raise --max-message");
}

#[test]
#[cfg(unix)]
fn a_command_that_hangs_is_ended_with_its_request() {
    let place = Place::new();
    let listener = place.listen(&["--exec", "exec sleep 1000", "--count", "1"]);
    let asked = place.run("request", &["x", "--timeout", "0.5"]).expect(5);
    assert_eq!(asked.stdout, "");
    // The command has the listener's stderr, of which this waits for the end too.
    listener.end().expect(0);
}

#[test]
fn a_stop_message_ends_the_listener() {
    let place = Place::new();
    let listener = place.listen(&["--stop-message", "that's all"]);
    place.send(&["one"]).expect(0);
    let sent = place.send(&["that's all"]).expect(0);
    assert_eq!(sent.outcomes(), [0, 0, 1, 0, 0, 0]);
    assert_eq!(listener.end().expect(0).stdout, "one\n");
}

#[test]
fn a_listener_without_messages_ends_if_told_so() {
    let place = Place::new();
    // So long may it take to start the sender.
    let listener = place.listen(&["--idle", "5"]);
    place.send(&["one"]).expect(0);
    assert_eq!(listener.end().expect(0).stdout, "one\n");
}

#[test]
fn the_end_of_the_listener_ends_its_subscribers() {
    let place = Place::new();
    let listener = place.listen(&["--count", "1"]);
    let endless = place.subscribe(&["**"]);
    let counting = place.subscribe(&["**", "--count", "2"]);
    place.run("publish", &["a", "x"]).expect(0);
    place.send(&["enough"]).expect(0);
    listener.end().expect(0);
    assert_eq!(endless.end().expect(0).stdout, "a x\n");
    let counting = counting.end().expect(3);
    assert_eq!(counting.stdout, "a x\n");
    counting.says("has ended before there were 2 events");
}

#[test]
fn a_subscription_that_nobody_answers_is_5() {
    let place = Place::new();
    let (endpoint, config) = (place.name.parse().unwrap(), Config::default());
    let mut listener = Listener::bind(&endpoint, config).unwrap();
    // It takes the connection, and nothing that comes over it.
    let server = std::thread::spawn(move || listener.accept().unwrap());
    let subscriber = place.run("subscribe", &["**", "--timeout", "0.3"]);
    subscriber.expect(5).says("does not answer");
    drop(server.join().unwrap());
}

#[test]
fn a_subscriber_notices_the_loss() {
    let place = Place::new();
    let mut listener = place.listen(&[]);
    let subscriber = place.subscribe(&["**"]);
    listener.kill();
    subscriber.end().expect(5).says("the connection was lost");
}

#[test]
fn what_is_no_topic_or_pattern_is_2() {
    let place = Place::new();
    place.run("publish", &["a/*", "x"]).expect(2);
    place.run("subscribe", &["a//b"]).expect(2);
    for command in ["request", "publish", "subscribe"] {
        let rest: &[&str] = match command {
            "publish" => &["a", "x"],
            _ => &["x"],
        };
        place.run(command, rest).expect(3).says("no server at ");
    }
}
