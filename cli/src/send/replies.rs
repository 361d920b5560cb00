//! What comes back.

use crate::{
    exit::{Code, Failure, of_error},
    output::{Format, Output},
};
use sealpipe_driver::{Connection, Error, Runtime, vocabulary::Rejection};
use std::{cell::Cell, time::Duration};
use tokio::sync::Notify;

/// Receives, so that a peer that talks never waits for this side; prints if that
/// is wanted.
pub(super) struct Replies<R: Runtime> {
    output: Option<(Output<R>, Format)>,
    count: Cell<u64>,
    /// There will be no more of them, and why.
    over: Cell<Option<Code>>,
    changed: Notify,
}

impl<R: Runtime> Replies<R> {
    pub(super) fn new(output: Option<(Output<R>, Format)>) -> Replies<R> {
        Replies {
            output,
            count: Cell::new(0),
            over: Cell::new(None),
            changed: Notify::new(),
        }
    }

    /// Receives until there is no more.
    pub(super) async fn receive(&self, connection: &Connection<R>) {
        let end = loop {
            let incoming = match connection.recv().await {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            match &self.output {
                Some((output, format)) => {
                    let (message, verdict) = incoming.into_parts();
                    let line = format.line(1, message.seq, &message.payload);
                    output.print(line, Some(verdict)).await;
                }
                None => incoming.reject(Rejection::new(
                    Rejection::UNSPECIFIED,
                    "nobody here expects messages",
                )),
            }
            self.count.set(self.count.get() + 1);
            self.changed.notify_one();
        };
        if let Some(error) = &end {
            tracing::debug!(%error, "receiving has ended");
        }
        let why = |error: &Error| Code::Unknown.worse(of_error(error));
        self.over.set(Some(end.as_ref().map_or(Code::Unknown, why)));
        self.changed.notify_one();
    }

    /// Waits for as many replies as messages that arrived, each at most so long.
    pub(super) async fn wait(&self, wanted: u64, timeout: Duration) -> Result<(), Failure> {
        while self.count.get() < wanted {
            let missing = wanted - self.count.get();
            if let Some(code) = self.over.get() {
                return Err(Failure::new(
                    code,
                    format!(
                        "{missing} of {wanted} replies did not come before the connection ended; \
                         look whether the peer replies at all, as listen --echo does"
                    ),
                ));
            }
            let changed = self.changed.notified();
            if tokio::time::timeout(timeout, changed).await.is_err() {
                return Err(Failure::new(
                    Code::Unknown,
                    format!(
                        "{missing} of {wanted} replies did not come within {timeout:?}; raise \
                         --timeout, or look whether the peer replies at all, as listen --echo does"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Until everything is printed.
    pub(super) async fn flushed(&self) {
        if let Some((output, _)) = &self.output {
            output.flushed().await;
        }
    }
}
