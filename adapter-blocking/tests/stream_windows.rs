//! What streams can do on pipes alone, and with another program's pipes: those
//! of `winpipe`.
#![cfg(windows)]

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::OwnedHandle;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sealpipe_blocking::{Access, Endpoint, LocalListener, LocalStream};
use sealpipe_endpoint::ListenOptions;
use winpipe::{WinListener, WinStream};

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(20);

const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;

fn name(test: &str) -> String {
    format!(r"\\.\pipe\test-{}-stream-{test}", std::process::id())
}

/// Sends a word each way, and then the one that began is gone.
fn talk<A: Read + Write + Send + 'static>(mut one: A, mut other: impl Read + Write) {
    let first = thread::spawn(move || {
        one.write_all(b"question").unwrap();
        let mut answer = [0; 6];
        one.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    });
    let mut question = [0; 8];
    other.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
    other.write_all(b"answer").unwrap();
    first.join().unwrap();
    match other.read(&mut [0; 10]) {
        Ok(length) => assert_eq!(length, 0),
        // As winpipe has it.
        Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
    }
}

#[test]
fn a_client_of_winpipe_is_served() {
    let name = name("server");
    let listener = LocalListener::bind(&name).unwrap();
    for ours_first in [true, false] {
        let client = WinStream::connect(&name).unwrap();
        let (server, _) = listener.accept().unwrap();
        if ours_first {
            talk(server, client);
        } else {
            talk(client, server);
        }
    }
}

/// Opened by std and taken over: under Wine winpipe's pipe has no owner, which
/// `connect_with` asks for whatever it allows.
#[test]
fn a_server_of_winpipe_is_reached() {
    let name = name("client");
    let listener = WinListener::bind(&name).unwrap();
    for ours_first in [true, false] {
        let server = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || listener.accept().unwrap().0
        });
        // There is a pipe only while it accepts.
        let start = Instant::now();
        let pipe: OwnedHandle = loop {
            let mut open = OpenOptions::new();
            open.read(true).write(true);
            match open.custom_flags(FILE_FLAG_OVERLAPPED).open(&name) {
                Err(error) if error.kind() == ErrorKind::NotFound => thread::yield_now(),
                result => break result.unwrap().into(),
            }
            assert!(start.elapsed() < DEADLINE);
        };
        let client = LocalStream::try_from(pipe).unwrap();
        let server = server.join().unwrap();
        if ours_first {
            talk(client, server);
        } else {
            talk(server, client);
        }
    }
}

#[test]
fn a_timeout_set_meanwhile_ends_a_read_that_waits() {
    // Often, for whether it waits already is not to be seen from here.
    for _ in 0..50 {
        let (one, _other) = LocalStream::pair().unwrap();
        let (ready, is_ready) = mpsc::channel();
        let reader = thread::spawn({
            let mut one = one.try_clone().unwrap();
            move || {
                ready.send(()).unwrap();
                one.read(&mut [0; 10]).unwrap_err().kind()
            }
        });
        is_ready.recv().unwrap();
        one.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert_eq!(reader.join().unwrap(), ErrorKind::WouldBlock);
    }
}

#[test]
fn set_not_to_block_a_listener_ends_every_accept_that_waits() {
    let listener = LocalListener::bind(name("stop")).unwrap();
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || listener.accept().unwrap_err().kind())
        })
        .collect();
    listener.set_nonblocking(true).unwrap();
    for server in servers {
        assert_eq!(server.join().unwrap(), ErrorKind::WouldBlock);
    }
    // It goes on afterwards.
    listener.set_nonblocking(false).unwrap();
    let server = thread::spawn(move || listener.accept().unwrap().0);
    let client = LocalStream::connect(name("stop")).unwrap();
    talk(client, server.join().unwrap());
}

#[test]
fn a_write_outlives_the_thread_that_wrote_it() {
    let (one, other) = LocalStream::pair().unwrap();
    let mut writer = one.try_clone().unwrap();
    let written = thread::spawn(move || writer.write_all(&[b'w'; 200_000]).unwrap());
    let mut bytes = vec![0; 200_000];
    (&other).read_exact(&mut bytes[..150_000]).unwrap();
    written.join().unwrap();
    (&other).read_exact(&mut bytes[150_000..]).unwrap();
    (&one).write_all(b"more").unwrap();
    (&other).read_exact(&mut bytes[..4]).unwrap();
}

#[test]
fn remote_clients_are_refused_unless_allowed() {
    // Wine has no other machines; that both kinds of pipe are served shows that
    // the option asks nothing impossible.
    for allowed in [false, true] {
        let endpoint = Endpoint::pipe(&name(&format!("remote-{allowed}"))).unwrap();
        let options = ListenOptions::new().remote_clients(allowed);
        let listener = LocalListener::bind_with(&endpoint, &options).unwrap();
        let client = LocalStream::connect_with(&endpoint, &Access::SameUser, None).unwrap();
        let (server, _) = listener.accept().unwrap();
        talk(client, server);
    }
}

#[test]
fn a_pipe_opened_elsewhere_becomes_a_stream() {
    let name = name("handle");
    let listener = LocalListener::bind(&name).unwrap();
    let file = sealpipe_endpoint::connect(&Endpoint::pipe(&name).unwrap(), &Access::SameUser);
    let client = LocalStream::try_from(file.unwrap().stream).unwrap();
    let (server, _) = listener.accept().unwrap();
    talk(client, server);
    let file: OwnedHandle = std::fs::File::open("NUL").unwrap().into();
    let error = LocalStream::try_from(file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_stream_becomes_a_handle_and_the_handle_a_stream() {
    let name = name("into-handle");
    let listener = LocalListener::bind(&name).unwrap();
    let client = LocalStream::connect(&name).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    // What was written before goes with it, to be read or read already.
    (&client).write_all(b"first").unwrap();
    let client = LocalStream::try_from(OwnedHandle::try_from(client).unwrap()).unwrap();
    let mut first = [0; 5];
    server.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    let server = LocalStream::try_from(OwnedHandle::try_from(server).unwrap()).unwrap();
    talk(client, server);

    // A client that nobody has checked is not handed out.
    let _client = LocalStream::connect(&name).unwrap();
    let (server, _) = listener.accept().unwrap();
    let error = OwnedHandle::try_from(server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
