//! Who waits is left alone until there is something for it: a task that is woken for
//! nothing, looks and waits again would keep a processor busy.

use futures_util::{FutureExt, SinkExt, future::FusedFuture};
use sealpipe_driver::{
    Connection, Error, SendError,
    vocabulary::{AckLevel, Config, Message, Outcome, Role},
};
use sealpipe_tests::{Asynchronous, within};
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::ThreadId,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

sealpipe_tests::on_every_adapter! {
    ; of futures:
        a_sink_that_is_full,
        a_flush_that_is_held_up,
        a_sender_whose_messages_are_all_under_way,
        a_sender_that_gets_the_room_of_a_permit,
        others_have_their_turn_when_a_stream_asks_for_that,
        a_delivery_that_has_been_told_does_not_wait_again,
        a_sink_that_was_closed_says_so
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

const POLLS: usize = 100;

/// Polls again and again what has to wait, as a runtime would if every poll woke the
/// task; says how often that was so.
async fn woken_for_nothing<T>(mut waits: Pin<&mut impl Future<Output = T>>) -> usize {
    let count = Arc::<Count>::default();
    let waker = Waker::from(count.clone());
    for _ in 0..POLLS {
        let poll = waits.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending(), "there was nothing to wait for");
        // The background of both sides, and the peer's program, have their turn.
        tokio::task::yield_now().await;
    }
    count.0.load(Ordering::SeqCst)
}

/// The two ends of a connection with a window of four messages, of which nobody takes
/// one, and room for `queue` of them to wait.
async fn held_up<A: Asynchronous>(queue: usize) -> (Connection<A>, Connection<A>) {
    let config = Config::plain()
        .max_message(2_000)
        .receive_window(8_000, 4)
        .send_queue(4 << 20, queue);
    let config = config.build().unwrap();
    Connection::pair(config).await.unwrap()
}

fn message(ack: AckLevel) -> Message {
    Message::new(vec![1; 1_000]).with_ack(ack)
}

/// Feeds as many messages as there is room for.
async fn fill<A: Asynchronous>(sink: &mut Connection<A>) {
    while let Some(fed) = sink.feed(message(AckLevel::None)).now_or_never() {
        fed.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn a_sink_that_is_full<A: Asynchronous>() {
    within(async {
        let (mut ours, _theirs) = held_up::<A>(1_000).await;
        fill(&mut ours).await;
        let more = pin!(ours.feed(message(AckLevel::None)));
        assert!(woken_for_nothing(more).await < POLLS / 10);
    })
    .await;
}

async fn a_flush_that_is_held_up<A: Asynchronous>() {
    within(async {
        let (mut ours, _theirs) = held_up::<A>(1_000).await;
        fill(&mut ours).await;
        let flush = pin!(SinkExt::<Message>::flush(&mut ours));
        assert!(woken_for_nothing(flush).await < POLLS / 10);
    })
    .await;
}

async fn a_sender_whose_messages_are_all_under_way<A: Asynchronous>() {
    within(async {
        let (ours, _theirs) = held_up::<A>(4).await;
        let mut under_way = Vec::new();
        for _ in 0..4 {
            under_way.push(ours.queue(message(AckLevel::Processed)).await.unwrap());
        }
        let more = pin!(ours.queue(message(AckLevel::Processed)));
        assert!(woken_for_nothing(more).await < POLLS / 10);
    })
    .await;
}

async fn a_sender_that_gets_the_room_of_a_permit<A: Asynchronous>() {
    within(async {
        let (ours, _theirs) = held_up::<A>(1).await;
        let permit = ours.reserve().await.unwrap();
        let mut more = pin!(ours.queue(message(AckLevel::None)));
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        let poll = more.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        let before = count.0.load(Ordering::SeqCst);
        // Too large: the room is given back.
        permit.send(vec![1; 3_000]).unwrap_err();
        assert!(count.0.load(Ordering::SeqCst) > before);
        more.await.unwrap();
    })
    .await;
}

async fn a_delivery_that_has_been_told_does_not_wait_again<A: Asynchronous>() {
    within(async {
        let (ours, _theirs) = held_up::<A>(4).await;
        let mut delivery = ours.queue(message(AckLevel::Received)).await.unwrap();
        assert!(!delivery.is_terminated());
        assert_eq!((&mut delivery).await.unwrap(), Outcome::Received);
        assert!(delivery.is_terminated());
        delivery.await.unwrap_err();
    })
    .await;
}

async fn a_sink_that_was_closed_says_so<A: Asynchronous>() {
    within(async {
        let (mut ours, _theirs) = held_up::<A>(4).await;
        SinkExt::<Message>::close(&mut ours).await.unwrap();
        let error = SinkExt::send(&mut ours, message(AckLevel::None)).await;
        let Err(SendError::NotConnected(why)) = error else {
            panic!("{error:?}")
        };
        assert!(matches!(*why, Error::FinishedSending), "{why}");
    })
    .await;
}

/// Wakes its reader or writer and says that it is not ready, until others have had their
/// turn: what tokio's own streams do when a task has done enough in one go, on a thread
/// that is none of the runtime's.
struct Polite {
    stream: DuplexStream,
    turn: Arc<Turn>,
}

struct Turn {
    /// The test's. A background with a thread of its own keeps nobody from anything.
    thread: ThreadId,
    /// Others have had it.
    over: AtomicBool,
    asked: AtomicUsize,
    /// It was asked for so often, in one go, that nobody else can have had it.
    refused: AtomicBool,
}

impl Turn {
    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let elsewhere = std::thread::current().id() != self.thread;
        if elsewhere || self.over.swap(false, Ordering::SeqCst) {
            self.asked.store(0, Ordering::SeqCst);
            return Poll::Ready(());
        }
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1_000 {
            self.refused.store(true, Ordering::SeqCst);
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Polite {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.turn.poll(context));
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Polite {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.turn.poll(context));
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

async fn others_have_their_turn_when_a_stream_asks_for_that<A: Asynchronous>() {
    within(async {
        let turn = Arc::new(Turn {
            thread: std::thread::current().id(),
            over: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
        });
        let (ours, theirs) = tokio::io::duplex(100);
        let ours = Polite {
            stream: ours,
            turn: turn.clone(),
        };
        let config = Config::plain().build().unwrap();
        let talk = async {
            let (ours, theirs) = tokio::join!(
                Connection::<A>::from_io(
                    A::stream_of(Box::new(ours)),
                    Role::Initiator,
                    config.clone()
                ),
                Connection::<A>::from_io(
                    A::stream_of(Box::new(theirs)),
                    Role::Responder,
                    config.clone()
                )
            );
            sealpipe_tests::talk(&ours.unwrap(), &theirs.unwrap()).await;
        };
        let others = async {
            loop {
                turn.over.store(true, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = talk => {}
            () = others => {}
        }
        assert!(!turn.refused.load(Ordering::SeqCst), "nobody had a turn");
    })
    .await;
}
