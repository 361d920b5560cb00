//! What a PipeCom send costs, from its call to its acknowledgement.
//!
//! `cargo bench -p sealpipe-tests --bench pipecom` sends to a listener in another
//! process, from one thread and from twenty at once. The original's own figure is 220 to
//! 640 µs a send. Nothing is asserted: the machine may be doing something else.

use sealpipe_blocking::pipecom::{Listener, SendOptions};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|role| role == "listen") {
        return listen(&arguments[2]);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = match cfg!(windows) {
        true => format!("sealpipe-bench-{}", std::process::id()),
        false => directory.path().join("pipe").display().to_string(),
    };
    let mut listener = Command::new(std::env::current_exe().expect("this program"))
        .args(["listen", &name])
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let mut line = String::new();
    BufReader::new(listener.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("it listens");

    println!(
        "{:<34}{:>10}{:>10}{:>10}",
        "a send, µs", "median", "p99", "most"
    );
    for size in [10, 1 << 10, 64 << 10] {
        let times = send_many(&name, size, 5_000);
        row(&format!("one sender, {size} B"), times);
    }
    for senders in [2, 20] {
        let each = 10_000 / senders;
        let started = Instant::now();
        let times = std::thread::scope(|scope| {
            let sending: Vec<_> = (0..senders)
                .map(|_| scope.spawn(|| send_many(&name, 10, each)))
                .collect();
            let times = sending.into_iter().map(|one| one.join().expect("sends"));
            times.flatten().collect()
        });
        let all = started.elapsed().as_secs_f64();
        row(&format!("{senders} senders at once, 10 B"), times);
        let each = all * 1e6 / (senders * each) as f64;
        println!("{:<34}{each:>10.1}", "  all of them together, each");
    }
    SendOptions::new()
        .send(&name, "PIPECOM_DIE")
        .expect("the listener stops");
    listener.wait().expect("it ends");
}

fn listen(name: &str) {
    let listener = Listener::start(name, |_| None).expect("a listener");
    println!();
    std::io::stdout().flush().expect("somebody listens");
    listener.join().expect("a good end");
}

fn send_many(name: &str, size: usize, count: usize) -> Vec<Duration> {
    let text = "x".repeat(size);
    let options = SendOptions::new().timeout(Some(Duration::from_secs(120)));
    let once = || {
        let started = Instant::now();
        options.send(name, &text).expect("acknowledged");
        started.elapsed()
    };
    (0..count).map(|_| once()).collect()
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |index: usize| times[index.min(times.len() - 1)].as_secs_f64() * 1e6;
    println!(
        "{what:<34}{:>10.1}{:>10.1}{:>10.1}",
        at(times.len() / 2),
        at(times.len() * 99 / 100),
        at(times.len())
    );
}
