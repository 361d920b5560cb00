//! One table: what a message costs, beside what people use today.
//!
//! `cargo bench -p sealpipe-tests` runs every row of a column in turn, several
//! rounds, each between two processes over a Unix socket, and prints the medians
//! and their ratio to tokio with `LengthDelimitedCodec`. Nothing is asserted: the
//! machine may be doing something else.

#[cfg(unix)]
mod bare;
#[cfg(unix)]
mod heap;
#[cfg(unix)]
mod idle;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod sealpipe;
#[cfg(unix)]
mod systems;

#[cfg(unix)]
fn main() {
    run::main();
}

#[cfg(not(unix))]
fn main() {
    println!("The table compares Unix sockets; on Windows there is nothing to run it on here.");
}
