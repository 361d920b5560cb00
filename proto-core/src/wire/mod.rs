//! The bytes on the wire, as PROTOCOL.md specifies them: encoding and decoding
//! with no state and no allocation that a peer can steer.
//!
//! [`Connection`](crate::Connection) is what most programs want; this module is
//! for those who fuzz the codec or look at captured bytes.

mod extension;
pub mod foreign;
mod frame;
mod hello;
mod preface;
pub mod varint;

pub use extension::Extension;
pub use foreign::Wire;
pub(crate) use frame::{BareHead, ShortHead};
pub use frame::{DataHead, Frame, FrameHeader, FrameType, MAX_DATA_HEAD};
pub use hello::Hello;
pub use preface::{Mode, Preface, Status};

/// The version in the preface.
pub const VERSION: u8 = 1;
/// Header and body of a frame in sealed mode: it always fits one record.
pub const MAX_FRAME_SEALED: usize = 65_535;
/// Header and body of a frame in plain mode.
pub const MAX_FRAME_PLAIN: usize = 262_144;
/// Plaintext of one record.
pub const MAX_RECORD: usize = 65_535;
/// A Noise message of the handshake.
pub const MAX_HANDSHAKE: usize = 1_024;
/// The shortest Noise message: a public key and a tag.
pub const MIN_HANDSHAKE: usize = 48;
/// The body of HELLO.
pub const MAX_HELLO: usize = 512;
/// A topic, in bytes of UTF-8.
pub const MAX_TOPIC: usize = 255;
/// The extension of a message.
pub const MAX_EXTENSION: usize = 255;
/// A reason, in bytes of UTF-8.
pub const MAX_REASON: usize = 256;
/// The payload of a fragment that is not its message's last.
pub const MIN_FRAGMENT: usize = 1_024;
/// The tag behind a record.
pub const TAG: usize = 16;
