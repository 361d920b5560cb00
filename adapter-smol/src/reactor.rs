//! What async-io's reactor waits for.

use std::task::{Context, Poll};

/// Has the reactor look at what was registered with it, where `poll` is to be woken by it.
///
/// polling (3.11, on Windows) puts a registration into a queue unless its reactor waits already. If
/// that begins to wait between the two, it looks at the queue only after the wait: what was waited
/// for has come, and nobody is told. A new timer ends the wait.
#[cfg(windows)]
pub(crate) fn told<T>(poll: Poll<T>, context: &mut Context<'_>) -> Poll<T> {
    use std::{future::Future as _, pin::Pin, time::Duration};
    if poll.is_pending() {
        let mut timer = async_io::Timer::after(Duration::from_secs(3_600));
        let _ = Pin::new(&mut timer).poll(context);
    }
    poll
}

/// Elsewhere it hears of everything at once.
#[cfg(all(unix, feature = "websocket"))]
pub(crate) fn told<T>(poll: Poll<T>, _: &mut Context<'_>) -> Poll<T> {
    poll
}
