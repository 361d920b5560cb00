//! Reading, writing and accepting on pipes without waiting.
#![cfg(windows)]

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Result, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::thread;

use sealpipe_endpoint::{
    Access, Endpoint, PipeEvent, PipeInstance, PipeReader, PipeWriter, User, client_of, connect,
    is_end_of_stream, listen, pipe_halves, server_of,
};
use windows_sys::Win32::Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessHandleCount, WaitForSingleObject,
};

/// How long anything may take that is going to happen.
const DEADLINE: u32 = 20_000;
/// What the pipes of these tests buffer in each direction.
const BUFFER: usize = 64 * 1024;

/// An endpoint of the test's own.
fn endpoint(test: &str) -> Endpoint {
    Endpoint::name(&format!("test-{}-pipe-{test}", std::process::id())).unwrap()
}

/// The two handles of a connection: the server's, the client's.
fn handles(test: &str) -> (OwnedHandle, OwnedHandle) {
    let endpoint = endpoint(test);
    let (server, _claim) = listen(&endpoint, &Access::SameUser).unwrap().into_parts();
    let client = connect(&endpoint, &Access::SameUser).unwrap().stream;
    (server, client)
}

type Halves = (PipeReader, PipeWriter);

/// The two ends of a connection: the server's, the client's.
fn pair(test: &str) -> (Halves, Halves) {
    let (server, client) = handles(test);
    let mut server = PipeInstance::new(server).unwrap();
    server.try_connect().unwrap();
    (server.into_halves().unwrap(), pipe_halves(client).unwrap())
}

fn is_set(event: &PipeEvent) -> bool {
    let event = event.as_handle();
    // SAFETY: the handle is borrowed for the call.
    match unsafe { WaitForSingleObject(event.as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        other => panic!("{other}"),
    }
}

fn wait(event: &PipeEvent) {
    let event = event.as_handle();
    // SAFETY: the handle is borrowed for the call.
    let result = unsafe { WaitForSingleObject(event.as_raw_handle(), DEADLINE) };
    assert_eq!(result, WAIT_OBJECT_0);
}

fn would_block<T: std::fmt::Debug>(result: Result<T>) -> bool {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

/// Waits until it would not block.
fn until<H, T: std::fmt::Debug>(
    half: &mut H,
    event: fn(&H) -> &PipeEvent,
    mut attempt: impl FnMut(&mut H) -> Result<T>,
) -> Result<T> {
    loop {
        match attempt(half) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(event(half)),
            result => return result,
        }
    }
}

fn read(reader: &mut PipeReader) -> Result<Vec<u8>> {
    until(reader, PipeReader::event, |reader| {
        let mut bytes = vec![0; 10_000];
        let length = reader.try_read(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    })
}

fn read_exactly(reader: &mut PipeReader, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let more = read(reader).unwrap();
        assert!(!more.is_empty(), "the end after {} bytes", bytes.len());
        bytes.extend(more);
    }
    assert_eq!(bytes.len(), length);
    bytes
}

fn write_all(writer: &mut PipeWriter, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let taken = until(writer, PipeWriter::event, |writer| writer.try_write(bytes)).unwrap();
        bytes = &bytes[taken..];
    }
}

fn flush(writer: &mut PipeWriter) -> Result<()> {
    until(writer, PipeWriter::event, PipeWriter::try_flush)
}

/// Writes until a write stays in flight, and says how many bytes were taken.
fn fill(writer: &mut PipeWriter) -> usize {
    let mut taken = 0;
    while !would_block(writer.try_flush()) {
        taken += writer.try_write(&[b'f'; BUFFER / 4]).unwrap();
        assert!(taken < 100 * BUFFER);
    }
    taken
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// How many handles this process has. Wine does not count them; there a new one
/// gets the lowest number that is free, in steps of four.
fn handle_count(any: &OwnedHandle) -> u32 {
    let mut count = 0;
    // SAFETY: the pseudo-handle is always valid, and the pointer is to a live
    // variable.
    let told = unsafe { GetProcessHandleCount(GetCurrentProcess(), &raw mut count) };
    if told != 0 && count != 0 {
        return count;
    }
    let new = any.try_clone().unwrap();
    u32::try_from(new.as_raw_handle().addr() / 4).unwrap()
}

#[test]
fn bytes_go_both_ways() {
    let (mut server, mut client) = pair("round");
    assert_eq!(client.1.try_write(b"ping").unwrap(), 4);
    assert_eq!(read(&mut server.0).unwrap(), b"ping");
    assert_eq!(server.1.try_write(b"pong").unwrap(), 4);
    assert_eq!(read(&mut client.0).unwrap(), b"pong");
    // A part of what is there, then the rest.
    write_all(&mut client.1, b"abcdef");
    let mut four = [0; 4];
    let length = until(&mut server.0, PipeReader::event, |reader| {
        reader.try_read(&mut four)
    });
    assert_eq!(length.unwrap(), 4);
    assert_eq!(&four, b"abcd");
    assert_eq!(server.0.try_read(&mut four).unwrap(), 2);
    assert_eq!(&four[..2], b"ef");
    assert!(would_block(server.0.try_read(&mut four)));
    assert_eq!(server.0.try_read(&mut []).unwrap(), 0);
}

#[test]
fn several_slices_become_one_write() {
    let (mut server, mut client) = pair("vectored");
    let long = pattern(2 * BUFFER);
    let slices = [
        IoSlice::new(b"head"),
        IoSlice::new(b""),
        IoSlice::new(&long),
    ];
    let taken = client.1.try_write_vectored(&slices).unwrap();
    assert_eq!(taken, 64 * 1024);
    let bytes = read_exactly(&mut server.0, taken);
    assert_eq!(&bytes[..4], b"head");
    assert_eq!(bytes[4..], long[..taken - 4]);
    flush(&mut client.1).unwrap();
    assert_eq!(client.1.try_write_vectored(&[]).unwrap(), 0);
}

#[test]
fn a_reader_waits_until_there_is_something() {
    let (mut server, mut client) = pair("wait");
    let mut bytes = [0; 100];
    assert!(is_set(server.0.event()));
    for _ in 0..50 {
        assert!(would_block(server.0.try_read(&mut bytes)));
        assert!(!is_set(server.0.event()));
        // Asking again changes nothing.
        assert!(would_block(server.0.try_read(&mut bytes)));
        assert!(!is_set(server.0.event()));
        write_all(&mut client.1, b"something");
        wait(server.0.event());
        // Whoever waited may have left; the next finds it all the same.
        assert!(is_set(server.0.event()));
        assert_eq!(server.0.try_read(&mut bytes).unwrap(), 9);
    }
}

#[test]
fn a_peer_that_goes_is_the_end_after_what_it_wrote() {
    let (mut server, mut client) = pair("goes");
    let mut bytes = [0; 100];
    assert!(would_block(client.0.try_read(&mut bytes)));
    write_all(&mut server.1, b"last words");
    drop(server);
    assert_eq!(read(&mut client.0).unwrap(), b"last words");
    for _ in 0..3 {
        assert_eq!(read(&mut client.0).unwrap(), b"");
        assert!(is_set(client.0.event()));
    }
    for _ in 0..3 {
        let error = client.1.try_write(b"too late").unwrap_err();
        assert!(is_end_of_stream(&error), "{error}");
    }
}

#[test]
fn a_write_in_flight_ends_with_its_peer() {
    let (server, mut client) = pair("write-end");
    fill(&mut client.1);
    assert!(!is_set(client.1.event()));
    assert!(would_block(client.1.try_write(b"more")));
    drop(server);
    for _ in 0..3 {
        let error = flush(&mut client.1).unwrap_err();
        assert!(is_end_of_stream(&error), "{error}");
        assert!(client.1.try_write(b"more").is_err());
    }
}

#[test]
fn what_is_dropped_in_flight_frees_the_handle() {
    let (mut server, mut client) = pair("dropped");
    let mut byte = [0];
    assert!(would_block(client.0.try_read(&mut byte)));
    let taken = fill(&mut client.1);
    drop(client);
    // The end comes, so the handle is closed; what was in the pipe's buffer
    // comes before it.
    let mut got = 0;
    loop {
        match read(&mut server.0).unwrap().len() {
            0 => break,
            length => got += length,
        }
    }
    assert!(got <= taken, "{got} of {taken}");
    println!("{got} of {taken} bytes arrived");
}

#[test]
fn dropping_one_half_leaves_the_other_at_work() {
    let (server, client) = pair("half");
    let (mut reader, writer) = server;
    let (peer_reader, mut peer_writer) = client;
    let mut bytes = [0; 10];
    assert!(would_block(reader.try_read(&mut bytes)));
    drop(writer);
    drop(peer_reader);
    assert!(!is_set(reader.event()));
    let taken = fill(&mut peer_writer);
    read_exactly(&mut reader, taken);
    flush(&mut peer_writer).unwrap();

    let (server, client) = pair("other-half");
    let (reader, mut writer) = server;
    let taken = fill(&mut writer);
    drop(reader);
    let (mut peer_reader, _peer_writer) = client;
    read_exactly(&mut peer_reader, taken);
    flush(&mut writer).unwrap();
}

#[test]
fn two_threads_use_one_pipe_at_once() {
    let (server, client) = pair("threads");
    let sent = pattern(1_000_000);
    let sent = &sent;
    thread::scope(|scope| {
        for (mut reader, mut writer) in [server, client] {
            scope.spawn(move || {
                write_all(&mut writer, sent);
                flush(&mut writer).unwrap();
            });
            scope.spawn(move || assert!(read_exactly(&mut reader, sent.len()) == *sent));
        }
    });
}

#[test]
fn many_small_messages_arrive_in_order() {
    let (server, mut client) = pair("small");
    let count = 3_000_u32;
    thread::scope(|scope| {
        let (mut reader, mut writer) = server;
        scope.spawn(move || {
            for _ in 0..count {
                let message = read_exactly(&mut reader, 4);
                write_all(&mut writer, &message);
            }
        });
        for number in 0..count {
            write_all(&mut client.1, &number.to_le_bytes());
            assert_eq!(read_exactly(&mut client.0, 4), number.to_le_bytes());
        }
    });
}

#[test]
fn a_write_of_nothing_is_not_the_end() {
    let (server, client) = handles("nothing");
    let mut server = pipe_halves(server).unwrap();
    let mut bytes = [0; 10];
    assert!(would_block(server.0.try_read(&mut bytes)));
    let mut client = File::from(client);
    for _ in 0..10 {
        assert_eq!(client.write(b"").unwrap(), 0);
        assert!(would_block(server.0.try_read(&mut bytes)));
    }
    client.write_all(b"end").unwrap();
    assert_eq!(read(&mut server.0).unwrap(), b"end");
}

#[test]
fn two_handles_of_one_end_can_both_be_used() {
    let (server, client) = handles("clones");
    let mut first = pipe_halves(server.try_clone().unwrap()).unwrap();
    let mut second = pipe_halves(server).unwrap();
    let mut client = pipe_halves(client).unwrap();
    let mut byte = [0];
    assert!(would_block(first.0.try_read(&mut byte)));
    assert!(would_block(second.0.try_read(&mut byte)));
    write_all(&mut client.1, b"x");
    // It wakes one or both; one of them gets it, and the other goes on waiting.
    let got = loop {
        let readers = [&mut first.0, &mut second.0];
        let got: Vec<bool> = readers
            .into_iter()
            .map(|reader| !would_block(reader.try_read(&mut byte)))
            .collect();
        if got.contains(&true) {
            break got;
        }
        thread::yield_now();
    };
    assert_ne!(got[0], got[1]);
    write_all(&mut first.1, b"1");
    write_all(&mut second.1, b"2");
    assert_eq!(read_exactly(&mut client.0, 2), b"12");
}

#[test]
fn the_end_of_a_thread_loses_no_wait() {
    let (server, client) = pair("thread-end");
    let (mut reader, mut client) = thread::scope(|scope| {
        let started = scope.spawn(move || {
            let (mut reader, mut client) = (server.0, client);
            assert!(would_block(reader.try_read(&mut [0])));
            let taken = fill(&mut client.1);
            assert!(taken > 0);
            (reader, (client, taken))
        });
        started.join().unwrap()
    });
    // That thread is gone, and with it, on Windows, the operations it started.
    let taken = client.1;
    let client = &mut client.0;
    let mut got = 0;
    while got < taken {
        match read(&mut reader).unwrap().len() {
            0 => panic!("the end after {got} of {taken} bytes"),
            length => got += length,
        }
        if flush_state(&mut client.1) == Flush::Failed {
            break;
        }
    }
    match flush_state(&mut client.1) {
        Flush::Failed => {
            println!("the write was cancelled after {got} of {taken} bytes");
            assert!(client.1.try_write(b"more").is_err());
            assert!(client.1.try_write(b"more").is_err());
        }
        Flush::Done => assert_eq!(got, taken),
        Flush::InFlight => flush(&mut client.1).unwrap(),
    }
}

#[derive(PartialEq)]
enum Flush {
    Done,
    InFlight,
    Failed,
}

fn flush_state(writer: &mut PipeWriter) -> Flush {
    match writer.try_flush() {
        Ok(()) => Flush::Done,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Flush::InFlight,
        Err(_) => Flush::Failed,
    }
}

#[test]
fn an_instance_waits_for_its_client() {
    let endpoint = endpoint("instance");
    let (first, claim) = listen(&endpoint, &Access::SameUser).unwrap().into_parts();
    let mut first = PipeInstance::new(first).unwrap();
    assert!(is_set(first.event()));
    assert!(would_block(first.try_connect()));
    assert!(!is_set(first.event()));
    assert!(would_block(first.try_connect()));
    let client = connect(&endpoint, &Access::SameUser).unwrap().stream;
    until(&mut first, PipeInstance::event, PipeInstance::try_connect).unwrap();
    let mut client = pipe_halves(client).unwrap();
    let mut server = first.into_halves().unwrap();
    write_all(&mut client.1, b"hello");
    assert_eq!(read(&mut server.0).unwrap(), b"hello");
    let own = User::current().unwrap();
    assert_eq!(client_of(&server.0).unwrap().user, own);
    assert_eq!(server_of(&client.1).unwrap().user, own);

    // The client came before anyone waited, wrote and went.
    let mut second = PipeInstance::new(claim.next_instance().unwrap()).unwrap();
    let client = connect(&endpoint, &Access::SameUser).unwrap().stream;
    let mut client = pipe_halves(client).unwrap();
    write_all(&mut client.1, b"in passing");
    flush(&mut client.1).unwrap();
    drop(client);
    second.try_connect().unwrap();
    let mut server = second.into_halves().unwrap();
    assert_eq!(read(&mut server.0).unwrap(), b"in passing");
    assert_eq!(read(&mut server.0).unwrap(), b"");

    // One that nobody comes to is closed with its wait.
    let mut third = PipeInstance::new(claim.next_instance().unwrap()).unwrap();
    assert!(would_block(third.try_connect()));
    drop(third);
    assert!(connect(&endpoint, &Access::SameUser).is_err());
}

#[test]
fn handles_that_would_block_are_refused() {
    let endpoint = endpoint("blocking");
    let _listener = listen(&endpoint, &Access::SameUser).unwrap();
    let address = endpoint.addresses().unwrap().remove(0);
    let open = |flags| {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(flags);
        OwnedHandle::from(options.open(address.as_pipe().unwrap()).unwrap())
    };
    let error = pipe_halves(open(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let error = pipe_halves(file.into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("pipe"), "{error}");
}

#[test]
fn ten_thousand_drops_in_flight_leak_no_handle() {
    let (server, client) = handles("leak");
    let mut peer = pipe_halves(server).unwrap();
    let mut first = pipe_halves(client.try_clone().unwrap()).unwrap();
    let taken = fill(&mut first.1);
    let before = handle_count(&client);
    for _ in 0..10_000 {
        let (mut reader, mut writer) = pipe_halves(client.try_clone().unwrap()).unwrap();
        assert!(would_block(reader.try_read(&mut [0])));
        assert_eq!(writer.try_write(b"never sent").unwrap(), 10);
        assert!(would_block(writer.try_flush()));
    }
    // Other tests have handles of their own meanwhile, though no thousands.
    let after = handle_count(&client);
    assert!(after < before + 1_000, "{before} handles became {after}");
    // What was dropped has left nothing in the pipe.
    let bytes = read_exactly(&mut peer.0, taken);
    assert!(bytes.iter().all(|&byte| byte == b'f'));
    assert!(would_block(peer.0.try_read(&mut [0])));
    flush(&mut first.1).unwrap();
    // And the count does count.
    let _more: Vec<_> = (0..2_000).map(|_| client.try_clone().unwrap()).collect();
    let more = handle_count(&client);
    assert!(more >= after + 1_000, "{after} handles became {more}");
}
