//! bunctl-ipc's protocol: its requests, responses and events, as its programs write
//! them, over its own wire. Either side can be the old one.

use sealpipe_services::place;
use sealpipe_tokio::{
    Client, ClientId, Config, ConfigError, Connection, Format, Handler, Incoming, Json, Rejection,
    Server, Tokio, Wire,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

#[derive(Serialize, Deserialize)]
enum IpcMessage {
    Start { name: String, config: String },
    Stop { name: String },
    Restart { name: String },
    Delete { name: String },
    Status { name: Option<String> },
    List,
    Logs { name: Option<String>, lines: usize },
    Subscribe { subscription: SubscriptionType },
    Unsubscribe,
}

#[derive(Debug, Serialize, Deserialize)]
enum IpcResponse {
    Success { message: String },
    Error { message: String },
    Data { data: Value },
    Event { event_type: String, data: Value },
}

#[derive(Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "these are the names on the wire")]
enum SubscriptionType {
    StatusEvents { app_name: Option<String> },
    LogEvents { app_name: Option<String> },
    AllEvents { app_name: Option<String> },
}

impl SubscriptionType {
    fn wants(&self, event_type: &str, app: &str) -> bool {
        let (kind, name) = match self {
            SubscriptionType::StatusEvents { app_name } => (Some("status"), app_name),
            SubscriptionType::LogEvents { app_name } => (Some("log"), app_name),
            SubscriptionType::AllEvents { app_name } => (None, app_name),
        };
        kind.is_none_or(|kind| kind == event_type) && name.as_ref().is_none_or(|name| name == app)
    }
}

/// The one line that makes it bunctl-ipc's wire; its limit is 10 MiB.
fn config() -> Result<Config, ConfigError> {
    let config = Config::plain().wire(Wire::Le32).max_message(10 << 20);
    config.send_timeout(Duration::from_secs(30)).build()
}

#[derive(Default)]
struct Daemon {
    apps: Mutex<HashMap<String, &'static str>>,
    subscribers: Mutex<HashMap<ClientId, SubscriptionType>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    async fn answer(&self, client: &Client, message: IpcMessage) -> IpcResponse {
        match message {
            IpcMessage::Start { name, .. } => self.set(client, name, "running").await,
            IpcMessage::Stop { name } => self.set(client, name, "stopped").await,
            IpcMessage::Status { name: Some(name) } => match lock(&self.apps).get(&name) {
                Some(status) => IpcResponse::Data {
                    data: json!({ "status": status }),
                },
                None => IpcResponse::Error {
                    message: format!("there is no {name}"),
                },
            },
            IpcMessage::List | IpcMessage::Status { name: None } => IpcResponse::Data {
                data: json!(*lock(&self.apps)),
            },
            IpcMessage::Subscribe { subscription } => {
                lock(&self.subscribers).insert(client.id(), subscription);
                success("subscribed")
            }
            IpcMessage::Unsubscribe => {
                lock(&self.subscribers).remove(&client.id());
                success("unsubscribed")
            }
            IpcMessage::Restart { .. } | IpcMessage::Delete { .. } | IpcMessage::Logs { .. } => {
                let message = String::from("not implemented");
                IpcResponse::Error { message }
            }
        }
    }

    /// Those who have asked for it are told.
    async fn set(&self, client: &Client, name: String, status: &'static str) -> IpcResponse {
        lock(&self.apps).insert(name.clone(), status);
        let event = IpcResponse::Event {
            event_type: String::from("status"),
            data: json!({ "app": name, "status": status }),
        };
        let wanted = |(id, what): (&ClientId, &SubscriptionType)| {
            what.wants("status", &name)
                .then(|| client.server().client(*id))?
        };
        let told: Vec<_> = lock(&self.subscribers).iter().filter_map(wanted).collect();
        for subscriber in told {
            if let Ok(event) = Json::message(&event) {
                // Who has gone meanwhile is not missed.
                let _ = subscriber.send(event).await;
            }
        }
        success(&format!("{name} is {status}"))
    }
}

fn success(message: &str) -> IpcResponse {
    let message = String::from(message);
    IpcResponse::Success { message }
}

impl Handler<Tokio> for Daemon {
    async fn message(&self, client: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        // On this wire an answer is a message like any other.
        let response = match Json::decode(&message.payload) {
            Ok(message) => self.answer(client, message).await,
            Err(error) => IpcResponse::Error {
                message: error.to_string(),
            },
        };
        let sent = client.send(Json::message(&response)?).await;
        sent.map_err(|error| Rejection::new(Rejection::UNSPECIFIED, error.to_string()))?;
        Ok(())
    }
}

/// A client with a time limit of its own for each call, as the original has it.
struct IpcClient {
    connection: Connection,
    timeout: Duration,
}

impl IpcClient {
    async fn send(&self, message: &IpcMessage) -> Result<(), Box<dyn Error>> {
        let sent = self.connection.send(Json::message(message)?);
        timeout(self.timeout, sent).await??;
        Ok(())
    }

    async fn recv(&self) -> Result<IpcResponse, Box<dyn Error>> {
        let message = timeout(self.timeout, self.connection.recv()).await??;
        let message = message.ok_or("the daemon has closed the connection")?;
        Ok(Json::decode(&message.payload)?)
    }

    async fn ask(&self, message: IpcMessage) -> Result<IpcResponse, Box<dyn Error>> {
        self.send(&message).await?;
        self.recv().await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    let server = Server::start(&place, config()?, Arc::new(Daemon::default()))?;
    let connect = async || {
        let connection = Connection::connect(&place, config()?).await?;
        let timeout = Duration::from_secs(10);
        Ok::<_, Box<dyn Error>>(IpcClient {
            connection,
            timeout,
        })
    };
    let (client, watcher) = (connect().await?, connect().await?);

    let app_name = Some(String::from("web"));
    let subscription = SubscriptionType::StatusEvents { app_name };
    let subscribe = IpcMessage::Subscribe { subscription };
    println!("watcher: {:?}", watcher.ask(subscribe).await?);
    for name in ["web", "worker"] {
        let (name, config) = (name.to_owned(), String::new());
        let started = client.ask(IpcMessage::Start { name, config }).await?;
        println!("{started:?}");
    }
    let name = Some(String::from("web"));
    println!("{:?}", client.ask(IpcMessage::Status { name }).await?);
    println!("watcher: {:?}", watcher.recv().await?);
    println!("watcher: {:?}", watcher.ask(IpcMessage::Unsubscribe).await?);
    client.connection.send("what is this?").await?;
    println!("{:?}", client.recv().await?);

    client.connection.finish().await?;
    watcher.connection.finish().await?;
    server.stop(Duration::from_secs(5)).await;
    Ok(())
}
