//! A server that answers every request with the same bytes, and a client that asks.

use sealpipe_services::place;
use sealpipe_tokio::{
    Client, Config, Connection, Handler, RemoteError, Request, Response, Server, Tokio,
};
use std::{error::Error, time::Duration};

struct Echo;

impl Handler<Tokio> for Echo {
    async fn request(&self, _: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        Ok(request.payload.clone().into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    let server = Server::start(&place, Config::default(), Echo)?;

    // This could be another program.
    let client = Connection::connect(&place, Config::default()).await?;
    for text in ["hello", "hello again"] {
        let reply = client.request(text, Duration::from_secs(5)).await?;
        println!("{text}: {}", String::from_utf8_lossy(&reply));
    }
    client.finish().await?;

    let report = server.stop(Duration::from_secs(5)).await;
    println!("{} requests answered", report.replied);
    Ok(())
}
