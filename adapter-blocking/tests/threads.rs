//! Threads come and go, and take along what they waited with. In a process of its own:
//! it counts descriptors.
//!
//! Linux only: elsewhere there is no directory to count them in.
#![cfg(target_os = "linux")]

mod common;
use common::place;
use sealpipe_blocking::{Config, Connection, Error, Listener};
use std::{
    thread,
    time::{Duration, Instant},
};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thread_that_has_waited_leaves_no_descriptor() {
    let place = place();
    let mut listener = Listener::bind(&place.endpoint, Config::default()).unwrap();
    let (client, _server) = thread::scope(|scope| {
        let client =
            scope.spawn(|| Connection::connect(&place.endpoint, Config::default()).unwrap());
        let server = listener.accept().unwrap();
        (client.join().unwrap(), server)
    });
    client.set_read_timeout(Some(Duration::from_millis(1)));
    let wait = || {
        thread::scope(|scope| {
            let waits = scope.spawn(|| client.recv());
            let error = waits.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error}");
        });
    };
    wait();
    let before = descriptors();
    for _ in 0..50 {
        wait();
    }
    // What a thread before these had a timer by may be let go of meanwhile, too, or later.
    let soon = Instant::now() + Duration::from_secs(10);
    while descriptors() > before && Instant::now() < soon {
        thread::yield_now();
    }
    assert!(descriptors() <= before, "{} of {before}", descriptors());
}
