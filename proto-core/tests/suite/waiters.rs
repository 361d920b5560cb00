//! Who is woken, and who is not.

use crate::common::woken::counted;
use sealpipe_core::session::{Interest, Place, Waiters};

fn transport_is_ready(waiters: &mut Waiters) {
    waiters.wake_driver();
    waiters.take_woken().wake();
}

#[test]
fn who_was_woken_is_not_woken_again_until_it_has_looked() {
    let (waker, woken) = counted();
    let (mut waiters, mut place) = (Waiters::new(), Place::default());
    waiters.wait(&mut place, Interest::Message, &waker);
    transport_is_ready(&mut waiters);
    transport_is_ready(&mut waiters);
    assert_eq!(woken(), 1);
    waiters.wait(&mut place, Interest::Message, &waker);
    transport_is_ready(&mut waiters);
    assert_eq!(woken(), 2);
}

#[test]
fn readiness_wakes_one_after_the_other_and_then_the_background() {
    let (first, first_woken) = counted();
    let (second, second_woken) = counted();
    let (background, background_woken) = counted();
    let mut waiters = Waiters::new();
    waiters.set_background(&background);
    let mut places = [Place::default(), Place::default()];
    let [one, other] = &mut places;
    waiters.wait(one, Interest::Message, &first);
    waiters.wait(other, Interest::Room, &second);
    transport_is_ready(&mut waiters);
    assert_eq!((first_woken(), second_woken()), (1, 0));
    // It is to look whether the first has come.
    assert_eq!(background_woken(), 1);
    transport_is_ready(&mut waiters);
    transport_is_ready(&mut waiters);
    assert_eq!((first_woken(), second_woken()), (1, 1));
    assert_eq!(background_woken(), 1);
    // Nor may a place that was given back be called on.
    waiters.leave(one);
    waiters.leave(other);
    transport_is_ready(&mut waiters);
    assert_eq!((first_woken(), second_woken()), (1, 1));
    assert_eq!(background_woken(), 2);
}
