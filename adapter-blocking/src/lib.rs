#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod stream;

pub use sealpipe_endpoint::{Access, Address, Endpoint, ListenOptions};
pub use stream::{LocalAddr, LocalIncoming, LocalListener, LocalStream};
