//! Being asked to stop.

/// Returns when the program is asked to stop: control-C, or SIGTERM on Unix.
pub(crate) async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                () = interrupted() => return,
            }
        }
    }
    interrupted().await;
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        // The system's own handling of it is then still in force.
        tracing::warn!(%error, "control-C will end this at once instead of cleanly");
        std::future::pending::<()>().await;
    }
}
