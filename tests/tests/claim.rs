//! Who gets a name, and what becomes of a listener that runs out of something.

use sealpipe_driver::{
    Connection, Error, Listener, Runtime,
    vocabulary::{Config, Endpoint, ErrorKind},
};
use sealpipe_tests::{Helper, connected, eventually, place, role, say, within};
use sealpipe_tokio::Tokio;
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    in_one_process_too,
    what_a_killed_process_left_is_taken_over_and_a_live_one_is_not,
    nothing_stays_behind,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Wine lets a second first instance of a pipe be made, which Windows does not.
fn names_are_exclusive() -> bool {
    let wine = cfg!(windows) && std::env::var_os("WINEPREFIX").is_some();
    if wine {
        println!("skipped: Wine lets two programs claim one name");
    }
    !wine
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let endpoint: Endpoint = arguments[0].parse().unwrap();
    match role.as_str() {
        "claim" => claim(&endpoint),
        #[cfg(unix)]
        "few descriptors" => exhausted::few_descriptors(&endpoint),
        other => panic!("{other}"),
    }
}

/// Binds when told to, then stays until its input ends.
fn claim(endpoint: &Endpoint) {
    let mut lines = std::io::stdin().lines();
    say("ready");
    let _ = lines.next();
    runtime().block_on(async {
        let bound = Listener::<Tokio>::bind(endpoint, Config::default());
        match &bound {
            Ok(_) => say("ok"),
            Err(Error::Endpoint(error)) => say(&format!("{:?}|{error}", error.kind())),
            Err(error) => say(&format!("another error: {error}")),
        }
        // Serving meanwhile would take this thread; the claim holds without it.
        let _ = lines.next();
    });
}

#[test]
fn of_two_that_start_at_once_one_wins_and_the_other_is_told() {
    if !names_are_exclusive() {
        return;
    }
    for round in 0..10 {
        let place = place();
        let mut starters: Vec<Helper> = (0..2)
            .map(|_| Helper::at(&place.endpoint, "claim", &[]))
            .collect();
        for starter in &mut starters {
            assert_eq!(starter.line(), "ready");
        }
        for starter in &mut starters {
            starter.tell("go");
        }
        let mut answers: Vec<String> = starters.iter_mut().map(Helper::line).collect();
        answers.sort();
        let [error, ok] = &answers[..] else { panic!() };
        assert_eq!(ok, "ok", "round {round}: {answers:?}");
        assert!(error.starts_with("AddressInUse|"), "round {round}: {error}");
        assert!(error.contains("is in use by"), "{error}");
    }
}

async fn in_one_process_too<R: Runtime>() {
    if !names_are_exclusive() {
        return;
    }
    let place = place();
    let first = Listener::<R>::bind(&place.endpoint, Config::default()).unwrap();
    let Err(Error::Endpoint(error)) = Listener::<R>::bind(&place.endpoint, Config::default())
    else {
        panic!("a second listener")
    };
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let address = first.address().to_string();
    assert!(error.to_string().contains(&address), "{error}");
    drop(first);
    // Given back, as soon as its task has seen it.
    let mut again = None;
    eventually(Duration::from_secs(5), "the name is free again", || {
        again = Listener::<R>::bind(&place.endpoint, Config::default()).ok();
        again.is_some()
    })
    .await;
}

async fn what_a_killed_process_left_is_taken_over_and_a_live_one_is_not<R: Runtime>() {
    if !names_are_exclusive() {
        return;
    }
    within(async {
        let place = place();
        let mut server = Helper::at(&place.endpoint, "claim", &[]);
        assert_eq!(server.line(), "ready");
        server.tell("go");
        assert_eq!(server.line(), "ok");
        for _ in 0..3 {
            let Err(Error::Endpoint(error)) =
                Listener::<R>::bind(&place.endpoint, Config::default())
            else {
                panic!("it took a live server's name")
            };
            assert_eq!(error.kind(), ErrorKind::AddressInUse);
            if cfg!(unix) {
                let text = error.to_string();
                assert!(text.contains(&format!("process {}", server.id())), "{text}");
            }
        }
        server.kill();
        let mut listener = Listener::<R>::bind(&place.endpoint, Config::default()).unwrap();
        let (client, accepted) = tokio::join!(
            Connection::<R>::connect(&place.endpoint, Config::default()),
            listener.accept()
        );
        client.unwrap();
        accepted.unwrap();
    })
    .await;
}

async fn nothing_stays_behind<R: Runtime>() {
    let (client, server, place) = connected::<R>(Config::default(), Config::default()).await;
    // The listener is gone, its connections live on.
    let (sent, received) = tokio::join!(client.send("on"), server.recv());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap().payload, "on");
    #[cfg(unix)]
    eventually(Duration::from_secs(5), "the directory is empty", || {
        place.directory().read_dir().unwrap().next().is_none()
    })
    .await;
    drop(place);
}

/// Unix only: a process on Windows has no such limit to run into.
#[cfg(unix)]
mod exhausted {
    use super::*;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// Takes all descriptors but a few, lets clients come, then gives them back.
    /// The limit is the process's own, hence a process for it.
    pub(super) fn few_descriptors(endpoint: &Endpoint) {
        runtime().block_on(async {
            let mut listener = Listener::<Tokio>::bind(endpoint, Config::default()).unwrap();
            setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(64),
                    ..getrlimit(Resource::Nofile)
                },
            )
            .unwrap();
            let mut hoard = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            say("listening");
            // The reactor runs meanwhile: accepting fails, again and again.
            let told = tokio::task::spawn_blocking(|| {
                let _ = std::io::stdin().lines().next();
            });
            tokio::select! {
                _ = listener.accept() => panic!("no descriptor is left to accept with"),
                _ = told => {}
            }
            drop(hoard);
            let connection = listener.accept().await.unwrap();
            let message = connection.recv().await.unwrap().unwrap();
            say(std::str::from_utf8(&message.payload).unwrap());
        });
    }

    #[tokio::test]
    async fn without_descriptors_accepting_pauses_and_then_goes_on() {
        within(async {
            let place = place();
            let mut server = Helper::at(&place.endpoint, "few descriptors", &[]);
            assert_eq!(server.line(), "listening");
            // The system lets it connect; nobody answers.
            let mut client = std::pin::pin!(async {
                let client = Connection::<Tokio>::connect(&place.endpoint, Config::default())
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
}
