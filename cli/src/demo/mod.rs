//! `sealpipe demo`: this process sends, another one that it starts listens.
//!
//! The two talk over a pair of endpoints, one plain and one sealed. Beside that,
//! the listener gets its orders (with the key) over its stdin and reports what
//! arrived over its stdout; when its stdin ends, however that came, so does it.

mod child;
pub(crate) mod listener;
mod pattern;
mod place;
mod progress;
mod sender;
mod table;

use crate::{
    args::Runtime,
    exit::{Code, Failure},
    ping::print,
    stop,
};
use child::Child;
use place::Place;
use progress::Progress;
use sealpipe_driver::vocabulary::{Config, Key};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// All adapters have been shown by then, and this process has ended within 20 s.
const LIMIT: Duration = Duration::from_secs(18);

/// Shows one of the adapters, in what is left of the time since `began`.
pub(crate) async fn run<R: sealpipe_driver::Runtime>(
    runtime: Runtime,
    verbose: u8,
    began: Instant,
) -> Result<(), Failure> {
    let asked = stop::asked();
    let left = LIMIT.saturating_sub(began.elapsed());
    let demonstration = tokio::time::timeout(left, demonstrate::<R>(runtime, verbose));
    tokio::select! {
        result = demonstration => result.unwrap_or_else(|_| {
            Err(Failure::new(
                Code::Unknown,
                format!(
                    "the demonstration was not done within {LIMIT:?}; look whether the machine is \
                     very busy, and try again with -v"
                ),
            ))
        }),
        () = asked => {
            Err(Failure::new(Code::Local, "the demonstration was interrupted; nothing is left behind"))
        }
    }
}

async fn demonstrate<R: sealpipe_driver::Runtime>(
    runtime: Runtime,
    verbose: u8,
) -> Result<(), Failure> {
    // Dropped in the opposite order: the directory goes when its user has.
    let place = Place::new()?;
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|error| {
        Failure::new(
            Code::Local,
            format!("the system has no random bytes for a key: {error}; try again"),
        )
    })?;
    let mut child = Child::start(runtime, verbose)?;
    let addresses = child.order(&place, &key).await?;
    print(format_args!(
        "{}: this process ({}) sends to another ({}), which checks and acknowledges each message:\n  \
         plain:  {}\n  sealed: {} with a key made for this run\n",
        runtime.name(),
        std::process::id(),
        child.id(),
        addresses[0],
        addresses[1],
    ))?;
    let mut progress = Progress::new(2 * sender::STEPS);
    let modes = [
        ("plain", &place.plain, Config::plain()),
        (
            "sealed",
            &place.sealed,
            Config::sealed(Key::from_bytes(*key)),
        ),
    ];
    let mut columns = Vec::new();
    for (name, endpoint, config) in modes {
        let sent = sender::run::<R>(name, endpoint, config, &mut progress).await?;
        let report = child.report().await?;
        columns.push(table::Column { name, sent, report });
    }
    drop(progress);
    child.end().await;
    print(format_args!("{}", table::Table(&columns)))?;
    let faults: Vec<String> = columns.iter().filter_map(table::Column::fault).collect();
    if faults.is_empty() {
        print(format_args!(
            "\nAll messages, of 0 B to 1 MiB, arrived once, in order and unchanged.\n"
        ))
    } else {
        Err(Failure::new(
            Code::Local,
            format!(
                "this should not happen, please report it: {}",
                faults.join("; ")
            ),
        ))
    }
}
