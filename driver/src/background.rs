//! What must happen while no one waits: timers, acks, pongs, flushing, and
//! noticing that the peer has gone.

use crate::{
    Runtime, Timer,
    shared::{Now, Shared, Step},
};
use sealpipe_core::session::Duty;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// One small task a connection. It sleeps while the program drives, and while
/// nothing happens.
pub(crate) struct Background<R: Runtime> {
    shared: Arc<Shared<R>>,
    timer: Option<R::Timer>,
}

impl<R: Runtime> Background<R> {
    pub(crate) fn new(shared: Arc<Shared<R>>) -> Background<R> {
        Background {
            shared,
            timer: None,
        }
    }
}

impl<R: Runtime> Future for Background<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Background { shared, timer } = &mut *self;
        loop {
            shared.set_background(context.waker());
            let now = R::now();
            if shared.background(now) == Duty::Drive {
                let mut time = Now::at(now);
                shared.drive_write(&mut time, |_, _| {});
                while shared.drive_read(&mut time, |_, _, _| {}) == Step::Progress
                    || shared.drive_write(&mut time, |_, _| {}) == Step::Progress
                {}
                if shared.session(|session| session.is_drained() || session.is_overdue(now))
                    && shared.close_if_drained(now)
                {
                    return Poll::Ready(());
                }
                shared.release();
            }
            let Some(at) = shared.session(|session| session.background_sleeps()) else {
                return Poll::Pending;
            };
            let timer = match timer {
                Some(timer) => {
                    timer.reset(at);
                    timer
                }
                None => timer.insert(R::timer(at)),
            };
            ready!(Pin::new(timer).poll(context));
        }
    }
}
