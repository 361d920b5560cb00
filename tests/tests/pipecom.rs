//! PipeCom between processes: with a peer in Python that is written from what is known
//! of PipeCom's wire, in both directions; with processes that are killed in the middle.
//!
//! Unix only: the Python peer knows of FIFOs, and on Windows every sender has an answer
//! of its own.
#![cfg(unix)]

use sealpipe_blocking::{
    Access,
    pipecom::{Code, Error, ListenOptions, Listener, Outcome, SendOptions},
};
use sealpipe_tests::{Helper, python, role, say};
use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(30);

struct Place {
    directory: tempfile::TempDir,
    name: String,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("pipe").to_str().unwrap().to_owned();
    Place { directory, name }
}

fn once() -> SendOptions {
    SendOptions::new().attempts(Some(1)).timeout(Some(DEADLINE))
}

/// The peer, in the directory of the place, with a name relative to that.
fn peer(place: &Place, role: &str, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let arguments = [&[role, "pipe"], arguments].concat();
    let mut child = python::script("pipecom_peer.py", &arguments)
        .into_std()
        .current_dir(place.directory.path())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A listener whose callback tells each text and waits to be released.
fn stepwise(name: &str) -> (Listener, mpsc::Receiver<String>, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let listener = Listener::start(name, move |text| {
        let _ = tell.send(text.to_owned());
        let _ = wait.recv();
        None
    });
    (listener.unwrap(), told, release)
}

/// Plays the roles of the helper processes.
#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let name = arguments[0].clone();
    match role.as_str() {
        "listen" => {
            let listener = Listener::start(&name, |text| {
                say(text);
                match text {
                    "hang" => loop {
                        thread::park();
                    },
                    _ => None,
                }
            });
            say("ready");
            listener.unwrap().join().unwrap();
        }
        "send" => {
            once().send(&name, &arguments[1]).unwrap();
            say("acknowledged");
        }
        // Of another user, who does not mind whose the listener is.
        "stranger" => match once().listener(Access::Anyone).send(&name, "text") {
            Ok(()) => say("acknowledged"),
            Err(error) => say(&format!("{} {:?}", error.code(), error.outcome())),
        },
        // From several threads, until killed or done.
        "send many" => thread::scope(|scope| {
            for sender in 0..5 {
                let (name, prefix) = (&name, &arguments[1]);
                scope.spawn(move || {
                    for number in 0..100 {
                        let text = format!("{prefix} {sender} {number}");
                        once().send(name, &text).unwrap();
                        say(&text);
                    }
                });
            }
        }),
        other => panic!("{other}"),
    }
}

#[test]
fn the_original_sends_to_this() {
    if !python::there_is_python(false) {
        return;
    }
    let place = place();
    let (tell, told) = mpsc::channel();
    let listener = Listener::start(&place.name, move |text| {
        tell.send(text.to_owned()).unwrap();
        None
    });
    // One after the other, with no pause in between.
    let texts: Vec<String> = (0..200)
        .map(|number| format!("grüße {number} 🐚"))
        .collect();
    let mut sent: Vec<&str> = texts.iter().map(String::as_str).collect();
    sent.push("PIPECOM_DIE");
    let (mut child, mut output) = peer(&place, "send", &sent);
    // It takes no turns: one that opens the FIFO of acknowledgements in the very moment in
    // which that is closed finds its end. A machine that is busy makes the moment longer.
    let refused = sent.iter().filter(|text| match line(&mut output).as_str() {
        "True" => false,
        "False" => true,
        other => panic!("{text}: {other}"),
    });
    assert!(refused.count() <= 3);
    assert!(child.wait().unwrap().success());
    listener.unwrap().join().unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), texts);
    assert_eq!(place.directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_original_may_be_there_first() {
    if !python::there_is_python(false) {
        return;
    }
    let place = place();
    let (mut child, mut output) = peer(&place, "send", &["first", "PIPECOM_DIE"]);
    let started = Instant::now();
    while !std::path::Path::new(&format!("{}_ack", place.name)).exists() {
        assert!(started.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(1));
    }
    let listener = Listener::start(&place.name, |_| None).unwrap();
    assert_eq!(line(&mut output), "True");
    assert_eq!(line(&mut output), "True");
    assert!(child.wait().unwrap().success());
    assert_eq!(listener.join().unwrap().messages, 1);
}

#[test]
fn this_sends_to_the_original() {
    if !python::there_is_python(false) {
        return;
    }
    for how in ["line", "within", "end"] {
        let place = place();
        let (mut child, mut output) = peer(&place, "listen", &["--how", how]);
        assert_eq!(line(&mut output), "ready");
        // It opens and closes the FIFO for each, and there is no pause in between.
        let sending = SendOptions::new().timeout(Some(DEADLINE));
        for number in 0..100 {
            let text = format!("message {number}");
            let sent = sending.send(&place.name, &text);
            sent.unwrap_or_else(|error| panic!("{how}, {text}: {error}"));
            assert_eq!(line(&mut output), text);
        }
        // More than a FIFO holds, and no more than the pipe on which it is told.
        let large = "x".repeat(60_000);
        sending.send(&place.name, &large).unwrap();
        assert_eq!(line(&mut output), large);
        sending.send(&place.name, "PIPECOM_DIE").unwrap();
        assert!(child.wait().unwrap().success());
        // The file of turns is for whoever comes next.
        let error = once().send(&place.name, "late").unwrap_err();
        assert_eq!(error.code(), Code::ConnectionFailed);
    }
}

#[test]
fn a_listener_that_is_killed_is_noticed_and_succeeded() {
    let place = place();
    let mut helper = Helper::start("listen", &[&place.name]);
    assert_eq!(helper.line(), "ready");
    once().send(&place.name, "text").unwrap();
    assert_eq!(helper.line(), "text");
    let name = place.name.clone();
    let sending = thread::spawn(move || once().send(&name, "hang"));
    assert_eq!(helper.line(), "hang");
    assert!(!sending.is_finished());
    helper.kill();
    let error = sending.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::NotAcknowledged { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    // What it left behind is nobody's.
    let error = once().send(&place.name, "text").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    let listener = Listener::start(&place.name, |_| None).unwrap();
    once().send(&place.name, "text").unwrap();
    assert_eq!(listener.stop().unwrap().messages, 1);
    assert_eq!(place.directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_acknowledgement_of_a_killed_sender_is_not_taken_by_the_next() {
    let place = place();
    let (listener, told, release) = stepwise(&place.name);
    for _ in 0..5 {
        let mut helper = Helper::start("send", &[&place.name, "first"]);
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "first");
        helper.kill();
        let name = place.name.clone();
        let sending = thread::spawn(move || once().send(&name, "second"));
        release.send(()).unwrap();
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "second");
        // By now the first was acknowledged, to nobody.
        assert!(!sending.is_finished());
        release.send(()).unwrap();
        sending.join().unwrap().unwrap();
    }
    assert_eq!(listener.stop().unwrap().messages, 10);
}

/// Needs root, to become another user.
#[test]
fn another_user_gets_through_only_if_anyone_does() {
    const NOBODY: u32 = 65_534;
    let place = place();
    if fs::metadata(place.directory.path()).unwrap().uid() != 0 {
        println!("skipped: only root can become another user");
        return;
    }
    let everyone = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.directory.path(), everyone).unwrap();
    let program = place.directory.path().join("program");
    // By another process: a file that a child of this one holds open for writing, if
    // only for a moment, cannot be run.
    let mut copy = Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success());
    let stranger = || {
        let mut command = Command::new(&program);
        command.uid(NOBODY).gid(NOBODY);
        Helper::start_by(command, "stranger", &[&place.name]).line()
    };
    let listener = Listener::start(&place.name, |_| None).unwrap();
    assert_eq!(stranger(), "PERMISSION_DENIED NotSent");
    assert_eq!(listener.stop().unwrap().messages, 0);
    let wide = ListenOptions::new().access(Access::Anyone);
    let listener = wide.listen(&place.name, |_| None).unwrap();
    assert_eq!(stranger(), "acknowledged");
    assert_eq!(listener.stop().unwrap().messages, 1);
}

/// Four processes with five senders each. Meanwhile others are killed at any point.
#[test]
fn twenty_senders_in_four_processes_are_told_the_truth_while_others_are_killed() {
    let place = place();
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let callback = {
        let seen = seen.clone();
        move |text: &str| {
            let new = seen.lock().unwrap().insert(text.to_owned());
            assert!(new, "{text} came twice");
            None
        }
    };
    let listener = Listener::start(&place.name, callback).unwrap();
    thread::scope(|scope| {
        let honest: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|prefix| {
                let mut helper = Helper::start("send many", &[&place.name, prefix]);
                let seen = &seen;
                scope.spawn(move || {
                    for _ in 0..500 {
                        let text = helper.line();
                        assert!(seen.lock().unwrap().contains(&text), "{text} was not seen");
                    }
                    helper.end();
                })
            })
            .collect();
        let mut round = 0;
        while !honest.iter().all(|sending| sending.is_finished()) {
            let mut killed = Helper::start("send many", &[&place.name, &format!("k{round}")]);
            for _ in 0..(round * 7) % 20 {
                let text = killed.line();
                assert!(seen.lock().unwrap().contains(&text), "{text} was not seen");
            }
            killed.kill();
            round += 1;
        }
    });
    let seen = seen.lock().unwrap().clone();
    let honest = seen.iter().filter(|text| !text.starts_with('k')).count();
    assert_eq!(honest, 2_000);
    assert_eq!(listener.stop().unwrap().messages, seen.len() as u64);
    assert_eq!(place.directory.path().read_dir().unwrap().count(), 0);
}
