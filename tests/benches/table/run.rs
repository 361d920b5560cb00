//! What is measured, and the table.

use crate::{
    heap,
    idle::{self, CROWD},
    systems::{self, SYSTEMS},
};
use sealpipe_core::{ChaChaPoly, CipherProvider};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

/// What is done with how many messages of which size.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    pub(crate) count: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// One message there and back, again and again: median microseconds.
    RoundTrip,
    /// Fed, flushed once at the end: megabytes, or millions of messages, a second.
    Flow,
    /// Each awaited.
    Awaited,
}

const TASKS: [Task; 7] = [
    Task {
        name: "round trip 64 B, µs",
        kind: Kind::RoundTrip,
        size: 64,
        count: 10_000,
    },
    Task {
        name: "round trip 64 KiB, µs",
        kind: Kind::RoundTrip,
        size: 64 << 10,
        count: 2_000,
    },
    Task {
        name: "flow 64 B fed, M/s",
        kind: Kind::Flow,
        size: 64,
        count: 2_000_000,
    },
    Task {
        name: "flow 64 B awaited, M/s",
        kind: Kind::Awaited,
        size: 64,
        count: 200_000,
    },
    Task {
        name: "flow 1 KiB, MB/s",
        kind: Kind::Flow,
        size: 1 << 10,
        count: 500_000,
    },
    Task {
        name: "flow 64 KiB, MB/s",
        kind: Kind::Flow,
        size: 64 << 10,
        count: 20_000,
    },
    Task {
        name: "flow 1 MiB, MB/s",
        kind: Kind::Flow,
        size: 1 << 20,
        count: 1_500,
    },
];

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    match argument(1) {
        "serve" => systems::serve(argument(2), argument(3), argument(4) == "echo"),
        "drive" => println!(
            "{:?}",
            systems::drive(
                argument(2),
                argument(3),
                &TASKS[argument(4).parse::<usize>().unwrap_or(0)]
            )
        ),
        "idle" => println!("{}", idle::heap_per_end(argument(2), argument(3))),
        "idle-bare" => println!("{}", idle::bare_heap_per_end(argument(2))),
        "crowd" => systems::serve_crowd(argument(2), argument(3)),
        _ => table(
            arguments
                .iter()
                .skip(1)
                .find_map(|argument| argument.parse().ok())
                .unwrap_or(5),
            arguments
                .iter()
                .skip(1)
                .find(|argument| argument.starts_with("only="))
                .map(|argument| &argument[5..]),
        ),
    }
}

fn table(rounds: usize, only: Option<&str>) {
    print!("{:<26}", "");
    SYSTEMS.iter().for_each(|system| print!("{system:>20}"));
    println!();
    let mut raw = 0.0;
    for task in TASKS
        .iter()
        .filter(|task| only.is_none_or(|only| task.name.contains(only)))
    {
        let mut figures = [const { Vec::new() }; SYSTEMS.len()];
        for _ in 0..rounds {
            for (system, figures) in SYSTEMS.iter().zip(&mut figures) {
                figures.push(measure(system, task));
            }
        }
        let medians = figures.map(median);
        row(task.name, &medians);
        if task.size == 64 << 10 && task.kind == Kind::Flow {
            raw = medians[0];
        }
    }
    if only.is_none_or(|only| "heap".contains(only)) {
        row(
            "heap per idle end, bytes",
            &SYSTEMS.map(|system| heap_per_end("idle", system)),
        );
        row(
            "of that its runtime's own",
            &SYSTEMS.map(|system| heap_per_end("idle-bare", system)),
        );
    }
    if only.is_none_or(|only| "crowd".contains(only)) {
        crowd();
    }
    let cipher = cipher();
    println!("\ncipher, in place, 32 KiB records: {cipher:.0} MB/s");
    if raw > 0.0 {
        let bound = 1.0 / (1.0 / cipher + 1.0 / raw);
        println!(
            "sealed flow of 64 KiB: 1/(1/cipher + 1/raw) is {bound:.0} MB/s, 0.9 of it {:.0}",
            0.9 * bound
        );
    }
}

fn row(name: &str, medians: &[f64; SYSTEMS.len()]) {
    print!("{name:<26}");
    for median in medians {
        print!("{:>11.2} ({:>5.2}x)", median, median / medians[1]);
    }
    println!();
    let _ = std::io::stdout().flush();
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn myself() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

/// A server of its own process, which is ready.
struct Server {
    process: Child,
    path: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(role: &str, system: &str, mode: &str) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket").display().to_string();
        let mut process = myself()
            .args([role, system, &path, mode])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("the server is ready");
        Server {
            process,
            path,
            _directory: directory,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says that a server listens.
pub(crate) fn ready() {
    println!();
    let _ = std::io::stdout().flush();
}

fn measure(system: &str, task: &Task) -> f64 {
    let mode = if task.kind == Kind::RoundTrip {
        "echo"
    } else {
        "sink"
    };
    let server = Server::start("serve", system, mode);
    let taken = systems::drive(system, &server.path, task);
    match task.kind {
        Kind::RoundTrip => taken.as_secs_f64() * 1e6,
        _ if task.size == 64 => task.count as f64 / taken.as_secs_f64() / 1e6,
        _ => (task.count * task.size) as f64 / taken.as_secs_f64() / 1e6,
    }
}

fn heap_per_end(role: &str, system: &str) -> f64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket").display().to_string();
    let output = myself()
        .args([role, system, &path])
        .output()
        .expect("the process runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or(f64::NAN)
}

/// Many idle connections in one server, and an active one among them.
fn crowd() {
    // Those of the client's process; the server has as many, and the same limit.
    let limit = idle::raise_limit();
    let size = CROWD.min(limit.saturating_sub(100));
    if size < CROWD {
        println!("\nonly {size} idle connections: the limit is {limit} descriptors");
    }
    println!("\none server with {size} idle connections, each waited on by a task:");
    for system in ["sealpipe", "sealpipe-smol", "sealpipe-sealed"] {
        let [alone, among] = [0, size].map(|crowd| {
            let server = Server::start("crowd", system, "");
            systems::among(system, &server.path, crowd)
        });
        println!(
            "{system:<20}{:>8.0} B of heap and {:>6.0} B resident for each; round trip 64 B, µs: {:.2} among them, {:.2} alone",
            (among.heap - alone.heap) / size as f64,
            (among.resident - alone.resident) / size as f64,
            among.round_trip.as_secs_f64() * 1e6,
            alone.round_trip.as_secs_f64() * 1e6,
        );
    }
}

/// Megabytes a second.
fn cipher() -> f64 {
    let cipher = ChaChaPoly.cipher(&[7; 32]);
    let mut data = vec![0; 32 << 10];
    let start = Instant::now();
    let mut bytes = 0usize;
    while start.elapsed() < Duration::from_millis(500) {
        cipher
            .seal(&[1; 12], &[0, 0], &mut data)
            .expect("short enough");
        bytes += data.len();
    }
    bytes as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// The median of all rounds but the first tenth.
pub(crate) fn round_trips(mut once: impl FnMut() -> Duration, count: usize) -> Duration {
    let mut times: Vec<Duration> = (0..count + count / 10)
        .map(|_| once())
        .skip(count / 10)
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// As [`round_trips`], of what is awaited.
pub(crate) async fn timed(count: usize, mut once: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        once().await;
        times.push(start.elapsed());
    }
    let mut times = times.into_iter();
    round_trips(|| times.next().unwrap_or_default(), count * 10 / 11)
}
