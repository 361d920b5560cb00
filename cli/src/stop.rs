//! Being asked to stop.

use std::{future::pending, io};

/// From the call on, control-C (and SIGTERM on Unix) no longer end the program;
/// what is returned is done when either comes.
pub(crate) fn asked() -> impl Future<Output = ()> {
    let caught = catch().inspect_err(|error| {
        // The system's own handling of it is then still in force.
        tracing::warn!(%error, "control-C will end this at once instead of cleanly");
    });
    async {
        match caught {
            Ok(caught) => caught.await,
            Err(_) => pending().await,
        }
    }
}

#[cfg(unix)]
fn catch() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn catch() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
