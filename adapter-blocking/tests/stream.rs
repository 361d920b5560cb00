//! What std promises of `UnixListener` and `UnixStream`, asked of the streams
//! here: one source for both systems, but for where a pipe cannot do the same.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sealpipe_blocking::{Access, Endpoint, LocalListener, LocalStream};
use sealpipe_endpoint::ListenOptions;

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a wait is that is to end by its timeout.
const SHORT: Duration = Duration::from_millis(30);

/// A place of the test's own, removed with it.
struct Place {
    #[cfg(unix)]
    _directory: tempfile::TempDir,
    text: String,
}

impl Place {
    #[cfg(unix)]
    fn new(test: &str) -> Place {
        let directory = tempfile::Builder::new().prefix("sp").tempdir().unwrap();
        let text = directory.path().join(test).to_str().unwrap().to_owned();
        Place {
            _directory: directory,
            text,
        }
    }

    #[cfg(windows)]
    fn new(test: &str) -> Place {
        Place {
            text: format!(r"\\.\pipe\test-{}-stream-{test}", std::process::id()),
        }
    }

    fn bind(&self) -> LocalListener {
        LocalListener::bind(&self.text).unwrap()
    }

    fn connect(&self) -> LocalStream {
        LocalStream::connect(&self.text).unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        self.text.parse().unwrap()
    }

    /// The server's end of a connection, and the client's.
    fn connection(&self) -> (LocalStream, LocalStream) {
        let listener = self.bind();
        let client = self.connect();
        let (server, _) = listener.accept().unwrap();
        (server, client)
    }
}

/// Asks again until it would not block.
fn until<T>(mut attempt: impl FnMut() -> std::io::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            result => return result.unwrap(),
        }
        assert!(start.elapsed() < DEADLINE);
    }
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn read_some(mut stream: &LocalStream) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let length = stream.read(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn bytes_go_both_ways_until_the_end() {
    let place = Place::new("basic");
    let listener = place.bind();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"hello");
        stream.write_all(b"world!").unwrap();
    });
    let mut stream = place.connect();
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"world!");
    server.join().unwrap();
}

#[test]
fn what_was_written_is_there_after_the_writer_has_gone() {
    let (server, mut client) = Place::new("gone").connection();
    client.write_all(b"last words").unwrap();
    drop(client);
    assert_eq!(read_some(&server), b"last words");
    assert_eq!(read_some(&server), b"");
    assert_eq!(read_some(&server), b"");
}

#[test]
fn a_client_that_has_gone_before_it_was_accepted_is_heard() {
    let place = Place::new("early");
    let listener = place.bind();
    place.connect().write_all(b"early").unwrap();
    drop(place.connect());
    let (server, _) = listener.accept().unwrap();
    assert_eq!(read_some(&server), b"early");
    assert_eq!(read_some(&server), b"");
    let (server, _) = listener.accept().unwrap();
    assert_eq!(read_some(&server), b"");
}

#[test]
fn several_buffers_go_at_once() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    let parts = [
        IoSlice::new(b"hello"),
        IoSlice::new(b" "),
        IoSlice::new(b"world!"),
    ];
    assert_eq!(one.write_vectored(&parts).unwrap(), 12);
    let (mut front, mut back) = ([0; 6], [0; 7]);
    let mut room = [IoSliceMut::new(&mut front), IoSliceMut::new(&mut back)];
    assert_eq!(other.read_vectored(&mut room).unwrap(), 12);
    assert_eq!(&front, b"hello ");
    assert_eq!(&back, b"world!\0");
}

#[test]
fn a_pair_is_connected_to_each_other_and_to_nobody_else() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    let (mut third, _fourth) = LocalStream::pair().unwrap();
    one.write_all(b"a").unwrap();
    assert_eq!(read_some(&other), b"a");
    other.write_all(b"b").unwrap();
    assert_eq!(read_some(&one), b"b");
    third.write_all(b"c").unwrap();
    drop(other);
    assert_eq!(read_some(&one), b"");
}

#[test]
fn a_clone_is_the_same_stream_until_the_last_is_dropped() {
    let (server, mut client) = Place::new("clone").connection();
    let clone = server.try_clone().unwrap();
    client.write_all(b"1").unwrap();
    assert_eq!(read_some(&clone), b"1");
    drop(server);
    (&clone).write_all(b"2").unwrap();
    assert_eq!(read_some(&client), b"2");
    drop(clone);
    assert_eq!(read_some(&client), b"");
}

#[test]
fn a_listener_gives_one_client_after_another() {
    let place = Place::new("iter");
    let listener = place.bind();
    let server = thread::spawn(move || {
        let mut sum = 0;
        for stream in listener.incoming().take(30) {
            let mut byte = [0];
            stream.unwrap().read_exact(&mut byte).unwrap();
            sum += u32::from(byte[0]);
        }
        sum
    });
    for number in 0..30 {
        place.connect().write_all(&[number]).unwrap();
    }
    assert_eq!(server.join().unwrap(), (0..30).sum::<u32>());
}

#[test]
fn several_threads_accept_on_clones_of_a_listener() {
    let place = Place::new("acceptors");
    let listener = place.bind();
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || listener.accept().unwrap().0.write_all(b"x").unwrap())
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(read_some(&place.connect()), b"x");
    }
    for server in servers {
        server.join().unwrap();
    }
}

#[test]
fn a_place_is_given_back_with_the_last_clone() {
    let place = Place::new("again");
    let listener = place.bind();
    let clone = listener.try_clone().unwrap();
    drop(listener);
    // Wine lets a second listener be made.
    #[cfg(unix)]
    assert_eq!(kind(LocalListener::bind(&place.text)), ErrorKind::AddrInUse);
    place.connect();
    drop(clone);
    assert_eq!(kind(LocalStream::connect(&place.text)), ErrorKind::NotFound);
    drop(place.bind());
}

#[test]
fn what_names_no_place_is_an_invalid_input() {
    #[cfg(unix)]
    let foreign = r"\\.\pipe\app";
    #[cfg(windows)]
    let foreign = "./app.sock";
    let long = "x".repeat(300);
    for bad in ["", "two words", foreign, &long] {
        assert_eq!(kind(LocalListener::bind(bad)), ErrorKind::InvalidInput);
        assert_eq!(kind(LocalStream::connect(bad)), ErrorKind::InvalidInput);
    }
}

#[test]
fn timeouts_are_what_was_set() {
    let (one, _other) = LocalStream::pair().unwrap();
    let clone = one.try_clone().unwrap();
    assert_eq!(one.read_timeout().unwrap(), None);
    assert_eq!(one.write_timeout().unwrap(), None);
    let second = Some(Duration::from_secs(1));
    one.set_read_timeout(second).unwrap();
    assert_eq!(clone.read_timeout().unwrap(), second);
    assert_eq!(clone.write_timeout().unwrap(), None);
    one.set_write_timeout(second).unwrap();
    assert_eq!(clone.write_timeout().unwrap(), second);
    clone.set_read_timeout(None).unwrap();
    clone.set_write_timeout(None).unwrap();
    assert_eq!(one.read_timeout().unwrap(), None);
    assert_eq!(one.write_timeout().unwrap(), None);
}

#[test]
fn a_timeout_of_zero_is_an_error() {
    let place = Place::new("zero");
    let _listener = place.bind();
    let stream = place.connect();
    let zero = Duration::ZERO;
    for result in [
        stream.set_read_timeout(Some(zero)),
        stream.set_write_timeout(Some(zero)),
        LocalStream::connect_timeout(&place.text, zero).map(drop),
    ] {
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_read_ends_by_its_timeout_and_loses_nothing() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    one.set_read_timeout(Some(SHORT)).unwrap();
    let start = Instant::now();
    assert_eq!(kind(one.read(&mut [0; 10])), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= SHORT / 2);
    other.write_all(b"late").unwrap();
    assert_eq!(read_some(&one), b"late");
    assert_eq!(kind(one.read(&mut [0; 10])), ErrorKind::WouldBlock);
}

/// Writes until it would block, and says how much was taken.
fn fill(mut stream: &LocalStream) -> usize {
    let mut taken = 0;
    loop {
        match stream.write(&[b'f'; 10_000]) {
            Ok(length) => taken += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return taken;
            }
        }
        assert!(taken < 100_000_000);
    }
}

#[test]
fn a_write_ends_by_its_timeout_and_what_was_taken_arrives() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    one.set_write_timeout(Some(SHORT)).unwrap();
    let taken = fill(&one);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        other.read_to_end(&mut bytes).unwrap();
        bytes.len()
    });
    one.set_write_timeout(None).unwrap();
    one.write_all(b"more").unwrap();
    drop(one);
    assert_eq!(reader.join().unwrap(), taken + 4);
}

#[test]
fn a_stream_that_does_not_block_says_so() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    assert_eq!(kind(one.read(&mut [0; 10])), ErrorKind::WouldBlock);
    let taken = fill(&one);
    let mut bytes = vec![0; taken];
    other.read_exact(&mut bytes).unwrap();
    other.write_all(b"there").unwrap();
    let mut word = [0; 5];
    assert_eq!(until(|| one.read(&mut word)), 5);
    until(|| one.flush());
    one.set_nonblocking(false).unwrap();
    let reader = thread::spawn(move || read_some(&one));
    other.write_all(b"now").unwrap();
    assert_eq!(reader.join().unwrap(), b"now");
}

#[test]
fn a_listener_that_does_not_block_says_so() {
    let place = Place::new("nonblocking");
    let listener = place.bind();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(kind(listener.accept()), ErrorKind::WouldBlock);
    let mut client = place.connect();
    let (server, _) = until(|| listener.accept());
    assert_eq!(kind(listener.accept()), ErrorKind::WouldBlock);
    // The stream blocks all the same.
    let reader = thread::spawn(move || read_some(&server));
    client.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), b"x");
}

#[test]
fn with_both_halves_shut_the_peer_sees_the_end() {
    let (server, mut client) = Place::new("shut").connection();
    let reader = thread::spawn({
        let server = server.try_clone().unwrap();
        move || read_some(&server)
    });
    (&server).write_all(b"bye").unwrap();
    server.shutdown(Shutdown::Both).unwrap();
    assert_eq!(reader.join().unwrap(), b"");
    assert_eq!(read_some(&server), b"");
    assert_eq!(kind((&server).write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(read_some(&client), b"bye");
    assert_eq!(read_some(&client), b"");
    assert_eq!(kind(client.write(b"x")), ErrorKind::BrokenPipe);
    assert!(!server.local_addr().unwrap().is_unnamed());
}

#[test]
fn with_the_writing_half_shut_reading_goes_on() {
    let (mut one, mut other) = LocalStream::pair().unwrap();
    one.write_all(b"all").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(kind(one.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(read_some(&other), b"all");
    // A pipe has no half-close.
    #[cfg(unix)]
    assert_eq!(read_some(&other), b"");
    other.write_all(b"answer").unwrap();
    assert_eq!(read_some(&one), b"answer");
    one.shutdown(Shutdown::Read).unwrap();
    assert_eq!(read_some(&one), b"");
    assert_eq!(read_some(&other), b"");
}

#[test]
fn with_the_reading_half_shut_writing_goes_on() {
    let (one, other) = LocalStream::pair().unwrap();
    let reader = thread::spawn({
        let one = one.try_clone().unwrap();
        move || read_some(&one)
    });
    one.shutdown(Shutdown::Read).unwrap();
    assert_eq!(reader.join().unwrap(), b"");
    (&one).write_all(b"on").unwrap();
    assert_eq!(read_some(&other), b"on");
}

#[test]
fn the_server_has_an_address_and_the_client_none() {
    let place = Place::new("address");
    let listener = place.bind();
    let client = place.connect();
    let (server, peer) = listener.accept().unwrap();
    let path = std::path::Path::new(&place.text);
    for address in [
        listener.local_addr(),
        server.local_addr(),
        client.peer_addr(),
    ] {
        let address = address.unwrap();
        assert_eq!(address.as_pathname(), Some(path));
        assert!(!address.is_unnamed());
        LocalStream::connect(address.as_pathname().unwrap()).unwrap();
    }
    for address in [Ok(peer), server.peer_addr(), client.local_addr()] {
        let address = address.unwrap();
        assert!(address.is_unnamed());
        assert_eq!(address.as_pathname(), None);
    }
}

#[test]
fn they_print_their_addresses() {
    let place = Place::new("debug");
    let listener = place.bind();
    let client = place.connect();
    let path = format!("{:?} (pathname)", place.text);
    assert_eq!(
        format!("{listener:?}"),
        format!("LocalListener {{ local: {path}, .. }}")
    );
    assert_eq!(
        format!("{client:?}"),
        format!("LocalStream {{ local: (unnamed), peer: {path}, .. }}")
    );
}

#[test]
fn there_is_no_error_to_take() {
    let place = Place::new("no-error");
    let listener = place.bind();
    assert!(listener.take_error().unwrap().is_none());
    assert!(place.connect().take_error().unwrap().is_none());
}

#[test]
fn two_threads_read_and_write_one_stream_at_once() {
    const BYTES: usize = 2_000_000;
    let (server, client) = Place::new("duplex").connection();
    let pattern: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    thread::scope(|scope| {
        for mut stream in [&server, &client] {
            let pattern = &pattern;
            scope.spawn(move || stream.write_all(pattern).unwrap());
            scope.spawn(move || {
                let mut bytes = vec![0; BYTES];
                stream.read_exact(&mut bytes).unwrap();
                assert!(bytes == *pattern);
            });
        }
    });
}

#[test]
fn several_threads_wait_on_one_stream() {
    let (server, client) = Place::new("many").connection();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut byte = [0];
                    (&server).read_exact(&mut byte).unwrap();
                    usize::from(byte[0])
                })
            })
            .collect();
        for byte in 1..=4 {
            (&client).write_all(&[byte]).unwrap();
        }
        let sum: usize = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        assert_eq!(sum, 10);
    });
}

#[test]
fn a_server_without_room_is_waited_for_within_the_timeout() {
    let place = Place::new("busy");
    let listener =
        LocalListener::bind_with(&place.endpoint(), &ListenOptions::new().backlog(4)).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        match LocalStream::connect_timeout(&place.text, SHORT) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() < 100);
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("busy"), "{error}");
    // Without a timeout it waits until there is room.
    let (done, waited) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            place.connect();
            done.send(()).unwrap();
        });
        let first = listener.accept().unwrap();
        waited.recv_timeout(DEADLINE).unwrap();
        drop(first);
    });
}

#[test]
fn a_server_of_another_user_is_refused() {
    let place = Place::new("server");
    let _listener = place.bind();
    let nobody = Access::Users(Vec::new());
    let result = LocalStream::connect_with(&place.endpoint(), &nobody, None);
    assert_eq!(kind(result), ErrorKind::PermissionDenied);
    LocalStream::connect_with(&place.endpoint(), &Access::Anyone, None).unwrap();
}

#[test]
fn a_client_of_another_user_is_refused() {
    let place = Place::new("client");
    let nobody = ListenOptions::new().access(Access::Users(Vec::new()));
    let listener = LocalListener::bind_with(&place.endpoint(), &nobody).unwrap();
    listener.set_nonblocking(true).unwrap();
    #[cfg(unix)]
    {
        let client = place.connect();
        assert_eq!(kind(listener.accept()), ErrorKind::WouldBlock);
        assert_eq!(read_some(&client), b"");
    }
    // The permissions of the pipe keep it out, where the system heeds them; else
    // the first read does.
    #[cfg(windows)]
    match LocalStream::connect_with(&place.endpoint(), &Access::Anyone, None) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        Ok(mut client) => {
            let (mut server, _) = until(|| listener.accept());
            client.write_all(b"let me in").unwrap();
            assert_eq!(kind(server.read(&mut [0])), ErrorKind::PermissionDenied);
            assert_eq!(read_some(&server), b"");
            assert_eq!(read_some(&client), b"");
        }
    }
}

#[cfg(unix)]
#[test]
fn sockets_become_streams_and_streams_sockets() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let (one, other) = UnixStream::pair().unwrap();
    let (one, mut other) = (
        LocalStream::from(one),
        UnixStream::from(LocalStream::from(other)),
    );
    other.write_all(b"x").unwrap();
    assert_eq!(read_some(&one), b"x");
    let place = Place::new("adopted");
    let listener = LocalListener::try_from(UnixListener::bind(&place.text).unwrap()).unwrap();
    let mut client = place.connect();
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"y").unwrap();
    assert_eq!(read_some(&server), b"y");
}

#[test]
fn both_ends_know_who_the_other_is() {
    let (mut server, client) = Place::new("peer").connection();
    let own = sealpipe_blocking::User::current().unwrap();
    assert_eq!(client.peer().unwrap().user, own);
    // Windows says who the client is only after something was read; Wine does before.
    (&client).write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    let peer = server.peer().unwrap();
    assert_eq!(peer.user, own);
    assert_eq!(peer.process, Some(std::process::id()));
}
