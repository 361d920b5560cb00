//! A server that tells what happens in it, as it happens.

use sealpipe_services::place;
use sealpipe_tokio::{
    AckLevel, Client, Config, Connection, Handler, Happening, Incoming, Message, Rejection,
    ServerEvents, ServerOptions, Tokio,
};
use std::{error::Error, time::Duration};

struct Polite;

impl Handler<Tokio> for Polite {
    async fn message(&self, _: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        match &message.payload[..] {
            b"please" => Ok(()),
            _ => Err(Rejection::new(300, "say please")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    let options = ServerOptions::new(Config::default());
    let watching = tokio::spawn(watch(options.events()));
    // Or `options.observer(|event: &ServerEvent| …)`, which is called at once.
    let server = options.start(&place, Polite)?;

    let client = Connection::connect(&place, Config::default()).await?;
    for text in ["please", "now"] {
        let message = Message::new(text).with_ack(AckLevel::Processed);
        let outcome = match client.send(message).await {
            Ok(outcome) => outcome,
            Err(error) => error.outcome(),
        };
        // On stderr, not among what the server tells.
        eprintln!("{text}: {outcome}");
    }
    client.finish().await?;

    server.stop(Duration::from_secs(5)).await;
    Ok(watching.await?)
}

async fn watch(mut events: ServerEvents) {
    while let Some(event) = events.recv().await {
        match event.what {
            Happening::Started { .. } => println!("started"),
            Happening::Connected { client, .. } => println!("client {client} has come"),
            Happening::Message { client, size, .. } => {
                println!("client {client} sends {size} bytes");
            }
            Happening::Failed { client, error } => println!("client {client}: {error}"),
            Happening::Disconnected { client, reason } => {
                println!("client {client} has gone: {reason}");
            }
            Happening::Stopped(report) => {
                println!(
                    "stopped: {} accepted, {} rejected",
                    report.accepted, report.rejected
                );
            }
            other => println!("{other:?}"),
        }
    }
}
