//! What a request costs: sealpipe beside raw sockets, tarpc and zbus, each between
//! two processes over a Unix socket; and what it costs to find the subscribers of a
//! topic among 10,000.
//!
//! `cargo run --release [-- ROUNDS]` prints medians; nothing is asserted.

#[cfg(unix)]
mod peers;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod topics;

#[cfg(unix)]
fn main() {
    run::main();
}

#[cfg(not(unix))]
fn main() {
    println!("The table compares Unix sockets; on Windows there is nothing to run it on here.");
}
