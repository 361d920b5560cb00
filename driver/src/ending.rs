//! How a connection ends, by the program's will or not.

use crate::{Error, Runtime, call::First, connection::Owner, timeout::timeout, waiting::Waiting};
use sealpipe_core::{Close, ConnectionError, session::Interest};
use std::future::poll_fn;

pub(crate) async fn finish<R: Runtime>(owner: &Owner<R>) -> Result<(), Error> {
    let now = R::now();
    owner
        .shared
        .with(|session, waiters| session.with(waiters, |core| core.finish(now)));
    let limit = owner.config.send_timeout();
    match timeout::<R, _>(limit, ended(owner, First::Write)).await {
        Ok((_, true)) => Ok(()),
        Ok((end, false)) => Err(Error::Connection(end)),
        Err(_) => {
            close(owner, Close::new(Close::TIME, "finishing took too long")).await;
            Err(Error::Timeout {
                doing: "finishing the connection",
                limit,
                last: None,
            })
        }
    }
}

/// Closes; the goodbye goes out in the background.
pub(crate) fn start_close<R: Runtime>(owner: &Owner<R>, why: Close) {
    let now = R::now();
    owner.shared.with(|session, waiters| {
        session.with(waiters, |core| core.close(now, why));
        waiters.wake_background();
    });
}

pub(crate) async fn close<R: Runtime>(owner: &Owner<R>, why: Close) {
    let now = R::now();
    owner
        .shared
        .with(|session, waiters| session.with(waiters, |core| core.close(now, why)));
    // The core's own deadline ends this.
    ended(owner, First::Write).await;
}

/// Waits until no verdict is due on what was received, or the connection has ended.
pub(crate) async fn decided<R: Runtime>(owner: &Owner<R>) {
    let mut waiting = Waiting::new(&owner.shared);
    poll_fn(|context| {
        waiting.poll(context, Interest::Decided, First::Write, |session| {
            let core = session.connection();
            (core.is_decided() || core.end().is_some()).then_some(())
        })
    })
    .await;
}

/// Waits for the end; says why, and whether all that was sent had arrived.
pub(crate) async fn ended<R: Runtime>(owner: &Owner<R>, first: First) -> (ConnectionError, bool) {
    let mut waiting = Waiting::new(&owner.shared);
    poll_fn(|context| {
        waiting.poll(context, Interest::Progress, first, |session| {
            let core = session.connection();
            core.end().map(|end| (end.clone(), core.all_arrived()))
        })
    })
    .await
}
