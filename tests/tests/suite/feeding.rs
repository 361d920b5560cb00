//! Messages that gather and go out in few writes: by `feed` and `flush`, and by a sink.

use crate::duplex::{WINDOW, number, numbered, small};
use futures_util::{FutureExt, SinkExt, StreamExt};
use sealpipe_driver::{
    Error, SendError,
    vocabulary::{
        AckLevel, Close, Config, ConnectionError, Message, Outcome, Role, SendErrorReason,
    },
};
use sealpipe_tests::{
    Adapter, Asynchronous, Random, api::Connection, connected, eventually, modes, within,
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

sealpipe_tests::on_every_adapter! {
    what_is_fed_keeps_its_place_among_what_is_sent,
    feeding_waits_for_a_reader_that_is_slow,
    what_is_fed_and_forgotten_goes_out_before_long,
    what_cannot_be_fed_is_handed_back,
    flushing_tells_of_the_end;
    of futures:
        one_who_feeds_and_is_dropped_takes_its_message_along,
        sink_and_stream,
        a_sink_waits_for_a_reader_that_is_slow
}

const SOON: Duration = Duration::from_secs(10);

async fn what_is_fed_keeps_its_place_among_what_is_sent<R: Adapter>() {
    const COUNT: u32 = if cfg!(windows) { 500 } else { 3_000 };
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let feeding = async {
                let mut random = Random::new(1);
                for n in 0..COUNT {
                    let message = numbered(n, &mut random);
                    match random.below(200) {
                        0 => drop(a.send(message.with_ack(AckLevel::None)).await.unwrap()),
                        1 => drop(a.try_send(message.with_ack(AckLevel::None)).unwrap()),
                        2 => {
                            a.feed(message).await.unwrap();
                            a.flush().await.unwrap();
                            assert_eq!(a.stats().queued, 0, "{name}");
                        }
                        _ => a.feed(message).await.unwrap(),
                    }
                }
                a.flush().await.unwrap();
                assert_eq!(a.stats().messages_sent, u64::from(COUNT), "{name}");
                a.finish().await.unwrap();
            };
            let reading = async {
                let mut random = Random::new(1);
                for n in 0..COUNT {
                    let message = b.recv().await.unwrap().unwrap();
                    assert_eq!(
                        message.payload,
                        *numbered(n, &mut random).payload(),
                        "{name}"
                    );
                    random.below(200);
                    message.accept();
                }
                assert!(b.recv().await.unwrap().is_none());
                b.finish().await.unwrap();
            };
            tokio::join!(feeding, reading);
        })
        .await;
    }
}

async fn feeding_waits_for_a_reader_that_is_slow<R: Adapter>() {
    const COUNT: u32 = 300;
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let feeding = async {
                for n in 0..COUNT {
                    a.feed(n.to_be_bytes().repeat(500)).await.unwrap();
                    let stats = a.stats();
                    assert!(stats.queued <= 8 && stats.queued_bytes <= 4 * 4096);
                }
                a.flush().await.unwrap();
            };
            let reading = async {
                for n in 0..COUNT {
                    if n % 50 == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let message = b.recv().await.unwrap().unwrap();
                    assert_eq!(message.payload, n.to_be_bytes().repeat(500));
                }
            };
            tokio::join!(feeding, reading);
        })
        .await;
    }
}

/// Not only once the next keepalive is due, after 30 s.
async fn what_is_fed_and_forgotten_goes_out_before_long<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            for n in 0..3_u8 {
                // By then the connection is idle, and its background asleep.
                tokio::time::sleep(Duration::from_millis(150)).await;
                a.feed(vec![n; 64]).await.unwrap();
                let came = tokio::time::timeout(SOON, b.recv()).await;
                let message = came.expect(name).unwrap().unwrap();
                assert_eq!(message.payload, vec![n; 64], "{name}");
            }
        })
        .await;
    }
}

async fn what_cannot_be_fed_is_handed_back<R: Adapter>() {
    for (_, builder) in modes() {
        let config = small(builder.send_timeout(Duration::from_millis(300)));
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let handed_back = |fed: Result<(), SendError>| match fed.unwrap_err() {
                SendError::NotTaken { message, reason } => (message.size(), reason),
                error => panic!("{error}"),
            };
            let (size, reason) = handed_back(a.feed(vec![0; 4097]).await);
            assert_eq!(size, 4097);
            assert!(matches!(
                reason,
                SendErrorReason::TooLarge { max: 4096, .. }
            ));
            // Nobody reads: the window fills, then the queue, then the time is up.
            let mut taken = 0;
            let (size, reason) = loop {
                match a.feed(vec![taken; 4000]).await {
                    Ok(()) => taken += 1,
                    error => break handed_back(error),
                }
            };
            assert_eq!((size, reason), (4000, SendErrorReason::Full));
            for n in 0..taken {
                assert_eq!(b.recv().await.unwrap().unwrap().payload, vec![n; 4000]);
            }
            b.close(Close::new(Close::DONE, "enough")).await;
            a.closed().await.unwrap();
            let (size, reason) = handed_back(a.feed(vec![0; 64]).await);
            assert_eq!(size, 64);
            assert!(matches!(reason, SendErrorReason::Closed(_)), "{reason}");
        })
        .await;
    }
}

async fn flushing_tells_of_the_end<R: Adapter>() {
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            a.flush().await.unwrap();
            // More than the window takes: it cannot all be written.
            for n in 0..6 {
                a.feed(vec![n; 4000]).await.unwrap();
            }
            let flushing = a.flush();
            let closing = async {
                eventually(SOON, "the window is full", || b.stats().waiting == WINDOW).await;
                b.close(Close::new(Close::DONE, "enough")).await;
            };
            let (flushed, ()) = tokio::join!(flushing, closing);
            assert!(
                matches!(
                    flushed,
                    Err(Error::Connection(ConnectionError::ClosedByPeer { .. }))
                ),
                "{flushed:?}"
            );
        })
        .await;
    }
}

async fn one_who_feeds_and_is_dropped_takes_its_message_along<R: Asynchronous>() {
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let (mut taken, mut dropped) = (Vec::new(), 0);
            for n in 0_u32.. {
                match a.feed(n.to_be_bytes().repeat(500)).now_or_never() {
                    Some(fed) => {
                        fed.unwrap();
                        taken.push(n);
                    }
                    None => dropped += 1,
                }
                if dropped == 20 {
                    break;
                }
            }
            let reading = async {
                for n in &taken {
                    let message = b.recv().await.unwrap().unwrap();
                    assert_eq!(message.payload, n.to_be_bytes().repeat(500));
                }
                assert!(b.recv().await.unwrap().is_none());
                b.finish().await.unwrap();
            };
            let (finished, ()) = tokio::join!(a.finish(), reading);
            finished.unwrap();
            let outcome = a.send("late").await;
            assert!(!matches!(outcome, Ok(Outcome::Sent)), "{outcome:?}");
        })
        .await;
    }
}

async fn sink_and_stream<R: Asynchronous>() {
    const COUNT: u32 = 10_000;
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let (mut a, mut b, _place) = connected::<R>(config.clone(), config).await;
            let feeding = async {
                for n in 0..COUNT {
                    let message = Message::new(n.to_be_bytes().to_vec());
                    SinkExt::feed(&mut a, message).await.unwrap();
                }
                SinkExt::<Message>::flush(&mut a).await.unwrap();
                assert_eq!(a.stats().messages_sent, u64::from(COUNT));
                SinkExt::<Message>::close(&mut a).await.unwrap();
                a
            };
            let reading = async {
                let mut expected = 0..COUNT;
                while let Some(message) = b.next().await {
                    let n = number(&message.unwrap().payload);
                    assert_eq!(Some(n), expected.next());
                }
                assert_eq!(expected.next(), None);
                assert!(b.next().await.is_none());
                b
            };
            let (a, b) = tokio::join!(feeding, reading);
            let (first, second) = tokio::join!(b.finish(), async { a.recv().await });
            first.unwrap();
            assert!(second.unwrap().is_none());
        })
        .await;
    }
}

async fn a_sink_waits_for_a_reader_that_is_slow<R: Asynchronous>() {
    const COUNT: u32 = 300;
    for (_, builder) in modes() {
        let config = small(builder);
        within(async {
            let (a, b, _place) = connected::<R>(config.clone(), config).await;
            let (mut sender, _receiver) = a.split();
            let task = tokio::spawn(async move {
                for n in 0..COUNT {
                    let message = Message::new(n.to_be_bytes().repeat(500));
                    SinkExt::feed(&mut sender, message).await.unwrap();
                    let stats = sender.stats();
                    assert!(stats.queued <= 8 && stats.queued_bytes <= 4 * 4096);
                }
                SinkExt::flush(&mut sender).await.unwrap();
                sender
            });
            for n in 0..COUNT {
                if n % 50 == 0 {
                    eventually(SOON, "the window is full", || b.stats().waiting == WINDOW).await;
                }
                assert!(b.stats().waiting <= WINDOW);
                let message = b.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, n.to_be_bytes().repeat(500));
            }
            task.await.unwrap();
        })
        .await;
    }
}

/// Counts what is written.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// On one thread, of tokio's: the stream takes all, so that nobody else has a turn meanwhile.
#[tokio::test]
async fn what_gathers_goes_out_in_few_writes() {
    const BATCHES: usize = 10;
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let writes = Arc::<AtomicUsize>::default();
    let ours = Counted {
        stream: ours,
        writes: writes.clone(),
    };
    let config = Config::plain().build().unwrap();
    let (ours, theirs) = tokio::join!(
        sealpipe_tokio::Connection::from_io(ours, Role::Initiator, config.clone()),
        sealpipe_tokio::Connection::from_io(theirs, Role::Responder, config)
    );
    let (ours, _theirs) = (ours.unwrap(), theirs.unwrap());
    let before = writes.load(Ordering::SeqCst);
    for _ in 0..BATCHES * 32 {
        ours.feed(vec![7; 1 << 10]).await.unwrap();
    }
    ours.flush().await.unwrap();
    // 32 KiB gather.
    let written = writes.load(Ordering::SeqCst) - before;
    assert!(written <= BATCHES + 1, "{written}");
}
