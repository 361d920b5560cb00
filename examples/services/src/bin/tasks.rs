//! A task queue: a task counts as processed when a worker is done with it, and its
//! result is pushed to the client that sent it.

use sealpipe_services::place;
use sealpipe_tokio::{
    AckLevel, Client, Config, Connection, Format, Handler, Incoming, Json, Rejection, Server,
    Tokio, Verdict,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc};

const WORKERS: usize = 3;
/// Tasks that wait for a worker; more are rejected.
const WAITING: usize = 100;
const LIMIT: Duration = Duration::from_secs(5);

/// To be divided by each other.
#[derive(Serialize, Deserialize)]
struct Task {
    number: u32,
    dividend: u32,
    divisor: u32,
}

#[derive(Serialize, Deserialize)]
struct Done {
    number: u32,
    quotient: u32,
}

type Job = (Client, Task, Verdict);

struct Queue(mpsc::Sender<Job>);

impl Handler<Tokio> for Queue {
    async fn message(&self, client: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        let task = Json::decode(&message.payload)?;
        // Its place is taken before the verdict is: a rejection goes out as such.
        let place = self.0.try_reserve();
        let place = place.map_err(|_| Rejection::new(300, "too much to do, try again later"))?;
        place.send((client.clone(), task, message.take_verdict()));
        Ok(())
    }
}

async fn work(queue: Arc<Mutex<mpsc::Receiver<Job>>>) {
    loop {
        let job = queue.lock().await.recv().await;
        let Some((client, task, verdict)) = job else {
            return;
        };
        let Some(quotient) = task.dividend.checked_div(task.divisor) else {
            verdict.reject(Rejection::new(301, "nothing can be divided by zero"));
            continue;
        };
        let number = task.number;
        if let Ok(result) = Json::message(&Done { number, quotient }) {
            // A client that has gone gets none.
            let _ = client.send(result).await;
        }
        verdict.accept();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = place()?;
    let (queue, tasks) = mpsc::channel(WAITING);
    let tasks = Arc::new(Mutex::new(tasks));
    for _ in 0..WORKERS {
        tokio::spawn(work(tasks.clone()));
    }
    let server = Server::start(&place, Config::default(), Queue(queue))?;

    let client = Connection::connect(&place, Config::default()).await?;
    let mut deliveries = Vec::new();
    for number in 0..6 {
        let task = Task {
            number,
            dividend: 60,
            divisor: number,
        };
        let message = Json::message(&task)?.with_ack(AckLevel::Processed);
        deliveries.push((number, client.queue(message).await?));
    }
    let mut done = 0;
    for (number, delivery) in deliveries {
        match delivery.await {
            Ok(_) => done += 1,
            Err(error) => println!("task {number}: {error}"),
        }
    }
    // Results come in the order in which they are ready.
    let mut results = BTreeMap::new();
    while results.len() < done {
        let Some(message) = client.recv().await? else {
            break;
        };
        let Done { number, quotient } = Json::decode(&message.payload)?;
        results.insert(number, quotient);
        message.accept();
    }
    for (number, quotient) in results {
        println!("task {number}: {quotient}");
    }
    client.finish().await?;
    server.stop(LIMIT).await;
    Ok(())
}
