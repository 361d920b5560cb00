//! The core's behaviour, a theme a file, in one program: quicker to build than as many.

mod answers;
mod common;
mod ending;
mod failure;
mod fuzz_found;
mod handshake;
mod hellos;
mod honest;
mod hostile;
mod mailbox;
mod opening;
mod outcomes;
mod properties;
mod rate;
mod records;
mod resumption;
mod resumption_credit;
mod resumption_refused;
mod session;
mod simulation;
mod timers;
mod topics;
mod transcripts;
mod waiters;
mod wire_codec;
mod wires;
