//! A listener that runs out of descriptors.
//!
//! Unix only: a process on Windows has no such limit to run into.
#![cfg(unix)]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sealpipe_driver::vocabulary::{Config, Endpoint};
use sealpipe_tests::{
    Adapter, Helper,
    api::{Connection, Listener},
    on_adapter, place, role, say, within,
};
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    without_descriptors_accepting_pauses_and_then_goes_on,
}

#[test]
fn helper() {
    let Some((_, arguments)) = role() else {
        return;
    };
    let endpoint: Endpoint = arguments[0].parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        on_adapter!(&*arguments[1], few_descriptors(&endpoint));
    });
}

/// Leaves no descriptor to be had, lets clients come, then gives them back.
/// The limit is the process's own, hence a process for it.
async fn few_descriptors<R: Adapter>(endpoint: &Endpoint) {
    let mut listener = R::bind(endpoint, Config::default()).unwrap();
    let limit = getrlimit(Resource::Nofile);
    // It bounds the numbers of new descriptors, and the standard streams have these:
    // what other threads of this process close meanwhile is not to be had either.
    let current = Some(3);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    say("listening");
    // The reactor runs meanwhile: accepting fails, again and again.
    let told = tokio::task::spawn_blocking(|| {
        let _ = std::io::stdin().lines().next();
    });
    tokio::select! {
        _ = listener.accept() => panic!("no descriptor is left to accept with"),
        _ = told => {}
    }
    setrlimit(Resource::Nofile, limit).unwrap();
    let connection = listener.accept().await.unwrap();
    let message = connection.recv().await.unwrap().unwrap();
    say(std::str::from_utf8(&message.payload).unwrap());
}

async fn without_descriptors_accepting_pauses_and_then_goes_on<R: Adapter>() {
    within(async {
        let place = place();
        let mut server = Helper::at(&place.endpoint, "few descriptors", &[R::NAME]);
        assert_eq!(server.line(), "listening");
        // The system lets it connect; nobody answers.
        let mut client = std::pin::pin!(async {
            let client = R::connect(&place.endpoint, Config::default())
                .await
                .unwrap();
            client.send("after the drought").await.unwrap();
            client.finish().await
        });
        let early = tokio::time::timeout(Duration::from_millis(300), client.as_mut()).await;
        assert!(early.is_err(), "there was a descriptor left");
        // All the time that it spent trying is little: it did not spin.
        let used = cpu_time(server.id());
        assert!(used < Duration::from_millis(250), "it spins: {used:?}");
        server.tell("go");
        let (_, said) = tokio::join!(
            client,
            tokio::task::spawn_blocking(move || (server.line(), server))
        );
        assert_eq!(said.unwrap().0, "after the drought");
    })
    .await;
}

/// User and system time of a process, from /proc where there is that.
fn cpu_time(process: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return Duration::ZERO;
    };
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // 100 a second on every Linux that is built as usual.
    Duration::from_millis(ticks * 10)
}
