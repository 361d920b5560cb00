//! What happens in a server, for those who watch it.

use super::ClientId;
use crate::shared::lock;
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use sealpipe_core::{
    ConnectionError, Kind,
    service::{Mailbox, Overflow},
};
use sealpipe_endpoint::{Address, Peer};
use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

/// Events that wait for one watcher; older ones make room for newer ones.
const BACKLOG: usize = 1_024;

/// Something that happened in a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerEvent {
    /// When.
    pub at: SystemTime,
    /// How many events before this one were dropped, because nobody took them.
    pub missed: u64,
    /// What.
    pub what: Happening,
}

/// What happened in a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Happening {
    /// It accepts clients.
    Started {
        /// Where.
        address: Address,
    },
    /// A client has come.
    Connected {
        /// Its name.
        client: ClientId,
        /// Who it is.
        peer: Option<Peer>,
    },
    /// A client has gone.
    Disconnected {
        /// Its name.
        client: ClientId,
        /// Why.
        reason: ConnectionError,
    },
    /// A message or a request has come.
    Message {
        /// Whose.
        client: ClientId,
        /// Its number among that client's.
        seq: u64,
        /// What it is.
        kind: Kind,
        /// Its size in bytes.
        size: usize,
    },
    /// A handler panicked, or its answer could not be sent.
    Failed {
        /// Whose message it had.
        client: ClientId,
        /// What went wrong.
        error: String,
    },
    /// It has stopped. The last event.
    Stopped(Report),
}

/// How a server's life was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many clients it has had.
    pub clients: u64,
    /// Messages that its handlers accepted.
    pub accepted: u64,
    /// Messages that its handlers rejected.
    pub rejected: u64,
    /// Requests that were answered with a reply, or taken to be answered later.
    pub replied: u64,
    /// Requests that were answered with an error.
    pub refused: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Handlers that were still running at the deadline of stopping, and were
    /// dropped.
    pub unfinished: u64,
    /// How long stopping took.
    pub stopping: Duration,
    /// It stopped because its endpoint broke down, and the log says how, or because
    /// its task was dropped.
    pub failed: bool,
}

/// Somebody who is told at once, on the task where it happens: be quick. What it
/// panics with is logged and dropped.
pub trait Observer: Send + Sync + 'static {
    /// Something has happened.
    fn event(&self, event: &ServerEvent);
}

impl<F: Fn(&ServerEvent) + Send + Sync + 'static> Observer for F {
    fn event(&self, event: &ServerEvent) {
        self(event);
    }
}

struct Watch {
    mailbox: Mutex<Mailbox<ServerEvent>>,
    waker: AtomicWaker,
}

/// A server's events as they happen: also a `Stream`. At most 1,024 wait to be taken;
/// [`ServerEvent::missed`] tells how many were dropped.
pub struct ServerEvents {
    watch: Arc<Watch>,
    ended: bool,
}

impl fmt::Debug for ServerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvents").finish_non_exhaustive()
    }
}

impl ServerEvents {
    /// The next event; `None` after [`Happening::Stopped`]. Dropping the future loses
    /// none.
    pub async fn recv(&mut self) -> Option<ServerEvent> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for ServerEvents {
    type Item = ServerEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServerEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.watch.waker.register(context.waker());
        let Some(mail) = lock(&self.watch.mailbox).pop() else {
            // Nobody is left who could put anything in.
            let over = Arc::weak_count(&self.watch) == 0;
            return if over {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        };
        self.ended = matches!(mail.item.what, Happening::Stopped(_));
        Poll::Ready(Some(ServerEvent {
            missed: mail.missed,
            ..mail.item
        }))
    }
}

/// Everybody who watches one server.
#[derive(Default)]
pub(super) struct Watchers {
    observers: Vec<Box<dyn Observer>>,
    streams: Mutex<Vec<Weak<Watch>>>,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        // Also of a server that never started: nobody waits for its end in vain.
        let streams = std::mem::take(&mut *lock(&self.streams));
        for watch in streams.into_iter().filter_map(|stream| stream.upgrade()) {
            watch.waker.wake();
        }
    }
}

impl Watchers {
    pub(super) fn observe(&mut self, observer: impl Observer) {
        self.observers.push(Box::new(observer));
    }

    pub(super) fn watch(&self) -> ServerEvents {
        let watch = Arc::new(Watch {
            mailbox: Mutex::new(Mailbox::new(BACKLOG, usize::MAX, Overflow::DropOldest)),
            waker: AtomicWaker::new(),
        });
        lock(&self.streams).push(Arc::downgrade(&watch));
        ServerEvents {
            watch,
            ended: false,
        }
    }

    /// Tells them; `what` is only made if there is somebody. Observers first: whoever has
    /// the last event of a stream finds that they have had it, too.
    pub(super) fn tell(&self, what: impl FnOnce() -> Happening) {
        if self.observers.is_empty() && lock(&self.streams).is_empty() {
            return;
        }
        let event = ServerEvent {
            at: SystemTime::now(),
            missed: 0,
            what: what(),
        };
        for observer in &self.observers {
            let told = std::panic::AssertUnwindSafe(|| observer.event(&event));
            if std::panic::catch_unwind(told).is_err() {
                tracing::error!("a server's observer panicked");
            }
        }
        lock(&self.streams).retain(|stream| {
            let Some(watch) = stream.upgrade() else {
                return false;
            };
            lock(&watch.mailbox).offer(event.clone(), 0);
            watch.waker.wake();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn observers_have_had_what_a_stream_tells() {
        let mut watchers = Watchers::default();
        let events = Arc::new(Mutex::new(watchers.watch()));
        let (told, seen) = std::sync::mpsc::channel();
        watchers.observe({
            let events = events.clone();
            move |_: &ServerEvent| told.send(lock(&events).recv().now_or_never()).unwrap()
        });
        watchers.tell(|| Happening::Stopped(Report::default()));
        assert!(
            seen.try_recv().unwrap().is_none(),
            "the stream had it first"
        );
        let last = lock(&events).recv().now_or_never().flatten().unwrap();
        assert!(matches!(last.what, Happening::Stopped(_)));
    }
}
