//! What is moved with every message is small: ARCHITECTURE.md says why.

use sealpipe_tokio::{Error, Incoming, Received};
use std::{mem::size_of, task::Poll};

#[test]
fn what_recv_returns_is_no_larger_than_the_message() {
    // A larger error would need a mark of its own beside the message.
    let largest = size_of::<Incoming>();
    assert_eq!(
        size_of::<Poll<Result<Option<Incoming>, Error>>>(),
        largest,
        "an error takes {} bytes",
        size_of::<Error>()
    );
    assert_eq!(size_of::<Option<Received>>(), size_of::<Received>());
}
