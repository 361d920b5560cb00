//! What must happen while nobody waits, on one thread of the process.

use crate::waiting::block_on_few;
use async_executor::Executor;
use std::{
    future::{Future, pending},
    sync::{Mutex, PoisonError},
    thread,
};

/// For so many directions of sockets and pipes the thread waits itself. In async-io's
/// `block_on` it would often be the one that waits for everybody's, take the events of the
/// program's threads, and have to wake them; and were it woken by async-io's own thread, each
/// event would pass through one thread more. To wait for many takes long each time.
const FEW: usize = 64;

static EXECUTOR: Executor<'static> = Executor::new();

/// Runs a task in the background.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(task).detach();
    start();
}

/// Starts the thread, if it does not run yet.
fn start() {
    static RUNS: Mutex<bool> = Mutex::new(false);
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    if *runs {
        return;
    }
    let thread = thread::Builder::new().name(String::from("sealpipe"));
    let run = || block_on_few(EXECUTOR.run(pending::<()>()), FEW);
    match thread.spawn(run) {
        Ok(_) => *runs = true,
        // The next connection tries again; what was queued until then runs too.
        Err(error) => tracing::error!(%error, "the background thread could not be started"),
    }
}
