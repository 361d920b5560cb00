//! What every adapter must do, a theme a file. One program: what the adapters make of
//! the driver is then compiled once for all of them. Tests that need a process of their
//! own (other processes to kill, an allocator that counts, limits) are beside it.

mod basic;
mod cancel;
mod duplex;
mod executors;
mod feeding;
mod goodbye;
mod hostile;
mod local;
mod many;
mod mismatch;
mod opened;
mod pains;
mod python;
mod python_wires;
mod reconnecting;
mod requests;
mod resumption;
mod server;
mod server_stopping;
mod subscriptions;
mod timing;
mod transcripts;
mod typed;
mod waking;
mod websocket;
mod websocket_hostile;
mod websocket_python;
mod wires;
