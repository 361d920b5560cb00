//! A chat: `chat PLACE serve`, and in other terminals `chat PLACE join NICK`. What
//! one types, the others read.

use sealpipe_services::place;
use sealpipe_tokio::{AckLevel, Config, Connection, Message, Server, ServerOptions};
use std::{env, error::Error};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(2).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["join", nick] => join(nick).await,
        _ => Err("usage: chat PLACE serve, or chat PLACE join NICK".into()),
    }
}

/// The server only hands on what its clients publish.
async fn serve() -> Result<(), Box<dyn Error>> {
    let options = ServerOptions::new(Config::default()).relay(true);
    let server: Server = options.start(&place()?, ())?;
    println!("open");
    server.stopped().await;
    Ok(())
}

async fn join(nick: &str) -> Result<(), Box<dyn Error>> {
    let connection = Connection::connect(&place()?, Config::default()).await?;
    let mut others = connection.subscribe("chat/*").await?;
    let topic = format!("chat/{nick}");
    println!("welcome, {nick}");
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = typed.next_line() => {
                let Some(line) = line? else { break };
                let event = Message::event(topic.as_str(), line)?;
                connection.send(event.with_ack(AckLevel::Processed)).await?;
            }
            event = others.recv() => {
                let Some(event) = event? else { break };
                let from = event.topic().trim_start_matches("chat/");
                println!("{from}: {}", String::from_utf8_lossy(&event.payload));
            }
        }
    }
    connection.finish().await?;
    Ok(())
}
