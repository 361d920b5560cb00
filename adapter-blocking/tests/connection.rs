//! The blocking connection: what it has that the others have not, threads, time
//! limits and calls that another thread ends; and that it talks at all. What all
//! adapters have in common is tested in the suite of the package sealpipe-tests.

mod common;
use common::{Place, place};
use sealpipe_blocking::{
    AckLevel, Close, Config, Connection, Error, Key, Listener, Message, Outcome, SendError,
};
use std::{sync::mpsc, thread, time::Duration};

/// Longer than anything here takes; a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(30);

fn connected(config: &Config) -> (Connection, Connection, Place) {
    let place = place();
    let mut listener = Listener::bind(&place.endpoint, config.clone()).unwrap();
    listener.set_timeout(Some(LIMIT));
    let client = Connection::connect(&place.endpoint, config.clone()).unwrap();
    let server = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(LIMIT));
        end.set_write_timeout(Some(LIMIT));
    }
    (client, server, place)
}

fn configs() -> [Config; 2] {
    [
        Config::default(),
        Config::sealed(Key::from_bytes([7; 32])).build().unwrap(),
    ]
}

#[test]
fn messages_of_every_level_arrive_in_order() {
    for config in configs() {
        let (client, server, _place) = connected(&config);
        let receiver = thread::spawn(move || {
            let mut sizes = Vec::new();
            for message in server.messages() {
                let message = message.unwrap();
                sizes.push(message.payload.len());
                message.accept();
            }
            sizes
        });
        let sizes = [0, 1, 100, 70_000, 1_000_000];
        for size in sizes {
            let message = Message::new(vec![1; size]).with_ack(AckLevel::Processed);
            assert_eq!(client.send(message).unwrap(), Outcome::Processed);
        }
        client
            .send(Message::new("x").with_ack(AckLevel::Received))
            .unwrap();
        client.send("y").unwrap();
        client.finish().unwrap();
        assert_eq!(receiver.join().unwrap(), [&sizes[..], &[1, 1]].concat());
    }
}

#[test]
fn both_directions_at_once_from_threads_of_their_own() {
    const MESSAGES: u32 = 2_000;
    for config in configs() {
        let (a, b, _place) = connected(&config);
        let threads: Vec<_> = [a, b]
            .into_iter()
            .flat_map(|end| {
                let (sender, mut receiver) = end.split();
                let send = thread::spawn(move || {
                    for number in 0..MESSAGES {
                        sender.send(number.to_le_bytes().to_vec()).unwrap();
                    }
                    sender.finish().unwrap();
                });
                let receive = thread::spawn(move || {
                    for (number, message) in receiver.messages().enumerate() {
                        let message = message.unwrap();
                        let sent = u32::from_le_bytes(message.payload[..].try_into().unwrap());
                        assert_eq!(sent as usize, number);
                        if number as u32 + 1 == MESSAGES {
                            return;
                        }
                    }
                    panic!("messages are missing");
                });
                [send, receive]
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn many_threads_share_one_connection() {
    let (client, server, _place) = connected(&Config::default());
    let echo = thread::spawn(move || {
        let mut count = 0;
        for message in server.messages() {
            message.unwrap().accept();
            count += 1;
        }
        count
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            let own = client.try_clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let message = Message::new("shared").with_ack(AckLevel::Processed);
                    assert_eq!(own.send(message).unwrap(), Outcome::Processed);
                }
            });
        }
    });
    client.finish().unwrap();
    assert_eq!(echo.join().unwrap(), 400);
}

#[test]
fn a_time_limit_ends_a_call_and_loses_nothing() {
    let (client, server, _place) = connected(&Config::default());
    server.set_read_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(server.recv(), Err(Error::Timeout { .. })));
    client
        .send(Message::new("later").with_ack(AckLevel::Received))
        .unwrap();
    server.set_read_timeout(Some(LIMIT));
    assert_eq!(server.recv().unwrap().unwrap().payload, "later");

    // Nobody gives a verdict: what became of the message is not known.
    client.set_write_timeout(Some(Duration::from_millis(20)));
    let message = Message::new("unanswered").with_ack(AckLevel::Processed);
    let sent = client.send(message).unwrap_err();
    assert!(matches!(sent, SendError::Unknown(None)), "{sent}");
    assert_eq!(server.recv().unwrap().unwrap().payload, "unanswered");
}

#[test]
fn another_thread_ends_a_blocked_call() {
    let (client, server, _place) = connected(&Config::default());
    let interrupter = server.interrupter();
    let (told, tells) = mpsc::channel();
    let blocked = thread::spawn(move || {
        let ended = server.recv();
        told.send(ended.map(|_| ())).unwrap();
        server
    });
    // Whether it comes before the call blocks or after: the call ends.
    interrupter.interrupt();
    let ended = tells.recv_timeout(LIMIT).unwrap();
    assert!(matches!(ended, Err(Error::Interrupted { .. })), "{ended:?}");
    let server = blocked.join().unwrap();

    // The connection stands, and so does what came meanwhile.
    client
        .send(Message::new("still here").with_ack(AckLevel::Received))
        .unwrap();
    interrupter.clear();
    assert_eq!(server.recv().unwrap().unwrap().payload, "still here");
}

#[test]
fn closing_ends_the_calls_of_other_threads() {
    let (client, server, _place) = connected(&Config::default());
    let other = client.try_clone();
    let blocked = thread::spawn(move || other.recv().map(|message| message.is_none()));
    server.close(Close::new(Close::DONE, "enough"));
    assert!(blocked.join().unwrap().unwrap());
    assert!(!client.is_connected());
}

#[test]
fn an_accept_that_blocks_can_be_ended() {
    let place = place();
    let mut listener = Listener::bind(&place.endpoint, Config::default()).unwrap();
    listener.set_timeout(Some(Duration::from_millis(10)));
    assert!(matches!(listener.accept(), Err(Error::Timeout { .. })));
    listener.set_timeout(Some(LIMIT));
    let interrupter = listener.interrupter();
    let blocked = thread::spawn(move || listener.accept().map(|_| ()));
    interrupter.interrupt();
    let ended = blocked.join().unwrap();
    assert!(matches!(ended, Err(Error::Interrupted { .. })), "{ended:?}");
}

#[test]
fn the_loss_of_the_peer_ends_a_blocked_call() {
    let (client, server, _place) = connected(&Config::default());
    let blocked = thread::spawn(move || server.recv().map(|message| message.is_none()));
    drop(client);
    assert!(blocked.join().unwrap().unwrap());
}
