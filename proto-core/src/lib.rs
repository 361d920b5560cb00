#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod buffer;
mod config;
mod connection;
mod crypto;
mod error;
mod event;
mod key;
mod ledger;
mod message;
mod queue;
pub mod service;
pub mod session;
mod stats;
mod time;
pub mod wire;

pub use buffer::{RecvBuf, SendBuf};
pub use config::{Config, ConfigBuilder, ConfigError};
pub use connection::{Connection, ResumePoint, Role};
#[cfg(feature = "ring")]
pub use crypto::Ring;
pub use crypto::{ChaChaPoly, CipherProvider, OpenError, RecordCipher};
pub use error::{
    Asked, Close, ConnectionError, Fault, Lost, Mismatch, ResumeError, Sealed, SendError,
    SendErrorReason, SettleError, Timeout, Violation, WireError,
};
pub use event::{Event, MessageId, Opened};
pub use key::{Key, KeyError, KeyId};
pub use message::{AckLevel, Kind, Message, MessageError, Outcome, Received, Rejection};
pub use stats::Stats;
pub use time::Time;
pub use wire::Wire;
