//! Who drives a connection: those who wait, the program that comes back, or the background.

use crate::common;
use common::woken::counted;
use common::{Pair, builder};
use sealpipe_core::session::{Duty, Interest, Place, Session, Waiters};
use sealpipe_core::{Message, RecvBuf, Time};
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

    /// The same, and the program has just used the connection.
    fn in_use() -> Side {
        let mut side = Side::idle();
        side.session.leave(true, &mut side.waiters);
        side
    }

    fn ready(&mut self, blocked: bool) {
        self.session.handle_ready(blocked, &mut self.waiters);
        self.waiters.take_woken().wake();
    }

    /// How long the background sleeps until it drives, while the program never reads.
    fn sleep_until_it_drives(&mut self) -> Duration {
        let mut slept = Duration::ZERO;
        loop {
            self.session.leave(false, &mut self.waiters);
            slept += self.sleep();
            assert!(slept < SOON, "{slept:?}");
            if self.look(false) == Duty::Drive {
                return slept;
            }
        }
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
fn what_comes_to_who_does_not_use_the_connection_is_read_at_once() {
    let mut side = Side::idle();
    side.ready(false);
    assert!(!side.session.is_used(&side.waiters));
    assert_eq!(side.look(false), Duty::Drive);
}

#[test]
fn a_program_that_is_busy_is_left_to_drive_but_not_for_long() {
    let mut side = Side::in_use();
    let (background, woken) = counted();
    side.waiters.set_background(&background);
    assert!(side.session.is_used(&side.waiters));
    side.ready(false);
    assert!(woken() > 0, "it is to look before long");
    assert_eq!(side.look(false), Duty::Sleep);
    // It goes on, but only writes.
    side.sleep_until_it_drives();
}

/// No readiness tells of what came while nobody's waker was set.
#[test]
fn who_only_writes_is_not_waited_for_again_and_again() {
    Side::in_use().sleep_until_it_drives();
}

/// It was to look later, whether a waiter had come.
#[test]
fn what_comes_to_a_busy_program_is_looked_at_sooner() {
    let mut side = Side::idle();
    let ((waker, _), mut place) = (counted(), Place::default());
    side.waiters.wait(&mut place, Interest::Message, &waker);
    side.ready(false);
    assert_eq!(side.look(false), Duty::Sleep);
    // He has, and goes on.
    side.session.handle_idle(&mut side.waiters);
    side.waiters.leave(&mut place);
    side.session.leave(true, &mut side.waiters);
    side.ready(false);
    assert_eq!(side.look(false), Duty::Sleep);
    assert!(side.sleep() <= Duration::from_millis(2));
    assert_eq!(side.look(false), Duty::Drive);
}

#[test]
fn who_never_reads_is_handed_over_to_a_few_times() {
    for waits in [false, true] {
        let mut side = Side::in_use();
        let ((waker, _), mut place) = (counted(), Place::default());
        if waits {
            side.waiters.wait(&mut place, Interest::Message, &waker);
        }
        let mut slept = Duration::ZERO;
        while side.session.is_used(&side.waiters) {
            side.session.rest(side.now, true, &mut side.waiters);
            slept += side.sleep();
            assert!(slept < SOON, "{slept:?}");
            assert_eq!(side.look(false), Duty::Drive);
            if !waits {
                side.session.leave(false, &mut side.waiters);
            }
        }
        // Who reads is trusted again.
        side.session.handle_idle(&mut side.waiters);
        side.session.leave(false, &mut side.waiters);
        side.sleep();
        side.look(false);
        side.session.leave(false, &mut side.waiters);
        assert!(side.session.is_used(&side.waiters));
    }
}

/// He has come, and waits again: what is to be written is nobody else's business.
#[test]
fn who_has_come_does_not_keep_the_background_from_writing() {
    let mut side = Side::idle();
    let ((waker, _), mut place) = (counted(), Place::default());
    side.waiters.wait(&mut place, Interest::Message, &waker);
    side.ready(false);
    side.session.handle_idle(&mut side.waiters);
    side.waiters.wait(&mut place, Interest::Message, &waker);
    side.waiters.wake_background();
    assert_eq!(side.look(true), Duty::Drive);
}

/// Else each message to a busy program would.
#[test]
fn readiness_does_not_wake_a_background_that_will_look_anyway() {
    let mut side = Side::in_use();
    side.ready(false);
    assert_eq!(side.look(false), Duty::Sleep);
    let (background, woken) = counted();
    side.waiters.set_background(&background);
    for _ in 0..100 {
        side.session.leave(true, &mut side.waiters);
        side.ready(false);
    }
    assert_eq!(woken(), 0);
}

#[test]
fn what_could_not_be_written_is_written_at_once() {
    let mut side = Side::in_use();
    let sent = side.session.send(side.now, Message::new("x"));
    sent.expect("room");
    side.ready(true);
    // There is something to read, too.
    side.ready(false);
    assert_eq!(side.look(false), Duty::Drive);
    // Who feeds goes on, and says when it is done.
    side.session.leave(true, &mut side.waiters);
    side.session.watch_fed(&mut side.waiters);
    side.ready(true);
    assert_eq!(side.look(false), Duty::Sleep);
    side.sleep_until_it_drives();
}

/// It had begun when nobody waited.
#[test]
fn who_comes_to_wait_takes_over_from_the_background() {
    let mut side = Side::idle();
    let ((waker, woken), mut place) = (counted(), Place::default());
    assert!(!side.session.is_used(&side.waiters));
    side.waiters.wait(&mut place, Interest::Message, &waker);
    assert!(side.session.is_used(&side.waiters));
    side.session.rest(side.now, true, &mut side.waiters);
    side.waiters.take_woken().wake();
    assert_eq!(woken(), 1);
    // It may be a future that its task has put aside.
    assert!(side.sleep() < SOON);
    assert_eq!(side.look(false), Duty::Drive);
    // It is not: it reads.
    side.session.rest(side.now, true, &mut side.waiters);
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
