//! Streams that were opened elsewhere, and what a connection tells of itself.

use sealpipe_driver::{
    Connection, Error,
    vocabulary::{AckLevel, Config, ConnectionError, Message, Mismatch, Outcome, Role, User},
};
use sealpipe_smol::Smol;
use sealpipe_tests::{
    Adapter, Blocking, Helper, api::Connection as _, connected, mode, modes, on_adapter, role,
    talk, within,
};
use sealpipe_tokio::Tokio;
use smol::{
    Unblock,
    io::{AsyncRead, AsyncWrite},
};
use std::{
    io::{self, BufRead, Write},
    pin::Pin,
    process::{ChildStdin, ChildStdout},
    task::{Context, Poll},
};

sealpipe_tests::on_every_adapter! {
    a_childs_standard_streams,
    a_pair_in_memory,
    any_stream_and_its_mismatches,
    what_a_connection_tells_of_itself,
}

/// How an adapter takes standard streams.
trait Standard: Adapter {
    /// A parent's ends of them.
    async fn of_a_child(
        output: ChildStdout,
        input: ChildStdin,
        config: Config,
    ) -> Result<Self::Connection, Error>;

    /// Those of this process.
    async fn own(config: Config) -> Result<Self::Connection, Error>;
}

impl Standard for Tokio {
    async fn of_a_child(
        output: ChildStdout,
        input: ChildStdin,
        config: Config,
    ) -> Result<Self::Connection, Error> {
        let output = tokio::process::ChildStdout::from_std(output).unwrap();
        let input = tokio::process::ChildStdin::from_std(input).unwrap();
        Connection::from_io(tokio::io::join(output, input), Role::Initiator, config).await
    }

    async fn own(config: Config) -> Result<Self::Connection, Error> {
        let io = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
        Connection::from_io(io, Role::Responder, config).await
    }
}

impl Standard for Smol {
    async fn of_a_child(
        output: ChildStdout,
        input: ChildStdin,
        config: Config,
    ) -> Result<Self::Connection, Error> {
        let io = Both(Unblock::new(output), Unblock::new(input));
        Connection::from_io(io, Role::Initiator, config).await
    }

    async fn own(config: Config) -> Result<Self::Connection, Error> {
        let io = Both(
            Unblock::new(std::io::stdin()),
            Unblock::new(std::io::stdout()),
        );
        Connection::from_io(io, Role::Responder, config).await
    }
}

impl Standard for Blocking {
    async fn of_a_child(
        output: ChildStdout,
        input: ChildStdin,
        config: Config,
    ) -> Result<Self::Connection, Error> {
        Blocking::from_io(output, input, Role::Initiator, config).await
    }

    async fn own(config: Config) -> Result<Self::Connection, Error> {
        Blocking::from_io(std::io::stdin(), std::io::stdout(), Role::Responder, config).await
    }
}

/// A reader and a writer, as one stream.
struct Both<R, W>(R, W);

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Both<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, room)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Both<R, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_close(context)
    }
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
        let config = mode(&arguments[0]).build().unwrap();
        on_adapter!(&*arguments[1], echo(config));
    });
    // Before the test harness says how the test went.
    std::process::exit(0);
}

async fn echo<R: Standard>(config: Config) {
    // From here on the standard streams are the connection's.
    println!("@@ready");
    let connection = R::own(config).await.unwrap();
    while let Some(message) = connection.recv().await.unwrap() {
        connection.send(message.payload.clone()).await.unwrap();
        message.accept();
    }
    connection.finish().await.unwrap();
}

async fn a_childs_standard_streams<R: Standard>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let mut child = Helper::start("echo", &[name, R::NAME]);
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
            let (output, input) = (output.into_inner(), child.input.take().unwrap());
            let connection = R::of_a_child(output, input, config).await.unwrap();
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

async fn a_pair_in_memory<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b) = R::pair(config).await.unwrap();
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
            R::over(Box::new(a), Role::Initiator, Config::default()),
            R::over(
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

async fn what_a_connection_tells_of_itself<R: Adapter>() {
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
