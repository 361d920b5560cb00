//! What goes on while nobody waits, on threads of the process: one looks after
//! connections, one runs everything else, once there is any.

#[cfg(unix)]
use crate::waiting::block_on_few;
use async_executor::Executor;
use std::{
    future::{Future, pending},
    sync::{Mutex, PoisonError},
    thread,
};

/// For so many directions of sockets such a thread waits itself. In async-io's
/// `block_on` it would often be the one that waits for everybody's, take the events of the
/// program's threads, and have to wake them; and were it woken by async-io's own thread, each
/// event would pass through one thread more. To wait for many takes long each time.
#[cfg(unix)]
const FEW: usize = 64;

/// Looks after connections, by which the program's threads are woken: no code of the
/// program's runs here, which could hold that up.
pub(crate) static BACKGROUND: TaskThread = TaskThread::new("sealpipe");
/// Handshakes, and a server's handlers.
pub(crate) static TASKS: TaskThread = TaskThread::new("sealpipe-tasks");

/// A thread that runs tasks.
pub(crate) struct TaskThread {
    name: &'static str,
    executor: Executor<'static>,
    runs: Mutex<bool>,
}

impl TaskThread {
    const fn new(name: &'static str) -> TaskThread {
        TaskThread {
            name,
            executor: Executor::new(),
            runs: Mutex::new(false),
        }
    }

    /// Runs a task.
    pub(crate) fn spawn(&'static self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task).detach();
        self.start();
    }

    #[cfg(unix)]
    fn run(&self) {
        block_on_few(self.executor.run(pending::<()>()), FEW);
    }

    /// By async-io: to wait for several pipes tells of one at a time.
    #[cfg(windows)]
    fn run(&self) {
        async_io::block_on(self.executor.run(pending::<()>()));
    }

    /// Starts the thread, if it does not run yet.
    fn start(&'static self) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if *runs {
            return;
        }
        let thread = thread::Builder::new().name(String::from(self.name));
        match thread.spawn(|| self.run()) {
            Ok(_) => *runs = true,
            // The next task tries again; what was queued until then runs too.
            Err(error) => tracing::error!(%error, "a background thread could not be started"),
        }
    }
}
