//! What a server with requests and subscriptions needs besides connections:
//! state machines and rules with no I/O and no clock, like all of this crate.

mod failure;
mod mailbox;
mod pattern;
mod rate;
mod topics;

pub use failure::RemoteError;
pub use mailbox::{Mail, Mailbox, Offered, Overflow};
pub use pattern::{Pattern, PatternError, check_topic};
pub use rate::RateLimit;
pub use topics::Topics;
