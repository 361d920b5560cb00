//! Messages, requests and replies that are values, as JSON.

use sealpipe_services::place;
use sealpipe_tokio::{
    AckLevel, Client, Config, Connection, Content, Format, Handler, Incoming, Json, Message,
    Rejection, RemoteError, Request, Response, Server, Tokio,
};
use serde::{Deserialize, Serialize};
use std::{error::Error, sync::Mutex, time::Duration};

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    name: String,
    priority: u8,
}

#[derive(Serialize, Deserialize)]
enum Question {
    Next,
    AtLeast { priority: u8 },
}

#[derive(Default)]
struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Handler<Tokio> for Jobs {
    async fn message(&self, _: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        // What is no job is rejected, and its sender told at which field.
        let job = Json::decode(&message.payload)?;
        self.all().push(job);
        Ok(())
    }

    async fn request(&self, _: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        let jobs = self.all();
        let answer = match Json::decode(&request.payload)? {
            Question::Next => Json::encode(&jobs.iter().max_by_key(|job| job.priority)),
            Question::AtLeast { priority } => {
                let count = jobs.iter().filter(|job| job.priority >= priority).count();
                Json::encode(&count)
            }
        };
        Ok(answer?.into())
    }
}

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    let server = Server::start(&place, Config::default(), Jobs::default())?;
    let client = Connection::connect(&place, Config::default()).await?;

    for (name, priority) in [("backup", 3), ("cleanup", 1), ("update", 7)] {
        let job = Job {
            name: name.into(),
            priority,
        };
        let message = Json::message(&job)?.with_ack(AckLevel::Processed);
        println!("{name}: {}", client.send(message).await?);
    }
    let next: Option<Job> = Json::request(&client, &Question::Next, LIMIT).await?;
    println!("next: {next:?}");
    let question = Question::AtLeast { priority: 3 };
    let count: usize = Json::request(&client, &question, LIMIT).await?;
    println!("of priority 3 or more: {count}");

    for text in [r#"{"name":"x","priority":"high"}"#, "backup, please"] {
        let message = Message::new(text).with_ack(AckLevel::Processed);
        if let Err(error) = client.send(message).await {
            println!("{:?}: {error}", Content::of(text.as_bytes()));
        }
    }
    client.finish().await?;
    server.stop(LIMIT).await;
    Ok(())
}
