//! The sending side of the demonstration.

use super::{
    pattern::{Account, LARGEST, Pattern},
    progress::Progress,
};
use crate::{
    exit::{Code, Failure, of_send},
    round_trips::RoundTrips,
};
use sealpipe_driver::{
    ConnectOptions, Connection, Delivery, Runtime, SendError,
    vocabulary::{AckLevel, Config, ConfigBuilder, Endpoint, Message, SendErrorReason},
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Steps of `run`, for the progress bar.
pub(super) const STEPS: usize = 4;
/// No step takes much longer.
const BUDGET: Duration = Duration::from_millis(400);
/// Sizes that are sent in turn, to see that each gets through.
const SIZES: [usize; 10] = [
    0, 1, 63, 1_000, 4_096, 16_384, 65_535, 65_536, 262_145, LARGEST,
];
pub(super) const SMALL: usize = 64;
pub(super) const LARGE: usize = 64 << 10;

/// What was sent, and how it went.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) account: Account,
    pub(super) acknowledged: u64,
    pub(super) round_trips: RoundTrips,
    /// Of messages of `SMALL` bytes.
    pub(super) messages_per_second: f64,
    /// In messages of `LARGE` bytes.
    pub(super) bytes_per_second: f64,
}

/// One step: messages of these sizes in turn, until there were enough of them or
/// the time is up, but at least so many.
struct Plan<'a> {
    what: &'static str,
    sizes: &'a [usize],
    least: u64,
    most: u64,
}

struct Sending<'a, R: Runtime> {
    connection: &'a Connection<R>,
    mode: &'static str,
    pattern: Pattern,
    account: Account,
    acknowledged: u64,
    progress: &'a mut Progress,
}

/// Sends everything over one connection.
pub(super) async fn run<R: Runtime>(
    mode: &'static str,
    endpoint: &Endpoint,
    config: ConfigBuilder,
    progress: &mut Progress,
) -> Result<Sent, Failure> {
    let config: Config = config
        // What is still under way when a step's time is up adds to it.
        .send_queue(4 << 20, 4_096)
        .build()
        .map_err(|error| Failure::new(Code::Local, error.to_string()))?;
    let connection = ConnectOptions::<R>::new(config)
        .connect(endpoint)
        .await
        .map_err(|error| Failure::of(&error, format_args!("cannot connect to {endpoint}")))?;
    let mut sending = Sending {
        connection: &connection,
        mode,
        pattern: Pattern::new(),
        account: Account::new(),
        acknowledged: 0,
        progress,
    };
    let rounds = SIZES.len() as u64;
    sending
        .flow(&Plan {
            what: "all sizes",
            sizes: &SIZES,
            least: rounds,
            most: 10 * rounds,
        })
        .await?;
    let round_trips = sending
        .one_by_one(&Plan {
            what: "round trips",
            sizes: &[SMALL],
            least: 20,
            most: 5_000,
        })
        .await?;
    let small = sending
        .flow(&Plan {
            what: "small messages",
            sizes: &[SMALL],
            least: 100,
            most: 1_000_000,
        })
        .await?;
    let large = sending
        .flow(&Plan {
            what: "large messages",
            sizes: &[LARGE],
            least: 10,
            most: 50_000,
        })
        .await?;
    let sent = Sent {
        account: sending.account,
        acknowledged: sending.acknowledged,
        round_trips,
        messages_per_second: small,
        bytes_per_second: large * LARGE as f64,
    };
    connection
        .finish()
        .await
        .map_err(|error| Failure::of(&error, format_args!("{endpoint} did not end in order")))?;
    Ok(sent)
}

impl<R: Runtime> Sending<'_, R> {
    fn next(&mut self, plan: &Plan<'_>) -> Message {
        let number = self.account.messages;
        let size = plan.sizes[(number % plan.sizes.len() as u64) as usize];
        self.account.add(size);
        Message::new(self.pattern.message(number, size)).with_ack(AckLevel::Processed)
    }

    /// Whether there is another to send, as the `count`th of this step.
    fn goes_on(&mut self, plan: &Plan<'_>, count: u64, started: Instant) -> bool {
        let time = started.elapsed();
        let done = (time.as_secs_f64() / BUDGET.as_secs_f64()).max(count as f64 / plan.most as f64);
        self.progress.show(done, self.mode, plan.what);
        count < plan.least || (count < plan.most && time < BUDGET)
    }

    /// Each when the one before is acknowledged.
    async fn one_by_one(&mut self, plan: &Plan<'_>) -> Result<RoundTrips, Failure> {
        let started = Instant::now();
        let mut times = Vec::new();
        while self.goes_on(plan, times.len() as u64, started) {
            let message = self.next(plan);
            let sent = Instant::now();
            let result = self.connection.send(message).await;
            times.push(sent.elapsed());
            self.settle(result.map(drop))?;
        }
        self.progress.next_step();
        Ok(RoundTrips::new(times))
    }

    /// As many at once as the queue takes; returns how many a second got their
    /// acknowledgement.
    async fn flow(&mut self, plan: &Plan<'_>) -> Result<f64, Failure> {
        let started = Instant::now();
        let mut waiting = VecDeque::new();
        let mut count = 0;
        while self.goes_on(plan, count, started) {
            let mut message = self.next(plan);
            let delivery = loop {
                match self.connection.try_send(message) {
                    Ok(delivery) => break delivery,
                    Err(SendError::NotTaken {
                        message: back,
                        reason: SendErrorReason::Full,
                    }) => message = *back,
                    Err(error) => return Err(self.failed(&error)),
                }
                // Those of the first half; more of them have come by then.
                let half = waiting.len().div_ceil(2);
                self.wait_for(&mut waiting, half).await?;
            };
            waiting.push_back(delivery);
            count += 1;
        }
        let all = waiting.len();
        self.wait_for(&mut waiting, all).await?;
        self.progress.next_step();
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    async fn wait_for(
        &mut self,
        waiting: &mut VecDeque<Delivery<R>>,
        count: usize,
    ) -> Result<(), Failure> {
        for delivery in waiting.drain(..count) {
            self.settle(delivery.await.map(drop))?;
        }
        Ok(())
    }

    fn settle(&mut self, result: Result<(), SendError>) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                self.acknowledged += 1;
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &SendError) -> Failure {
        Failure::new(
            of_send(error),
            format!(
                "a message of the demonstration ({}) failed: {error}; try again with -v",
                self.mode
            ),
        )
    }
}
