//! `cargo run -p sealpipe-event-loop -- NAME [KEY_FILE]`, and from another shell
//! `cargo run -- ping NAME` or `cargo run -- send NAME hello`.

use sealpipe_core::{Config, Key};
use sealpipe_endpoint::Endpoint;
use sealpipe_event_loop::Server;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let name = arguments
        .next()
        .ok_or("usage: sealpipe-event-loop NAME [KEY_FILE]")?;
    let config = match arguments.next() {
        Some(path) => Config::sealed(Key::from_hex(fs::read_to_string(path)?.trim())?),
        None => Config::plain(),
    };
    // What a connection may hold, times 1,000, is what the server may take: half
    // a gigabyte of messages that came in and as much of replies.
    let config = config
        .max_message(256 << 10)
        .receive_window(512 << 10, 64)
        .send_queue(256 << 10, 64)
        .build()?;
    let server = Server::bind(&Endpoint::name(&name)?, config, 1_000)?;
    println!("listening on {}", server.address());
    server.run()?;
    Ok(())
}
