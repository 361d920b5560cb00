//! PipeCom's FIFOs: who may have them, what may come through them, and whose
//! acknowledgement is whose.
#![cfg(unix)]

use rustix::fs::{CWD, Mode, mkfifoat};
use sealpipe_blocking::{
    Access,
    pipecom::{Code, Error, ListenOptions, Listener, Outcome, Reason, SendOptions},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(20);

struct Place {
    directory: tempfile::TempDir,
    name: String,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("pipe").to_str().unwrap().to_owned();
    Place { directory, name }
}

impl Place {
    fn ack(&self) -> PathBuf {
        self.directory.path().join("pipe_ack")
    }

    fn make(&self, mode: u32) {
        for path in [PathBuf::from(&self.name), self.ack()] {
            mkfifoat(CWD, path, Mode::from_raw_mode(mode)).unwrap();
        }
    }

    fn mode(&self) -> [u32; 2] {
        [PathBuf::from(&self.name), self.ack()].map(|path| {
            let metadata = fs::metadata(path).unwrap();
            assert!(metadata.file_type().is_fifo());
            metadata.permissions().mode() & 0o7777
        })
    }

    /// A sender of no make at all, that writes these bytes and goes.
    fn write(&self, bytes: &[u8]) {
        let mut fifo = OpenOptions::new().write(true).open(&self.name).unwrap();
        fifo.write_all(bytes).unwrap();
    }

    fn entries(&self) -> usize {
        fs::read_dir(self.directory.path()).unwrap().count()
    }

    /// A listener whose callback tells each text and waits to be released.
    fn stepwise(&self) -> (Listener, mpsc::Receiver<String>, mpsc::Sender<()>) {
        let (tell, told) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let listener = Listener::start(&self.name, move |text| {
            tell.send(text.to_owned()).unwrap();
            wait.recv().unwrap();
            None
        });
        (listener.unwrap(), told, release)
    }
}

fn once() -> SendOptions {
    SendOptions::new().attempts(Some(1)).timeout(Some(DEADLINE))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads without waiting for a writer to come.
fn reader(path: impl AsRef<std::path::Path>) -> File {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .unwrap()
}

/// Whether somebody has the FIFO open for writing.
fn has_writer(path: impl AsRef<std::path::Path>) -> bool {
    match reader(path).read(&mut [0; 64]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[test]
fn the_mode_is_narrow_unless_widened() {
    let place = place();
    let listener = Listener::start(&place.name, |_| None).unwrap();
    assert_eq!(place.mode(), [0o600; 2]);
    listener.stop().unwrap();
    let wide = ListenOptions::new().access(Access::Anyone);
    let listener = wide.listen(&place.name, |_| None).unwrap();
    assert_eq!(place.mode(), [0o666; 2]);
    once().send(&place.name, "text").unwrap();
    let turns = fs::metadata(place.directory.path().join("pipe_ack.lock")).unwrap();
    assert_eq!(turns.permissions().mode() & 0o777, 0o666);
    listener.stop().unwrap();
    assert_eq!(place.entries(), 0);
    let some = ListenOptions::new().access(Access::Users(Vec::new()));
    let error = some.listen(&place.name, |_| None).unwrap_err();
    assert_eq!(error.code(), Code::InvalidPipe, "{error}");
}

#[test]
fn a_listener_for_anyone_does_not_start_where_others_could_not_take_turns() {
    let place = place();
    let turns = File::create(place.directory.path().join("pipe_ack.lock")).unwrap();
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&turns, lock).unwrap();
    let wide = ListenOptions::new().access(Access::Anyone);
    let error = wide.clone().listen(&place.name, |_| None).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionFailed, "{error}");
    drop(turns);
    let listener = wide.listen(&place.name, |_| None).unwrap();
    let turns = fs::metadata(place.directory.path().join("pipe_ack.lock")).unwrap();
    assert_eq!(turns.permissions().mode() & 0o777, 0o666);
    listener.stop().unwrap();
    assert_eq!(place.entries(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_fifo_holds_as_much_as_is_asked_for() {
    let place = place();
    let options = ListenOptions::new().buffer_size(128 << 10);
    let listener = options.listen(&place.name, |_| None).unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(reader(&place.name)).unwrap();
    assert_eq!(size, 128 << 10);
    listener.stop().unwrap();
}

#[test]
fn fifos_that_are_there_already_are_taken_over_and_narrowed() {
    let place = place();
    place.make(0o644);
    let before = fs::metadata(&place.name).unwrap().ino();
    // A sender that was first waits for somebody to read.
    let name = place.name.clone();
    let first = thread::spawn(move || {
        let mut fifo = OpenOptions::new().write(true).open(name).unwrap();
        fifo.write_all(b"Zmlyc3Q=\n").unwrap();
    });
    let (listener, told, release) = place.stepwise();
    first.join().unwrap();
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "first");
    assert_eq!(place.mode(), [0o600; 2]);
    assert_eq!(fs::metadata(&place.name).unwrap().ino(), before);
    let mut answer = String::new();
    let acks = place.ack();
    let waiting = thread::spawn(move || {
        let mut acks = BufReader::new(File::open(acks).unwrap());
        acks.read_line(&mut answer).unwrap();
        answer
    });
    release.send(()).unwrap();
    assert_eq!(waiting.join().unwrap(), "QUNL\n");
    listener.stop().unwrap();
    assert_eq!(place.entries(), 0);
}

#[test]
fn of_two_listeners_one_wins() {
    let place = place();
    let listener = Listener::start(&place.name, |_| None).unwrap();
    let error = Listener::start(&place.name, |_| None).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionFailed);
    let text = error.to_string();
    assert!(text.contains("in use by process"), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    once().send(&place.name, "text").unwrap();
    listener.stop().unwrap();
}

#[test]
fn a_listener_that_knows_of_no_lock_is_known_by_its_reading() {
    let place = place();
    place.make(0o644);
    let other = reader(&place.name);
    let error = Listener::start(&place.name, |_| None).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionFailed, "{error}");
    assert_eq!(place.mode(), [0o644; 2], "it stays as it was");
    assert_eq!(place.entries(), 2);
    drop(other);
    Listener::start(&place.name, |_| None)
        .unwrap()
        .stop()
        .unwrap();
}

#[test]
fn what_is_no_fifo_is_neither_used_nor_removed() {
    for make in [
        (|path| fs::write(path, b"precious").unwrap()) as fn(&str),
        |path| fs::create_dir(path).unwrap(),
        |path| std::os::unix::fs::symlink("elsewhere", path).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ] {
        let place = place();
        make(&place.name);
        let error = Listener::start(&place.name, |_| None).unwrap_err();
        assert!(
            matches!(error.code(), Code::InvalidPipe | Code::ConnectionFailed),
            "{error}"
        );
        let error = once().send(&place.name, "text").unwrap_err();
        assert!(
            matches!(error.code(), Code::InvalidPipe | Code::ConnectionFailed),
            "{error}"
        );
        assert!(fs::symlink_metadata(&place.name).is_ok());
        assert_eq!(place.entries(), 1, "nothing is left beside it");
    }
}

#[test]
fn a_listener_takes_the_file_of_turns_along() {
    let place = place();
    for _ in 0..100 {
        let listener = Listener::start(&place.name, |_| None).unwrap();
        let name = place.name.clone();
        let sending = thread::spawn(move || once().send(&name, "text"));
        until("there are turns", || {
            place.directory.path().join("pipe_ack.lock").exists()
        });
        listener.stop().unwrap();
        // It was done, or in the middle.
        let _ = sending.join().unwrap();
        assert_eq!(place.entries(), 0);
    }
}

#[test]
fn a_link_to_a_fifo_is_not_followed() {
    let (real, other) = (place(), place());
    let listener = Listener::start(&real.name, |_| None).unwrap();
    std::os::unix::fs::symlink(&real.name, &other.name).unwrap();
    let error = once().send(&other.name, "text").unwrap_err();
    assert_eq!(error.code(), Code::InvalidPipe, "{error}");
    assert_eq!(listener.stop().unwrap().messages, 0);
}

/// Needs root, to make what belongs to somebody else.
#[test]
fn another_users_fifo_is_not_trusted() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make another user's FIFO");
        return;
    }
    let place = place();
    place.make(0o666);
    std::os::unix::fs::chown(&place.name, Some(65534), None).unwrap();
    std::os::unix::fs::chown(place.ack(), Some(65534), None).unwrap();
    let _reads = (reader(&place.name), reader(place.ack()));
    let error = once().send(&place.name, "text").unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    let error = Listener::start(&place.name, |_| None).unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    // Unless it is asked for by name.
    let short = once().timeout(Some(Duration::from_millis(20)));
    let error = short.listener(Access::Anyone).send(&place.name, "text");
    assert_eq!(error.unwrap_err().code(), Code::Timeout);
}

#[test]
fn what_is_no_message_is_passed_over() {
    let place = place();
    let (tell, told) = mpsc::channel();
    let listener = ListenOptions::new()
        .max_message(100)
        .listen(&place.name, move |text| {
            tell.send(text.to_owned()).unwrap();
            None
        })
        .unwrap();
    let long = [b"QUFB".repeat(100_000).as_slice(), b"\n"].concat();
    for bytes in [
        // No line feed; its sender has gone.
        b"dGV4dA==".as_slice(),
        b"not base64!\n",
        b"dGV4dA=\n",
        b"/////w==\n",
        b"\0\0\0\0\n",
        &long,
        &long[..long.len() - 1],
    ] {
        place.write(bytes);
        // It is in none's way, and comes first.
        once().send(&place.name, "fine").unwrap();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["fine"], "{bytes:?}");
    }
    listener.stop().unwrap();
}

#[test]
fn several_lines_in_one_opening_are_as_many_messages() {
    let place = place();
    let (listener, told, release) = place.stepwise();
    place.write(b"b25l\nnonsense\ndHdv\ndGhy");
    for text in ["one", "two"] {
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), text);
        release.send(()).unwrap();
    }
    let name = place.name.clone();
    let sending = thread::spawn(move || once().send(&name, "three"));
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "three");
    release.send(()).unwrap();
    sending.join().unwrap().unwrap();
    listener.stop().unwrap();
}

/// The sender of the first message has gone by the time that it is acknowledged;
/// what is then in the FIFO is for nobody, and above all not for the second.
#[test]
fn an_acknowledgement_for_nobody_is_not_taken_by_the_next() {
    let place = place();
    let (listener, told, release) = place.stepwise();
    place.write(b"Zmlyc3Q=\n");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "first");
    // Half of the time the next sender is there before the acknowledgement, half after.
    for early in [false, true] {
        let name = place.name.clone();
        let second = || thread::spawn(move || once().send(&name, "second"));
        let sending = if early {
            let sending = second();
            until("it has its turn", || {
                place.directory.path().join("pipe_ack.lock").exists()
            });
            release.send(()).unwrap();
            sending
        } else {
            release.send(()).unwrap();
            second()
        };
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "second");
        // The acknowledgement of the first has long been written.
        assert!(!sending.is_finished());
        release.send(()).unwrap();
        sending.join().unwrap().unwrap();
        if !early {
            place.write(b"Zmlyc3Q=\n");
            assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "first");
        }
    }
    listener.stop().unwrap();
}

#[test]
fn a_sender_that_gave_up_leaves_no_acknowledgement_to_the_next() {
    let place = place();
    let (listener, told, release) = place.stepwise();
    let short = once().timeout(Some(Duration::from_millis(30)));
    let error = short.send(&place.name, "slow").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "slow");
    // While it is still being worked on, nothing is sent that would be mistaken.
    let error = short.send(&place.name, "impatient").unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::Timeout, Outcome::NotSent)
    );
    let name = place.name.clone();
    let sending = thread::spawn(move || once().send(&name, "patient"));
    release.send(()).unwrap();
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "patient");
    assert!(!sending.is_finished());
    release.send(()).unwrap();
    sending.join().unwrap().unwrap();
    assert_eq!(listener.stop().unwrap().messages, 2);
}

#[test]
fn a_message_that_nobody_reads_is_taken_back() {
    let place = place();
    place.make(0o600);
    let mut listening = reader(&place.name);
    let short = once().timeout(Some(Duration::from_millis(30)));
    let error = short.send(&place.name, "text").unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::Timeout, Outcome::NotSent),
        "{error}"
    );
    assert_eq!(
        listening.read(&mut [0; 10]).unwrap(),
        0,
        "there is nothing in it"
    );
}

#[test]
fn a_message_whose_listener_ends_before_it_reads_goes_to_the_next() {
    let place = place();
    place.make(0o600);
    let listening = reader(&place.name);
    let name = place.name.clone();
    let sending = thread::spawn(move || SendOptions::new().send(&name, "text"));
    until("it is sent", || {
        rustix::io::ioctl_fionread(&listening).unwrap() > 0
    });
    drop(listening);
    // One that starts may find the sender itself reading, as it takes its message back.
    let (tell, told) = mpsc::channel();
    let listener = loop {
        let tell = tell.clone();
        let started = Listener::start(&place.name, move |text| {
            tell.send(text.to_owned()).unwrap();
            None
        });
        match started {
            Ok(listener) => break listener,
            Err(Error::Endpoint(_)) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    sending.join().unwrap().unwrap();
    listener.stop().unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["text"]);
}

#[test]
fn a_message_in_a_fifo_that_was_removed_is_not_sent() {
    let place = place();
    place.make(0o600);
    let listening = reader(&place.name);
    let name = place.name.clone();
    let sending = thread::spawn(move || once().send(&name, "text"));
    until("it is sent", || {
        rustix::io::ioctl_fionread(&listening).unwrap() > 0
    });
    // As a listener ends in order that had not come to read it.
    fs::remove_file(&place.name).unwrap();
    fs::remove_file(place.ack()).unwrap();
    drop(listening);
    let error = sending.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
}

#[test]
fn a_sender_that_never_ends_its_line_holds_nobody_up_for_long() {
    let place = place();
    let (tell, told) = mpsc::channel();
    let listener = Listener::start(&place.name, move |text| {
        tell.send(text.to_owned()).unwrap();
        None
    })
    .unwrap();
    let mut endless = OpenOptions::new().write(true).open(&place.name).unwrap();
    endless.write_all(b"aGVs").unwrap();
    // It keeps the FIFO open; its line is given up, and what comes next is taken for the
    // rest of it.
    let error = once().send(&place.name, "text").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(matches!(error, Error::NotAcknowledged { .. }), "{error}");
    once().send(&place.name, "other").unwrap();
    // Its sender can end as well.
    drop(endless);
    once().send(&place.name, "third").unwrap();
    assert_eq!(listener.stop().unwrap().messages, 2);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["other", "third"]);
}

#[test]
fn a_listener_stops_before_the_messages_that_wait_for_it() {
    let place = place();
    let (listener, told, release) = place.stepwise();
    place.write(b"b25l\ndHdv\ndGhyZWU=\n");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "one");
    listener.stopper().stop();
    release.send(()).unwrap();
    drop(release);
    let end = listener.join().unwrap();
    assert_eq!((end.reason, end.messages), (Reason::Asked, 1));
    assert_eq!(place.entries(), 0);
}

#[test]
fn the_rest_of_a_line_that_was_given_up_is_no_message() {
    let place = place();
    let (listener, told, release) = place.stepwise();
    let mut slow = OpenOptions::new().write(true).open(&place.name).unwrap();
    let mut begin = || {
        slow.write_all(b"aGVs").unwrap();
        until("the listener is at it", || has_writer(place.ack()));
        until("the line is given up", || !has_writer(place.ack()));
    };
    begin();
    place.write(b"bG8=\ndGV4dA==\n");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "text");
    release.send(()).unwrap();
    // Where its sender ends, the line does as well.
    begin();
    drop(slow);
    until("the listener has seen it", || has_writer(&place.name));
    let name = place.name.clone();
    let sending = thread::spawn(move || once().send(&name, "next"));
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), "next");
    release.send(()).unwrap();
    sending.join().unwrap().unwrap();
    listener.stop().unwrap();
}

#[test]
fn a_listener_is_idle_where_a_line_never_ends() {
    let place = place();
    let idle = ListenOptions::new().max_message(100);
    let idle = idle.idle_timeout(Some(Duration::from_millis(100)));
    let listener = idle.listen(&place.name, |_| None).unwrap();
    let mut endless = OpenOptions::new().write(true).open(&place.name).unwrap();
    let started = Instant::now();
    // Until nobody reads any more.
    while endless.write_all(&[b'x'; 64 << 10]).is_ok() {
        assert!(started.elapsed() < DEADLINE, "it listens still");
    }
    assert_eq!(listener.join().unwrap().reason, Reason::Idle);
}

#[test]
fn a_sender_gives_up_where_answers_never_end() {
    let place = place();
    place.make(0o600);
    let _listening = reader(&place.name);
    let mut acks = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(place.ack())
        .unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let flood = thread::spawn(move || {
        let started = Instant::now();
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) && started.elapsed() < DEADLINE {
            // As much as there is room for.
            let _ = acks.write(&[b'x'; 4 << 10]);
        }
    });
    let short = once().timeout(Some(Duration::from_millis(50)));
    let error = short.send(&place.name, "text").unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
    assert!(!flood.is_finished(), "it went on for as long as they came");
    drop(stop);
    flood.join().unwrap();
}

#[test]
fn an_answer_that_is_no_acknowledgement_is_told() {
    for (answer, what) in [
        (b"Tk8=\n".as_slice(), "no acknowledgement"),
        (&[b'x'; 200], "no acknowledgement"),
        (b"", "closed the FIFO"),
    ] {
        let place = place();
        place.make(0o600);
        let messages = reader(&place.name);
        let name = place.name.clone();
        let sending = thread::spawn(move || once().send(&name, "text"));
        until("it is sent", || {
            rustix::io::ioctl_fionread(&messages).unwrap() > 0
        });
        let mut line = [0; 9];
        (&messages).read_exact(&mut line).unwrap();
        assert_eq!(&line, b"dGV4dA==\n");
        let mut acks = OpenOptions::new().write(true).open(place.ack()).unwrap();
        acks.write_all(answer).unwrap();
        drop(acks);
        let error = sending.join().unwrap().unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
}
