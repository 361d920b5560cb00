//! Who drives a connection: those who wait, the program that comes back, or the background.

use crate::common;
use common::woken::counted;
use common::{Pair, builder};
use sealpipe_core::session::{Duty, Interest, Place, Session, Waiters};
use sealpipe_core::{RecvBuf, Time};
use std::time::Duration;

/// Within this the background must have taken over: a tenth of what the loss of a peer may
/// take to be noticed is left to the rest.
const SOON: Duration = Duration::from_millis(9);

struct Side {
    now: Time,
    session: Session,
    waiters: Waiters,
}

impl Side {
    /// Open, and the background sleeps, with the transport's waker set.
    fn idle() -> Side {
        let Pair { now, client, .. } = Pair::open(builder(false));
        let mut side = Side {
            now,
            session: Session::new(client.connection),
            waiters: Waiters::new(),
        };
        assert_eq!(side.look(true), Duty::Drive);
        side
    }

    fn look(&mut self, attended: bool) -> Duty {
        self.session
            .background(self.now, attended, &mut self.waiters)
    }

    /// Sleeps as long as the background would.
    fn sleep(&mut self) -> Duration {
        let look_at = self.session.background_sleeps().expect("a next look");
        let slept = look_at.saturating_since(self.now);
        self.now = look_at;
        slept
    }
}

#[test]
fn who_does_not_use_the_connection_is_not_waited_for() {
    let mut side = Side::idle();
    side.session.handle_ready(&mut side.waiters);
    assert!(!side.session.is_used(&side.waiters));
    assert_eq!(side.look(false), Duty::Drive);
}

#[test]
fn a_busy_program_is_left_to_drive_but_not_for_long() {
    let mut side = Side::idle();
    let (background, woken) = counted();
    side.waiters.set_background(&background);
    side.session.leave(true, &mut side.waiters);
    side.session.handle_ready(&mut side.waiters);
    side.waiters.take_woken().wake();
    assert!(woken() > 0, "it is to look before long");
    assert_eq!(side.look(false), Duty::Sleep);
    // The program goes on, but only writes: it never asks the transport.
    let mut slept = Duration::ZERO;
    while {
        side.session.leave(false, &mut side.waiters);
        slept += side.sleep();
        assert!(slept < SOON, "{slept:?}");
        side.look(false) == Duty::Sleep
    } {}
}

/// Else each message of a peer that does not wait would wake it.
#[test]
fn readiness_does_not_wake_a_background_that_will_look_anyway() {
    let mut side = Side::idle();
    side.session.leave(true, &mut side.waiters);
    side.session.handle_ready(&mut side.waiters);
    assert_eq!(side.look(false), Duty::Sleep);
    let (background, woken) = counted();
    side.waiters.set_background(&background);
    for _ in 0..100 {
        side.session.leave(true, &mut side.waiters);
        side.session.handle_ready(&mut side.waiters);
        side.waiters.take_woken().wake();
    }
    assert_eq!(woken(), 0);
}

/// The background had begun when nobody waited.
#[test]
fn who_comes_to_wait_takes_over_from_the_background() {
    let mut side = Side::idle();
    let ((waker, woken), mut place) = (counted(), Place::default());
    side.waiters.wait(&mut place, Interest::Message, &waker);
    assert!(side.session.is_used(&side.waiters));
    side.session.hand_over(side.now, &mut side.waiters);
    side.waiters.take_woken().wake();
    assert_eq!(woken(), 1);
    // It may be a future that its task has put aside.
    assert!(side.sleep() < SOON);
    assert_eq!(side.look(false), Duty::Drive);
    // It is not: it reads.
    side.session.hand_over(side.now, &mut side.waiters);
    side.session
        .handle_input(side.now, &mut RecvBuf::new(), &mut side.waiters);
    side.waiters.leave(&mut place);
    side.session.leave(false, &mut side.waiters);
    side.sleep();
    assert_eq!(side.look(true), Duty::Sleep);
}

#[test]
fn after_the_end_the_background_does_the_rest() {
    let mut side = Side::idle();
    let ((waker, _), mut place) = (counted(), Place::default());
    side.waiters.wait(&mut place, Interest::Message, &waker);
    side.session.leave(true, &mut side.waiters);
    side.session
        .handle_eof(side.now, &RecvBuf::new(), &mut side.waiters);
    assert!(!side.session.is_used(&side.waiters));
    assert_eq!(side.look(false), Duty::Drive);
}
