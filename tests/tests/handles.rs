//! Streams that were opened elsewhere, and what a connection tells of itself.

use sealpipe_driver::{
    Connection, Error, Runtime,
    vocabulary::{AckLevel, Config, ConnectionError, Message, Mismatch, Outcome, Role, User},
};
use sealpipe_tests::{Adapter, Helper, connected, mode, modes, role, within};
use sealpipe_tokio::Tokio;
use std::io::{BufRead, Write};

sealpipe_tests::on_every_adapter! {
    a_pair_in_memory,
    any_stream_and_its_mismatches,
    what_a_connection_tells_of_itself,
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    assert_eq!(role, "echo");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // From here on the standard streams are the connection's.
        println!("@@ready");
        let io = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
        let config = mode(&arguments[0]).build().unwrap();
        let connection = Connection::<Tokio>::from_io(io, Role::Responder, config)
            .await
            .unwrap();
        while let Some(message) = connection.recv().await.unwrap() {
            connection.send(message.payload.clone()).await.unwrap();
            message.accept();
        }
        connection.finish().await.unwrap();
    });
    // Before the test harness says how the test went.
    std::process::exit(0);
}

/// Both directions, all levels, an orderly end.
async fn talk<R: Runtime>(a: &Connection<R>, b: &Connection<R>) {
    for (from, to) in [(a, b), (b, a)] {
        for (level, wanted) in [
            (AckLevel::None, Outcome::Sent),
            (AckLevel::Received, Outcome::Received),
            (AckLevel::Processed, Outcome::Processed),
        ] {
            let message = Message::new(vec![5; 70_000]).with_ack(level);
            let (sent, ()) = tokio::join!(from.send(message), async {
                let message = to.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, vec![5; 70_000]);
                message.accept();
            });
            assert_eq!(sent.unwrap(), wanted);
        }
    }
    let (first, second) = tokio::join!(a.finish(), b.finish());
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_childs_standard_streams() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let mut child = Helper::start("echo", &[name]);
            // What the test harness says first is not ours.
            let mut output = child.output.take().unwrap();
            let mut line = String::new();
            while !line.ends_with("@@ready\n") {
                line.clear();
                assert_ne!(output.read_line(&mut line).unwrap(), 0);
            }
            assert!(
                output.buffer().is_empty(),
                "it speaks before it is spoken to"
            );
            let output = tokio::process::ChildStdout::from_std(output.into_inner()).unwrap();
            let input = child.input.take().unwrap();
            let input = tokio::process::ChildStdin::from_std(input).unwrap();
            let io = tokio::io::join(output, input);
            let connection = Connection::<Tokio>::from_io(io, Role::Initiator, config)
                .await
                .unwrap();
            for size in [0, 1, 1_000, 300_000] {
                let message = Message::new(vec![9; size]).with_ack(AckLevel::Processed);
                let (sent, echo) = tokio::join!(connection.send(message), connection.recv());
                assert_eq!(sent.unwrap(), Outcome::Processed);
                assert_eq!(echo.unwrap().unwrap().payload, vec![9; size]);
            }
            connection.finish().await.unwrap();
            assert!(connection.peer().is_none(), "{name}");
            child.end();
        })
        .await;
    }
}

async fn a_pair_in_memory<R: Runtime>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b) = Connection::<R>::pair(config).await.unwrap();
            assert_eq!(a.handshake_hash(), b.handshake_hash());
            assert_eq!(a.handshake_hash().is_some(), name == "sealed");
            assert!(a.peer().is_none() && b.peer().is_none());
            talk(&a, &b).await;
        })
        .await;
    }
}

async fn any_stream_and_its_mismatches<R: Adapter>() {
    within(async {
        let (a, b) = tokio::io::duplex(64);
        let key = sealpipe_tests::key(1);
        let (a, b) = tokio::join!(
            R::connection(Box::new(a), Role::Initiator, Config::default()),
            R::connection(
                Box::new(b),
                Role::Responder,
                Config::sealed(key).build().unwrap()
            ),
        );
        for result in [a, b] {
            assert!(matches!(
                result,
                Err(Error::Connection(ConnectionError::Mismatch(
                    Mismatch::Mode { .. }
                )))
            ));
        }
    })
    .await;
}

async fn what_a_connection_tells_of_itself<R: Runtime>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config.clone()).await;
            let (c, _d, _other) = connected::<R>(config.clone(), config).await;
            assert_eq!(a.handshake_hash(), b.handshake_hash());
            assert_eq!(a.handshake_hash().is_some(), name == "sealed");
            if name == "sealed" {
                assert_ne!(a.handshake_hash(), c.handshake_hash());
            }
            for side in [&a, &b] {
                let peer = side.peer().expect("a peer");
                assert_eq!(peer.user, User::current().unwrap());
                assert_eq!(peer.process, Some(std::process::id()));
                assert!(side.is_connected());
                assert_eq!(side.end(), None);
            }
            talk(&a, &b).await;
            for side in [&a, &b] {
                let stats = side.stats();
                assert_eq!((stats.messages_sent, stats.messages_received), (3, 3));
                assert_eq!((stats.bytes_sent, stats.bytes_received), (210_000, 210_000));
                assert_eq!((stats.processed, stats.rejected), (1, 0));
                assert_eq!((stats.not_sent, stats.unknown), (0, 0));
                assert_eq!((stats.queued, stats.queued_bytes, stats.waiting), (0, 0, 0));
                assert!(!side.is_connected());
            }
        })
        .await;
    }
}

/// Unix only: a socket has no counterpart on Windows that a program could hold.
#[cfg(unix)]
mod sockets {
    use super::*;
    use sealpipe_driver::vocabulary::{Access, EndpointError};

    #[tokio::test]
    async fn of_std_and_of_tokio() {
        for (name, builder) in modes() {
            let config = builder.build().unwrap();
            within(async {
                // A blocking one of std's, and one of tokio's.
                let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
                b.set_nonblocking(true).unwrap();
                let b = tokio::net::UnixStream::from_std(b).unwrap();
                let (a, b) = tokio::join!(
                    Connection::<Tokio>::from_std(
                        a,
                        Role::Initiator,
                        &Access::SameUser,
                        config.clone()
                    ),
                    Connection::<Tokio>::from_std(
                        b.into_std().unwrap(),
                        Role::Responder,
                        &Access::SameUser,
                        config
                    ),
                );
                let (a, b) = (a.unwrap(), b.unwrap());
                assert_eq!(a.peer().unwrap().user, User::current().unwrap(), "{name}");
                talk(&a, &b).await;
            })
            .await;
        }
    }

    #[tokio::test]
    async fn whose_other_end_is_not_allowed() {
        within(async {
            let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
            let nobody = Access::Users(Vec::new());
            let refused =
                Connection::<Tokio>::from_std(a, Role::Initiator, &nobody, Config::default()).await;
            assert!(matches!(
                refused,
                Err(Error::Endpoint(EndpointError::WrongUser { .. }))
            ));
        })
        .await;
    }
}

#[test]
fn nothing_that_is_printed_tells_a_message_or_a_key() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(within(async {
        let key = sealpipe_tokio::Key::from_bytes(*b"0123456789abcdef0123456789abcdef");
        let config = Config::sealed(key.clone()).build().unwrap();
        let (a, b) = Connection::<Tokio>::pair(config.clone()).await.unwrap();
        let (sent, received) = tokio::join!(a.send("top secret"), b.recv());
        sent.unwrap();
        let received = received.unwrap().unwrap();
        let mut printed = Vec::new();
        write!(printed, "{a:?} {b:?} {received:?} {config:?} {key:?}").unwrap();
        write!(printed, "{:?}", Message::new("top secret")).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        for secret in ["top secret", "0123456789abcdef", "30, 31", "48, 49"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }));
}
