//! What must happen while no one waits: timers, acks, pongs, flushing, noticing
//! that the peer has gone, and bringing another stream where the session goes on.

use crate::{
    Error, Runtime, Timer,
    call::Now,
    shared::{Shared, Step},
    transport::Transport,
};
use sealpipe_core::{Time, session::Duty};
use sealpipe_endpoint::Backoff;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Reaches the same server again.
pub(crate) type Dial<R> = Box<dyn FnMut() -> Dialing<R> + Send>;
/// A stream, once there is one.
type Dialing<R> = Pin<Box<dyn Future<Output = Result<Transport<R>, Error>> + Send>>;
/// When it is looked again whether a stream under way is still wanted.
const LOOK: Duration = Duration::from_secs(1);

/// When to dial again.
struct Redial<R: Runtime> {
    dial: Dial<R>,
    under_way: Option<Dialing<R>>,
    backoff: Backoff,
    /// [`Time::ZERO`] while the stream stands.
    at: Time,
}

/// One small task a connection. It sleeps while the program drives, and while
/// nothing happens.
pub(crate) struct Background<R: Runtime> {
    shared: Arc<Shared<R>>,
    timer: Option<R::Timer>,
    redial: Option<Box<Redial<R>>>,
}

impl<R: Runtime> Background<R> {
    pub(crate) fn new(shared: Arc<Shared<R>>, dial: Option<Dial<R>>) -> Background<R> {
        let redial = dial.map(|dial| {
            let seed = R::now().as_nanos() ^ u64::from(std::process::id()).rotate_left(32);
            Box::new(Redial {
                dial,
                under_way: None,
                backoff: Backoff::new(seed),
                at: Time::ZERO,
            })
        });
        Background {
            shared,
            timer: None,
            redial,
        }
    }

    /// Gets another stream, if one is wanted and it is time; says when it will be.
    fn bring_stream(&mut self, now: Time, context: &mut Context<'_>) -> Option<Time> {
        let wanted = self.shared.drop_lost_stream();
        let redial = self.redial.as_deref_mut()?;
        if !wanted {
            redial.under_way = None;
            return None;
        }
        let mut dialing = match redial.under_way.take() {
            Some(dialing) => dialing,
            None if now < redial.at => return Some(redial.at),
            None => {
                redial.at = now.saturating_add(redial.backoff.next_delay());
                (redial.dial)()
            }
        };
        let Poll::Ready(dialed) = dialing.as_mut().poll(context) else {
            redial.under_way = Some(dialing);
            return Some(now.saturating_add(LOOK));
        };
        match dialed.map(|transport| self.shared.resume(transport, now)) {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => tracing::warn!(%error, "a session cannot be resumed"),
            Err(error) => tracing::debug!(%error, "the server is not reached yet"),
        }
        Some(redial.at)
    }
}

/// Moves what can be moved. Returns whether the program is to do the rest, since it uses the
/// connection: two who read in turns take longer than one.
fn drive<R: Runtime>(shared: &Shared<R>, now: Time) -> bool {
    let mut time = Now::at(now);
    shared.drive_write(&mut time, |_, _| {});
    loop {
        let mut used = false;
        let read = shared.drive_read(&mut time, |session, waiters, idle| {
            // Where the transport wakes somebody for more, there is none to hand over.
            used = !idle && !shared.is_read_armed() && session.is_used(waiters);
            if used {
                // What was read is acknowledged, whenever the rest is read.
                session.handle_idle(waiters);
            }
        });
        if read == Step::Progress && !used {
            continue;
        }
        let write = shared.drive_write(&mut time, |_, _| {});
        if read == Step::Progress {
            return true;
        }
        if write != Step::Progress {
            if [read, write].contains(&Step::Yield) {
                shared.wake_background();
            }
            return false;
        }
    }
}

impl<R: Runtime> Future for Background<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            this.shared.set_background(context.waker());
            let now = R::now();
            let dial_at = this.bring_stream(now, context);
            let Background {
                shared,
                timer,
                redial,
            } = &mut *this;
            if shared.background(now) == Duty::Drive {
                let handed_over = drive(shared, now);
                if shared.session(|session| session.is_drained() || session.is_overdue(now))
                    && shared.close_if_drained(now)
                {
                    return Poll::Ready(());
                }
                if shared.drop_lost_stream() && dial_at.is_none() && redial.is_some() {
                    continue;
                }
                let now = R::now();
                if shared.with(|session, waiters| session.rest(now, handed_over, waiters)) {
                    shared.release();
                }
            }
            let look_at = shared.session(|session| session.background_sleeps());
            let Some(at) = look_at.into_iter().chain(dial_at).min() else {
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
