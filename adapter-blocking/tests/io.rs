//! Connections over streams that block: pipes without time limits of their own.

use sealpipe_blocking::{
    AckLevel, Close, Config, Connection, ConnectionError, Error, Key, Message, Outcome, Role,
    SendError, Wire,
};
use std::{
    io::{self, PipeReader, PipeWriter, Read},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Longer than anything here takes; a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(30);

/// The ends of two streams, one for each direction.
fn streams() -> [(PipeReader, PipeWriter); 2] {
    let (a_reads, b_writes) = io::pipe().unwrap();
    let (b_reads, a_writes) = io::pipe().unwrap();
    [(a_reads, a_writes), (b_reads, b_writes)]
}

fn over(
    (reader, writer): (impl Read + Send + 'static, PipeWriter),
    role: Role,
    config: &Config,
) -> Result<Connection, Error> {
    let connection = Connection::from_io(reader, writer, role, config.clone())?;
    connection.set_read_timeout(Some(LIMIT));
    connection.set_write_timeout(Some(LIMIT));
    Ok(connection)
}

fn connected(config: &Config) -> (Connection, Connection) {
    let [a, b] = streams();
    thread::scope(|scope| {
        let a = scope.spawn(|| over(a, Role::Initiator, config).unwrap());
        let b = over(b, Role::Responder, config).unwrap();
        (a.join().unwrap(), b)
    })
}

#[test]
fn messages_larger_than_the_stream_cross_both_ways_at_once() {
    for config in [
        Config::default(),
        Config::sealed(Key::from_bytes([7; 32])).build().unwrap(),
    ] {
        let (a, b) = connected(&config);
        let other = thread::spawn(move || exchange(&b));
        exchange(&a);
        other.join().unwrap();
    }
}

fn exchange(side: &Connection) {
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let message = Message::new(vec![7; 1_000_000]).with_ack(AckLevel::Processed);
                assert_eq!(side.send(message).unwrap(), Outcome::Processed);
            }
            side.finish().unwrap();
        });
        for message in side.messages() {
            let message = message.unwrap();
            assert!(message.payload == vec![7; 1_000_000]);
            message.accept();
        }
    });
    assert_eq!(side.end(), Some(ConnectionError::Finished));
    assert!(side.peer().is_none());
}

#[test]
fn the_writer_is_let_go_of_where_the_wire_has_no_goodbye() {
    let config = Config::plain().wire(Wire::Base64Lines).build().unwrap();
    let (a, b) = connected(&config);
    a.send("hello").unwrap();
    thread::scope(|scope| {
        // The peer reads to the end of its input, as a child does, and then ends, too.
        let finishing = scope.spawn(|| a.finish());
        let messages = b.messages().map(|message| message.unwrap().payload.clone());
        assert_eq!(messages.collect::<Vec<_>>(), ["hello"]);
        b.finish().unwrap();
        finishing.join().unwrap().unwrap();
    });
    assert_eq!(a.end(), Some(ConnectionError::Finished));
}

#[test]
fn time_limits_hold_while_the_stream_blocks() {
    let [a, b] = streams();
    // The peer says nothing: its hello does not come.
    let config = Config::plain()
        .handshake_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let silent = over(a, Role::Initiator, &config).unwrap_err();
    assert!(
        matches!(silent.connection(), Some(ConnectionError::Timeout(_))),
        "{silent}"
    );
    drop(b);

    let (a, b) = connected(&Config::default());
    b.set_read_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(b.recv(), Err(Error::Timeout { .. })));
    a.set_write_timeout(Some(Duration::from_millis(20)));
    let unanswered = a.send(Message::new("?").with_ack(AckLevel::Processed));
    assert!(
        matches!(unanswered, Err(SendError::Unknown(_))),
        "{unanswered:?}"
    );
}

#[test]
fn a_peer_that_takes_nothing_holds_up_no_call() {
    let config = Config::plain()
        .close_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    // Its end of one direction is stopped from here on.
    let (stop, stopped) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let [a, (reader, writer)] = streams();
    let reader = Stops {
        reader,
        stop: stopped,
        goes,
    };
    let (a, b) = thread::scope(|scope| {
        let a = scope.spawn(|| over(a, Role::Initiator, &config).unwrap());
        let b = over((reader, writer), Role::Responder, &config).unwrap();
        (a.join().unwrap(), b)
    });
    stop.send(()).unwrap();
    a.set_write_timeout(Some(Duration::from_millis(20)));
    let blocked = loop {
        if let Err(error) = a.send(vec![7; 100_000]) {
            break error;
        }
    };
    assert!(
        matches!(blocked, SendError::NotSent(None) | SendError::Unknown(None)),
        "{blocked}"
    );
    a.close(Close::new(Close::DONE, "enough"));
    assert!(!a.is_connected());
    go.send(()).unwrap();
    // What was being written when it closed still arrives, and the end behind it.
    while let Ok(Some(_)) = b.recv() {}
    assert!(!b.is_connected());
}

/// Stops to read once it is told to, until it is told to go on.
struct Stops {
    reader: PipeReader,
    stop: mpsc::Receiver<()>,
    goes: mpsc::Receiver<()>,
}

impl Read for Stops {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.stop.try_recv().is_ok() {
            let _ = self.goes.recv_timeout(LIMIT);
        }
        self.reader.read(room)
    }
}

#[test]
fn the_writer_is_dropped_at_the_end_and_the_reader_with_its_stream() {
    let [a, (mut reader, writer)] = streams();
    let (dropped, drops) = mpsc::channel();
    let told = Tells {
        reader: a.0,
        _dropped: dropped,
    };
    let refused = thread::spawn(|| over((told, a.1), Role::Initiator, &Config::default()));
    // Not sealpipe at all: the connection ends, and lets go of its writer.
    io::Write::write_all(&mut &writer, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    assert!(refused.join().unwrap().is_err());
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    // The reader's call ends with the stream.
    drop(writer);
    assert_eq!(
        drops.recv_timeout(LIMIT),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

struct Tells {
    reader: PipeReader,
    _dropped: mpsc::Sender<()>,
}

impl Read for Tells {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.read(room)
    }
}

#[test]
fn a_stream_that_panics_is_the_end_of_its_connection() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a stream of the test's");
        }
    }
    let [(_, writer), _other] = streams();
    let lost = over((Panics, writer), Role::Initiator, &Config::default()).unwrap_err();
    assert!(
        matches!(lost.connection(), Some(ConnectionError::Lost(_))),
        "{lost}"
    );
}
