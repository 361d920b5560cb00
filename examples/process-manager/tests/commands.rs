//! The daemon and its command line as programs, with programs that they start.

#[path = "../../../cli/tests/support/program.rs"]
mod program;

use program::{Ended, Place, Program};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");

struct Daemon {
    place: Place,
    program: Program,
}

impl Daemon {
    fn start() -> Daemon {
        let place = Place::new();
        let mut program = run(&place, env!("CARGO_BIN_EXE_pmd"), &[]);
        assert!(program.line().starts_with("listening on "));
        Daemon { place, program }
    }

    fn begin(&self, words: &[&str]) -> Program {
        run(&self.place, env!("CARGO_BIN_EXE_pm"), words)
    }

    #[track_caller]
    fn pm(&self, words: &[&str]) -> String {
        self.begin(words).end().expect(0).stdout
    }

    #[track_caller]
    fn refuses(&self, words: &[&str]) -> Ended {
        self.begin(words).end().expect(1)
    }

    #[track_caller]
    fn shut_down(self) {
        self.pm(&["shutdown"]);
        self.program.end().expect(0);
    }
}

fn run(place: &Place, program: &str, words: &[&str]) -> Program {
    Program::prepared(program, words, |command| {
        command.env("PM_PLACE", &place.name)
    })
}

#[test]
fn a_program_is_started_listened_to_and_listed() {
    let daemon = Daemon::start();
    assert_eq!(daemon.pm(&["list"]), "");
    let started = daemon.pm(&["start", "short", WORKER, "3"]);
    assert!(started.starts_with("short: running as "), "{started}");
    // Whatever it has printed before, and until it has ended.
    assert_eq!(daemon.pm(&["logs", "short"]), "tick 1\ntick 2\ntick 3\n");
    assert_eq!(daemon.pm(&["status", "short"]), "short: ended\n");
    assert_eq!(daemon.pm(&["logs", "short"]), "tick 1\ntick 2\ntick 3\n");

    let started = daemon.pm(&["start", "long", WORKER, "1000000"]);
    let list = daemon.pm(&["list"]);
    assert_eq!(list, format!("{started}short: ended\n"));
    let mut logs = daemon.begin(&["logs", "long"]);
    for count in 1..5 {
        assert_eq!(logs.line(), format!("tick {count}"));
    }
    assert_eq!(daemon.pm(&["stop", "long"]), "long: stopped\n");
    logs.end().expect(0);
    assert_eq!(daemon.pm(&["status", "long"]), "long: stopped\n");
    daemon.shut_down();
}

#[test]
fn a_program_that_fails_is_started_again_a_few_times() {
    let daemon = Daemon::start();
    let mut watch = daemon.begin(&["watch"]);
    watch.wait_for("watching");
    daemon.pm(&["start", "bad", WORKER, "1", "7"]);
    assert_eq!(daemon.pm(&["logs", "bad"]), "tick 1\n".repeat(4));
    let status = daemon.pm(&["status", "bad"]);
    assert!(
        status.starts_with("bad: failed after 3 restarts: "),
        "{status}"
    );
    assert!(status.contains('7'), "{status}");
    daemon.shut_down();
    let seen = watch.end().expect(0).stdout;
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen.len(), 8, "{seen:?}");
    for pair in seen[..6].chunks(2) {
        assert!(pair[0].starts_with("bad: running as "), "{seen:?}");
        assert_eq!(pair[1], "bad: waiting to be started again");
    }
    assert_eq!(seen[7], status.trim_end());
}

#[test]
fn what_cannot_be_done_is_said() {
    let daemon = Daemon::start();
    let no = |words: &[&str], why| {
        daemon.refuses(words).says(why);
    };
    no(&["status", "nobody"], "there is no process nobody");
    no(&["logs", "nobody"], "there is no process nobody");
    no(&["start", "a/b", WORKER], "none of them / or *");
    no(&["start", "x", "no-such-program"], "cannot be started");
    no(&["dance"], "usage: pm start");
    daemon.pm(&["start", "once", WORKER, "1000000"]);
    no(&["start", "once", WORKER], "once runs already");
    // It ends with the daemon.
    daemon.shut_down();
    let place = Place::new();
    run(&place, env!("CARGO_BIN_EXE_pm"), &["list"])
        .end()
        .expect(1)
        .says("no server at ");
}
