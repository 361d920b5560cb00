//! What must happen while no one waits: timers, acks, pongs, flushing, and
//! noticing that the peer has gone.

use crate::{
    clock,
    shared::{Shared, Step},
};
use sealpipe_core::session::Duty;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::Sleep;

/// One small task a connection. It sleeps while the program drives, and while
/// nothing happens.
pub(crate) struct Background {
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
}

impl Background {
    pub(crate) fn new(shared: Arc<Shared>) -> Background {
        Background {
            shared,
            sleep: Box::pin(tokio::time::sleep_until(clock::instant(clock::now()))),
        }
    }
}

impl Future for Background {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Background { shared, sleep } = &mut *self;
        loop {
            shared.set_background(context.waker());
            let now = clock::now();
            let duty = shared.with(|session, waiters| session.background(now, waiters));
            if duty == Duty::Drive {
                shared.drive_write(now);
                while shared.drive_read(now) == Step::Progress
                    || shared.drive_write(now) == Step::Progress
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
            sleep.as_mut().reset(clock::instant(at));
            ready!(sleep.as_mut().poll(context));
        }
    }
}
