//! A deadline for a future.

use crate::Runtime;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// The deadline has passed.
pub(crate) struct Elapsed;

/// Waits for `future` until `limit` from now. A future that is ready at once costs
/// no timer.
pub(crate) async fn timeout<R: Runtime, T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let deadline = R::now().saturating_add(limit);
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        // Where the future has used up what the runtime lets a task do in one go, the timer
        // is not ready either, however late it is.
        if R::now() >= deadline {
            return Poll::Ready(Err(Elapsed));
        }
        let timer = timer.get_or_insert_with(|| R::timer(deadline));
        Pin::new(timer).poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// Waits for so long.
pub(crate) async fn sleep<R: Runtime>(time: Duration) {
    R::timer(R::now().saturating_add(time)).await;
}
