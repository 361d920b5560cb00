//! What is measured, and the table.

use crate::{peers, topics};
use std::{
    future::Future,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PEERS: [&str; 5] = ["std", "sealpipe message", "sealpipe", "tarpc", "zbus"];
const ROUND_TRIPS: usize = 10_000;
const MANY: usize = 100_000;
/// Requests under way at once.
pub(crate) const IN_FLIGHT: usize = 64;

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    match argument(1) {
        "serve" => peers::serve(argument(2), argument(3)),
        rounds => table(rounds.parse().unwrap_or(5)),
    }
}

/// Tells the other process that it can connect.
pub(crate) fn ready() {
    println!();
    let _ = std::io::stdout().flush();
}

fn table(rounds: usize) {
    let mut figures = [const { (Vec::new(), Vec::new()) }; PEERS.len()];
    for _ in 0..rounds {
        for (peer, (round_trips, rates)) in PEERS.iter().zip(&mut figures) {
            let (round_trip, rate) = measure(peer);
            round_trips.push(round_trip);
            rates.extend(rate);
        }
    }
    println!("{:<20}{:>18}{:>26}", "64 B", "round trip, µs", "64 in flight, M/s");
    for (peer, (round_trips, rates)) in PEERS.iter().zip(figures) {
        let rate = match rates.is_empty() {
            true => String::from("–"),
            false => format!("{:.3}", median(rates)),
        };
        println!("{peer:<20}{:>18.2}{rate:>26}", median(round_trips));
    }
    println!("\n10,000 subscriptions, one publication:");
    for (name, mean, found) in topics::rows() {
        println!("{name:<40}{mean:>12.2?}, {found} found");
    }
}

/// Microseconds, and millions a second where requests can be under way together.
fn measure(peer: &str) -> (f64, Option<f64>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket").display().to_string();
    let mut server = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["serve", peer, &path])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("the server is ready");
    let figures = peers::drive(peer, &path);
    let _ = server.kill();
    let _ = server.wait();
    figures
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of all but the first tenth, in microseconds.
pub(crate) async fn round_trips<F: Future<Output = ()>>(mut once: impl FnMut() -> F) -> f64 {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for round in 0..ROUND_TRIPS + ROUND_TRIPS / 10 {
        let start = Instant::now();
        once().await;
        if round >= ROUND_TRIPS / 10 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    median(times)
}

/// Millions a second, with so many under way at once.
pub(crate) async fn rate<F: Future<Output = ()>>(once: impl Fn() -> F) -> f64 {
    use futures_util::StreamExt;
    let start = Instant::now();
    futures_util::stream::iter(0..MANY)
        .map(|_| once())
        .buffer_unordered(IN_FLIGHT)
        .for_each(|()| std::future::ready(()))
        .await;
    MANY as f64 / Duration::as_secs_f64(&start.elapsed()) / 1e6
}
