//! async-io's reactor, which may not look by itself at what it is to wait for.

use std::task::{Context, Poll};

/// Has the reactor look at what was registered with it, where `poll` is to be woken by it.
///
/// polling (3.11, on Windows) puts a registration into a queue unless its reactor waits already. If
/// that begins to wait between the two, it looks at the queue only after the wait: what was waited
/// for has come, and nobody is told. A new timer ends the wait.
#[cfg(windows)]
pub(crate) fn rouse_if_pending<T>(poll: Poll<T>, context: &mut Context<'_>) -> Poll<T> {
    use std::{future::Future as _, pin::Pin, time::Duration};
    if poll.is_pending() {
        let mut timer = async_io::Timer::after(Duration::from_secs(3_600));
        let _ = Pin::new(&mut timer).poll(context);
    }
    poll
}

/// Elsewhere it looks by itself.
#[cfg(all(unix, feature = "websocket"))]
pub(crate) fn rouse_if_pending<T>(poll: Poll<T>, _: &mut Context<'_>) -> Poll<T> {
    poll
}
