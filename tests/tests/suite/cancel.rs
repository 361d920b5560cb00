//! Futures that are dropped at random await points: nothing is lost, cut or
//! doubled, and nobody is stranded. `SEALPIPE_SEED` replays a run.

use sealpipe_driver::{
    ConnectOptions, Connection, Error, Listener, SendError,
    vocabulary::{AckLevel, Config, ConfigBuilder, Message, Outcome},
};
use sealpipe_tests::{Asynchronous, Random, connected, modes, place, within};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

sealpipe_tests::on_every_adapter! {
    ; of futures:
        at_random_points_on_one_thread,
        a_dropped_accept_loses_no_connection,
        a_dropped_connect_leaves_the_listener_well
    ; of futures, on two threads: at_random_points_on_several_threads
}

/// Polls a future so many times, then gives it up.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: u64,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let poll = self.future.as_mut().poll(context).map(Some);
        if poll.is_pending() && self.left == 0 {
            // Not at once: what it had been woken for may come in between.
            context.waker().wake_by_ref();
        }
        poll
    }
}

fn polls<F: Future>(left: u64, future: F) -> Polls<F> {
    Polls {
        future: Box::pin(future),
        left,
    }
}

/// Says which seed it was, if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEALPIPE_SEED={} repeats this", self.0);
        }
    }
}

fn small(builder: ConfigBuilder) -> Config {
    builder
        .max_message(30_000)
        .receive_window(60_000, 6)
        .send_queue(60_000, 6)
        .build()
        .unwrap()
}

fn message(n: u32, random: &mut Random) -> Message {
    let mut payload = n.to_be_bytes().to_vec();
    payload.resize(4 + random.below(25_000) as usize, n as u8);
    let level = [AckLevel::None, AckLevel::Received, AckLevel::Processed][(n % 3) as usize];
    Message::new(payload).with_ack(level)
}

/// What a sender may say of a message.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// It has its outcome: it must be there.
    Arrived,
    /// It was handed back or withdrawn: it must not.
    Kept,
    /// The future was dropped: either, but whole and once.
    Open,
}

type Fates = Arc<Mutex<BTreeMap<u32, Fate>>>;

async fn sends<R: Asynchronous>(
    side: &Connection<R>,
    from: u32,
    count: u32,
    seed: u64,
    fates: &Fates,
) {
    let mut random = Random::new(seed);
    for n in from..from + count {
        let message = message(n, &mut random);
        let left = 1 + random.below(6);
        let fate = match random.below(5) {
            0 => match polls(left, side.send(message)).await {
                Some(sent) => fate(sent),
                None => Fate::Open,
            },
            1 => match polls(left, side.reserve()).await {
                // Its message is only made when there is room.
                Some(permit) => match random.below(3) {
                    0 => {
                        drop(permit);
                        Fate::Kept
                    }
                    _ => fate(permit.unwrap().send(message).unwrap().await),
                },
                None => Fate::Kept,
            },
            2 => match side.try_send(message) {
                Ok(delivery) => match polls(left, delivery).await {
                    Some(sent) => fate(sent),
                    // Dropped, the message goes on.
                    None => Fate::Arrived,
                },
                Err(_) => Fate::Kept,
            },
            3 => match side.try_send(message) {
                Ok(mut delivery) => {
                    let _ = polls(left, &mut delivery).await;
                    if delivery.cancel() {
                        assert!(matches!(delivery.await, Err(SendError::NotSent(_))));
                        Fate::Kept
                    } else {
                        Fate::Arrived
                    }
                }
                Err(_) => Fate::Kept,
            },
            _ => {
                let _ = polls(left, side.ping()).await;
                fate(side.send(message).await)
            }
        };
        fates.lock().unwrap().insert(n, fate);
    }
}

fn fate(sent: Result<Outcome, SendError>) -> Fate {
    match sent {
        Ok(Outcome::Sent | Outcome::Received | Outcome::Processed) => Fate::Arrived,
        other => panic!("{other:?}"),
    }
}

/// Takes messages, by futures of which many are dropped, until `end`.
async fn receives<R: Asynchronous>(side: &Connection<R>, seed: u64, got: &Mutex<Vec<u32>>) {
    let mut random = Random::new(seed);
    loop {
        let left = 1 + random.below(4);
        let received = match random.below(3) {
            0 => Some(side.recv().await),
            1 => polls(left, side.recv()).await,
            _ => tokio::time::timeout(Duration::from_micros(random.below(300)), side.recv())
                .await
                .ok(),
        };
        let Some(message) = received.map(|received| received.unwrap()) else {
            continue;
        };
        let Some(message) = message else { return };
        let payload = &message.payload;
        let n = u32::from_be_bytes(payload[..4].try_into().unwrap());
        assert!(payload[4..].iter().all(|byte| *byte == n as u8), "cut");
        got.lock().unwrap().push(n);
        message.accept();
    }
}

/// Finishes, by futures of which some are dropped.
async fn finishes<R: Asynchronous>(side: &Connection<R>, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..random.below(3) {
        if let Some(finished) = polls(1 + random.below(4), side.finish()).await {
            return finished.unwrap();
        }
    }
    side.finish().await.unwrap();
}

async fn round<R: Asynchronous>(config: Config, seed: u64) {
    const EACH: u32 = 30;
    let (a, b, _place) = connected::<R>(config.clone(), config).await;
    let (a, b) = (Arc::new(a), Arc::new(b));
    let mut fates: [Fates; 2] = Default::default();
    let got: [Arc<Mutex<Vec<u32>>>; 2] = Default::default();
    let mut tasks = Vec::new();
    for (index, side) in [a, b].into_iter().enumerate() {
        let seed = seed.wrapping_mul(31).wrapping_add(index as u64);
        // Two who send and two who receive, or one task that does it all.
        let fates = fates[index].clone();
        let got = got[1 - index].clone();
        let both = side.clone();
        let sending = async move {
            tokio::join!(
                sends(&both, 0, EACH, seed ^ 1, &fates),
                sends(&both, 1_000, EACH, seed ^ 2, &fates),
            );
            finishes(&both, seed ^ 5).await;
        };
        let receiving = async move {
            // Of messages that two take the order among them is not known: one list
            // for both would tell nothing.
            receives(&side, seed ^ 3, &got).await;
        };
        if seed.is_multiple_of(2) {
            tasks.push(tokio::spawn(sending));
            tasks.push(tokio::spawn(receiving));
        } else {
            tasks.push(tokio::spawn(async move {
                tokio::join!(sending, receiving);
            }));
        }
    }
    for task in tasks {
        if let Err(error) = task.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    for (fates, got) in fates.iter_mut().zip(got) {
        let got = got.lock().unwrap();
        let fates = fates.lock().unwrap();
        for sender in [0, 1_000] {
            // In order, so none is doubled.
            let own: Vec<u32> = got
                .iter()
                .copied()
                .filter(|n| n / 1_000 == sender / 1_000)
                .collect();
            assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
        }
        assert_eq!(fates.len(), 2 * EACH as usize);
        for (n, fate) in fates.iter() {
            match fate {
                Fate::Arrived => assert!(got.contains(n), "{n} was lost"),
                Fate::Kept => assert!(!got.contains(n), "{n} was sent after all"),
                Fate::Open => {}
            }
        }
        assert!(got.iter().all(|n| fates.contains_key(n)));
    }
}

async fn rounds<R: Asynchronous>() {
    for seed in Random::seeds(25) {
        for (_, builder) in modes() {
            let _seed = Seed(seed);
            within(round::<R>(small(builder), seed)).await;
        }
    }
}

async fn at_random_points_on_one_thread<R: Asynchronous>() {
    rounds::<R>().await;
}

async fn at_random_points_on_several_threads<R: Asynchronous>() {
    rounds::<R>().await;
}

async fn a_dropped_accept_loses_no_connection<R: Asynchronous>() {
    let config = Config::default();
    for seed in Random::seeds(5) {
        let _seed = Seed(seed);
        within(async {
            let mut random = Random::new(seed);
            let place = place();
            let mut listener = Listener::<R>::bind(&place.endpoint, config.clone()).unwrap();
            let clients = async {
                let mut clients = Vec::new();
                for n in 0..20u8 {
                    let client = Connection::<R>::connect(&place.endpoint, config.clone())
                        .await
                        .unwrap();
                    client.send(vec![n]).await.unwrap();
                    clients.push(client);
                }
                clients
            };
            let accepts = async {
                let mut texts = Vec::new();
                while texts.len() < 20 {
                    let accepted = polls(1 + random.below(3), listener.accept()).await;
                    if let Some(server) = accepted {
                        let message = server.unwrap().recv().await.unwrap().unwrap();
                        texts.push(message.payload[0]);
                    }
                }
                texts
            };
            let (_clients, mut texts) = tokio::join!(clients, accepts);
            // Handshakes go on beside each other: the next may be done before.
            texts.sort_unstable();
            assert_eq!(texts, (0..20).collect::<Vec<u8>>());
        })
        .await;
    }
}

async fn a_dropped_connect_leaves_the_listener_well<R: Asynchronous>() {
    for (_, builder) in modes() {
        let config = builder.build().unwrap();
        for seed in Random::seeds(5) {
            let _seed = Seed(seed);
            within(async {
                let mut random = Random::new(seed);
                let place = place();
                let mut listener = Listener::<R>::bind(&place.endpoint, config.clone()).unwrap();
                let mut open = 0;
                for _ in 0..20 {
                    let options = ConnectOptions::<R>::new(config.clone());
                    let connecting = polls(1 + random.below(5), options.connect(&place.endpoint));
                    if let Some(client) = connecting.await {
                        open += 1;
                        drop(client.unwrap());
                    }
                }
                println!("{open} of 20 were not dropped");
                let client = Connection::<R>::connect(&place.endpoint, config.clone())
                    .await
                    .unwrap();
                client
                    .send(Message::new("at last").with_deadline(Duration::from_secs(20)))
                    .await
                    .unwrap();
                // Those that got through the handshake come first, and have ended.
                loop {
                    let server = listener.accept().await.unwrap();
                    match server.recv().await {
                        Ok(Some(message)) => {
                            assert_eq!(message.payload, "at last");
                            break;
                        }
                        Ok(None) => {}
                        Err(Error::Connection(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
        }
    }
}
