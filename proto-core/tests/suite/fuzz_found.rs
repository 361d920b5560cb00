//! Mistakes that fuzzing found, each by the shortest way to it.

use crate::common;

use common::{Pair, builder};
use sealpipe_core::{Message, Role, SendErrorReason};

/// Between its last goodbye and the end, a side that had finished was told that
/// it had been closed.
#[test]
fn who_has_finished_is_told_so_until_the_end() {
    for sealed in [false, true] {
        let mut pair = Pair::open(builder(sealed));
        pair.client.connection.finish(pair.now);
        pair.server.connection.finish(pair.now);
        for from in [Role::Initiator, Role::Responder].repeat(4) {
            pair.step(from);
            for side in [&mut pair.client, &mut pair.server] {
                let result = side.connection.send(pair.now, Message::new("late"));
                let expected = match side.connection.end() {
                    None => SendErrorReason::Finished,
                    Some(why) => SendErrorReason::Closed(why.clone()),
                };
                assert_eq!(result.expect_err("it has finished").reason, expected);
            }
        }
        assert!(pair.client.closed().is_some() && pair.server.closed().is_some());
    }
}
