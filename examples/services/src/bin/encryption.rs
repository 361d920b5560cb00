//! The same conversation without a key, with a key of one's own, and with the key
//! that was made when this program was built; and who does not get in.

use sealpipe_services::place;
use sealpipe_tokio::{Config, ConnectOptions, Connection, Endpoint, Key, Server};
use std::{error::Error, time::Duration};

/// Two programs that are to share a key read it from a file that only their user may
/// read, made by `openssl rand -hex 32`.
const OWN: &str = "9d1c7d2c0a3f4b6e8a5d0e9f1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e";
const ANOTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

fn own() -> Result<Config, Box<dyn Error>> {
    Ok(Config::sealed(Key::from_hex(OWN)?).build()?)
}

/// Programs of one build share it. Whoever can read the program has it.
fn of_the_build() -> Result<Config, Box<dyn Error>> {
    let key = Key::from_bytes(sealpipe_build_key::build_key());
    Ok(Config::sealed(key).build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    converse("no key", &place, Config::default()).await?;
    converse("a key of one's own", &place, own()?).await?;
    converse("the key of the build", &place, of_the_build()?).await?;

    let server = Server::start(&place, own()?, ())?;
    let another = Config::sealed(Key::from_hex(ANOTHER)?).build()?;
    for (what, config) in [("another key", another), ("no key", Config::default())] {
        match Connection::connect(&place, config).await {
            Ok(_) => println!("{what} got in"),
            Err(error) => println!("{what} does not get in: {error}"),
        }
    }
    server.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn converse(what: &str, place: &Endpoint, config: Config) -> Result<(), Box<dyn Error>> {
    let server = Server::start(place, config.clone(), ())?;
    // The server of the conversation before may still be on its way out.
    let options = ConnectOptions::new(config).wait_for_server(true);
    let client = options.connect(place).await?;
    // Both sides of a sealed connection know this, and nobody else does.
    let mode = match client.handshake_hash() {
        Some(_) => "sealed",
        None => "plain",
    };
    println!("{what}: {mode}");
    client.finish().await?;
    server.stop(Duration::from_secs(5)).await;
    Ok(())
}
