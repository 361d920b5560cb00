//! The two buffers that a driver owns: bytes come in through one and go out
//! through the other. The connection works on them in place.

mod recv;
mod send;

pub use recv::RecvBuf;
pub(crate) use recv::SMALL;
pub use send::SendBuf;
