//! PipeCom's ways: listeners with a callback, sends that return once it has run.

use sealpipe_blocking::pipecom::{
    Code, End, Error, ListenOptions, Listener, Outcome, Reason, SendOptions, send,
};
use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A name of a test's own, which leaves nothing behind.
struct Place {
    #[cfg(unix)]
    directory: tempfile::TempDir,
    name: String,
}

#[cfg(unix)]
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("pipe").to_str().unwrap().to_owned();
    Place { directory, name }
}

#[cfg(windows)]
fn place() -> Place {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Place {
        name: format!("pipecom-{}-{number}", std::process::id()),
    }
}

impl Place {
    /// A listener that tells what it gets.
    fn listen(&self, options: ListenOptions) -> (Listener, Receiver<String>) {
        let (tell, told) = mpsc::channel();
        let listener = options.listen(&self.name, move |text| {
            // Not every test listens to it.
            let _ = tell.send(text.to_owned());
            None
        });
        (listener.unwrap(), told)
    }
}

/// Once, and not for long.
fn once() -> SendOptions {
    SendOptions::new().attempts(Some(1)).timeout(Some(DEADLINE))
}

fn all(told: &Receiver<String>) -> Vec<String> {
    told.try_iter().collect()
}

fn ended(listener: Listener) -> End {
    listener.join().unwrap()
}

#[test]
fn a_send_returns_once_the_callback_has_run() {
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new());
    for text in ["Hello, World!", "", "grüße 🐚\n\0"] {
        once().send(&place.name, text).unwrap();
        assert_eq!(all(&told), [text]);
    }
    once().send(&listener, "by its handle").unwrap();
    once().send(listener.address(), "by its place").unwrap();
    assert_eq!(all(&told), ["by its handle", "by its place"]);
    assert!(listener.is_running());
    let end = listener.stop().unwrap();
    assert_eq!((end.reason, end.messages), (Reason::Asked, 5));
}

#[test]
fn large_messages_go_through_up_to_the_limit() {
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new().max_message(1 << 20));
    let largest = "x".repeat(1 << 20);
    once().send(&place.name, &largest).unwrap();
    assert_eq!(all(&told), [largest.as_str()]);
    let larger = once().send(&place.name, &format!("{largest}x"));
    assert!(
        matches!(larger, Err(Error::NotAcknowledged { .. })),
        "{larger:?}"
    );
    let own = once().max_message(3).send(&place.name, "four").unwrap_err();
    assert!(
        matches!(
            own,
            Error::TooLarge {
                length: 4,
                max: 3,
                ..
            }
        ),
        "{own}"
    );
    assert_eq!(own.outcome(), Outcome::NotSent);
    once().send(&place.name, "and on").unwrap();
    assert_eq!(all(&told), ["and on"]);
    listener.stop().unwrap();
}

#[test]
fn the_stop_message_stops_and_is_acknowledged() {
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new());
    once().send(&place.name, "one").unwrap();
    once().send(&place.name, "PIPECOM_DIE").unwrap();
    let end = ended(listener);
    assert_eq!((end.reason, end.messages), (Reason::StopMessage, 1));
    assert_eq!(all(&told), ["one"]);

    let (listener, told) = place.listen(ListenOptions::new().stop_message(Some("SHUTDOWN")));
    once().send(&place.name, "PIPECOM_DIE").unwrap();
    once().send(&place.name, "SHUTDOWN").unwrap();
    assert_eq!(ended(listener).reason, Reason::StopMessage);
    assert_eq!(all(&told), ["PIPECOM_DIE"]);

    let none = ListenOptions::new()
        .stop_message(None)
        .max_messages(Some(1));
    let (listener, told) = place.listen(none);
    once().send(&place.name, "PIPECOM_DIE").unwrap();
    assert_eq!(ended(listener).reason, Reason::MaxMessages);
    assert_eq!(all(&told), ["PIPECOM_DIE"]);
}

#[test]
fn it_stops_after_so_many_messages_or_when_idle() {
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new().max_messages(Some(3)));
    for text in ["one", "two", "three"] {
        once().send(&place.name, text).unwrap();
    }
    let end = ended(listener);
    assert_eq!((end.reason, end.messages), (Reason::MaxMessages, 3));
    assert_eq!(all(&told).len(), 3);

    let (listener, _) = place.listen(ListenOptions::new().max_messages(Some(0)));
    assert_eq!(ended(listener).messages, 0);

    let idle = Duration::from_millis(50);
    let started = Instant::now();
    let (listener, _) = place.listen(ListenOptions::new().idle_timeout(Some(idle)));
    assert_eq!(ended(listener).reason, Reason::Idle);
    assert!(started.elapsed() >= idle);
}

#[test]
fn results_go_to_the_response_pipe() {
    let (main, results) = (place(), place());
    let (responses, told) = results.listen(ListenOptions::new());
    let listener = ListenOptions::new()
        .response_pipe(&responses, once())
        .unwrap()
        .listen(&main.name, |task| match task {
            "quiet" => None,
            _ => Some(format!("SUCCESS: {task}")),
        })
        .unwrap();
    for task in ["one", "quiet", "two"] {
        once().send(&main.name, task).unwrap();
    }
    for result in ["SUCCESS: one", "SUCCESS: two"] {
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), result);
    }
    // A response that reaches nobody harms nobody else.
    responses.stop().unwrap();
    for task in ["three", "four"] {
        once().send(&main.name, task).unwrap();
    }
    assert_eq!(listener.stop().unwrap().messages, 5);
}

#[test]
fn nothing_there_is_told_after_the_attempts_or_the_time() {
    let place = place();
    let error = once()
        .attempts(Some(3))
        .send(&place.name, "text")
        .unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { attempts: 3, .. }),
        "{error}"
    );
    assert_eq!(error.code(), Code::ConnectionFailed);
    assert_eq!(error.code().as_str(), "CONNECTION_FAILED");
    assert_eq!(error.outcome(), Outcome::NotSent);
    let short = SendOptions::new().timeout(Some(Duration::from_millis(30)));
    let error = short.send(&place.name, "text").unwrap_err();
    assert!(
        matches!(error, Error::Timeout { last: Some(_), .. }),
        "{error}"
    );
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::Timeout, Outcome::NotSent)
    );
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_dir(place.directory.path()).unwrap().count(),
        0
    );
}

#[test]
fn a_listener_that_comes_later_is_waited_for() {
    let place = place();
    let name = place.name.clone();
    let sending = thread::spawn(move || send(&name, "early"));
    // Whichever is first.
    thread::yield_now();
    let (listener, told) = place.listen(ListenOptions::new());
    sending.join().unwrap().unwrap();
    assert_eq!(all(&told), ["early"]);
    listener.stop().unwrap();
}

#[test]
fn names_that_cannot_be_are_invalid_pipes() {
    for name in ["", "a\0b", if cfg!(unix) { "a/" } else { r"..\a" }] {
        let error = send(name, "text").unwrap_err();
        assert!(
            matches!(error, Error::InvalidPipe { .. }),
            "{name:?}: {error}"
        );
        assert_eq!(error.code(), Code::InvalidPipe);
        assert_eq!(
            Listener::start(name, |_| None).unwrap_err().code(),
            Code::InvalidPipe
        );
    }
}

#[test]
fn a_slow_callback_is_waited_for_and_not_beyond_the_time() {
    let place = place();
    let (release, wait) = mpsc::channel::<()>();
    let listener = Listener::start(&place.name, move |text| {
        if text == "slow" {
            wait.recv().unwrap();
        }
        None
    });
    let listener = listener.unwrap();
    let short = once().timeout(Some(Duration::from_millis(50)));
    let slow = short.send(&place.name, "slow").unwrap_err();
    assert_eq!(
        (slow.code(), slow.outcome()),
        (Code::Timeout, Outcome::Unknown),
        "{slow}"
    );
    release.send(()).unwrap();
    once().send(&place.name, "fast").unwrap();
    assert_eq!(listener.stop().unwrap().messages, 2);
}

#[test]
fn a_callback_that_panics_ends_its_listener_and_acknowledges_nothing() {
    let place = place();
    let listener = Listener::start(&place.name, |_| panic!("on purpose")).unwrap();
    let error = once().send(&place.name, "text").unwrap_err();
    assert!(matches!(error, Error::NotAcknowledged { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(matches!(listener.join(), Err(Error::Panicked { .. })));
    let (listener, _) = place.listen(ListenOptions::new());
    once().send(&place.name, "text").unwrap();
    listener.stop().unwrap();
}

#[test]
fn a_handle_that_is_dropped_leaves_the_listener_to_run() {
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new());
    let stopper = listener.stopper();
    drop(listener);
    once().send(&place.name, "text").unwrap();
    assert_eq!(all(&told), ["text"]);
    stopper.stop();
    // Its end of the channel goes with it.
    assert!(told.recv_timeout(DEADLINE).is_err());
}

#[test]
fn twenty_senders_at_once_lose_nothing_and_are_told_the_truth() {
    const SENDERS: usize = 20;
    const EACH: usize = 100;
    let place = place();
    let (listener, told) = place.listen(ListenOptions::new());
    let options = SendOptions::new().timeout(Some(Duration::from_secs(120)));
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (options, name) = (&options, &place.name);
            scope.spawn(move || {
                for number in 0..EACH {
                    options.send(name, &format!("{sender} {number}")).unwrap();
                }
            });
        }
    });
    let mut found = all(&told);
    assert_eq!(listener.stop().unwrap().messages, (SENDERS * EACH) as u64);
    // Of each sender in order, and each once.
    let mut next = [0; SENDERS];
    for text in &found {
        let (sender, number) = text.split_once(' ').unwrap();
        let sender: usize = sender.parse().unwrap();
        assert_eq!(number, next[sender].to_string());
        next[sender] += 1;
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), SENDERS * EACH);
}

#[cfg(unix)]
#[test]
fn nothing_is_left_behind() {
    let place = place();
    let (listener, _) = place.listen(ListenOptions::new());
    once().send(&place.name, "text").unwrap();
    listener.stop().unwrap();
    assert_eq!(
        std::fs::read_dir(place.directory.path()).unwrap().count(),
        0
    );
}
