//! What the examples share. Each is a program of its own in `src/bin`:
//! `cargo run -p sealpipe-services --bin echo`.

use sealpipe_tokio::Endpoint;
use std::{env, error::Error};

/// Where an example meets its clients: the first argument, or a name of this run's
/// own.
///
/// # Errors
/// If the argument is no endpoint.
pub fn place() -> Result<Endpoint, Box<dyn Error>> {
    Ok(match env::args().nth(1) {
        Some(place) => place.parse()?,
        None => Endpoint::name(&format!("sealpipe-example-{}", std::process::id()))?,
    })
}
