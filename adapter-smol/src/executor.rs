//! What must happen while nobody waits, on one thread of the process.

use async_executor::Executor;
use std::{
    future::{Future, pending},
    sync::{Mutex, PoisonError},
    thread,
};

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
    // Not async-io's block_on: a second thread that waits for all sockets itself takes their
    // events from the program's, which then has to be woken for each.
    let run = || futures_lite::future::block_on(EXECUTOR.run(pending::<()>()));
    match thread.spawn(run) {
        Ok(_) => *runs = true,
        // The next connection tries again; what was queued until then runs too.
        Err(error) => tracing::error!(%error, "the background thread could not be started"),
    }
}
