//! An event-driven server as named_pipe_ipc's users know it, on that library's own wire,
//! plain and with a key; over Unix sockets too. Its clients can be old ones.

use sealpipe_services::place;
use sealpipe_tokio::{
    Client, Config, ConfigError, Connection, Content, Format, Handler, Happening, Incoming, Json,
    Key, Rejection, ServerEvent, ServerOptions, Tokio, Wire,
};
use serde::{Deserialize, Serialize};
use std::{error::Error, time::Duration};

/// Without a key it is the plain wire. With one it is the original's encryption, which
/// does not see messages that are repeated: for old peers alone.
fn config(key: Option<[u8; 32]>) -> Result<Config, ConfigError> {
    match key {
        None => Config::plain().wire(Wire::Le32).build(),
        Some(key) => Config::sealed(Key::from_bytes(key))
            .wire(Wire::LegacySealed)
            .build(),
    }
}

#[derive(Serialize, Deserialize)]
struct MyMessage {
    id: u32,
    content: String,
}

struct Echo;

impl Handler<Tokio> for Echo {
    async fn message(&self, client: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        // JSON and text are told apart.
        let answer = match Content::of(&message.payload) {
            Content::Json(json) => {
                let MyMessage { id, content } = Json::decode(json.as_bytes())?;
                let content = format!("processed: {content}");
                Json::message(&MyMessage { id, content })?
            }
            Content::Text(text) => format!("echo: {text}").into(),
            Content::Bytes(bytes) => format!("{} bytes", bytes.len()).into(),
        };
        let sent = client.send(answer).await;
        sent.map_err(|error| Rejection::new(Rejection::UNSPECIFIED, error.to_string()))?;
        Ok(())
    }
}

/// Each event has its time, [`ServerEvent::at`].
fn print(event: &ServerEvent) {
    match &event.what {
        Happening::Started { .. } => println!("started"),
        Happening::Connected { client, .. } => println!("client {client} connected"),
        Happening::Message { client, size, .. } => {
            println!("client {client} sent {size} bytes");
        }
        Happening::Failed { client, error } => println!("client {client}: {error}"),
        Happening::Disconnected { client, .. } => println!("client {client} disconnected"),
        Happening::Stopped(report) => println!("stopped after {} messages", report.accepted),
        _ => {}
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A name as the old programs say it is `Endpoint::named_pipe_ipc("my_pipe")`.
    let place = place()?;
    for key in [None, Some([1; 32])] {
        let server = ServerOptions::new(config(key)?)
            .observer(print)
            .start(&place, Echo)?;

        let client = Connection::connect(&place, config(key)?).await?;
        let content = String::from("hello");
        let question = MyMessage { id: 1, content };
        for message in [Json::message(&question)?, "hello".into()] {
            client.send(message).await?;
            let answer = client.recv().await?.ok_or("the server has gone")?;
            println!("{}", String::from_utf8_lossy(&answer.payload));
        }
        // Statistics of each client.
        for client in server.clients() {
            let stats = client.stats();
            println!(
                "client {}: {} received",
                client.id(),
                stats.messages_received
            );
        }

        // From anywhere that has the server, a clone of it, or a client of it.
        let anywhere = server.clone();
        anywhere.stop(Duration::from_secs(5)).await;
        assert!(!server.is_running());
        assert!(client.recv().await?.is_none());
    }
    Ok(())
}
