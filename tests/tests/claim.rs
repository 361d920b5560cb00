//! Who gets a name.

use sealpipe_driver::{
    Error,
    vocabulary::{Config, Endpoint, ErrorKind},
};
use sealpipe_tests::{
    Adapter, Helper,
    api::{Connection, Listener},
    connected, eventually, place, role, say, within,
};
use sealpipe_tokio::Tokio;
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    in_one_process_too,
    what_a_killed_process_left_is_taken_over_and_a_live_one_is_not,
    nothing_stays_behind,
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
    let Some((_, arguments)) = role() else {
        return;
    };
    let endpoint: Endpoint = arguments[0].parse().unwrap();
    // Binds when told to, then stays until its input ends.
    let mut lines = std::io::stdin().lines();
    say("ready");
    let _ = lines.next();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bound = Tokio::bind(&endpoint, Config::default());
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

async fn in_one_process_too<R: Adapter>() {
    if !names_are_exclusive() {
        return;
    }
    let place = place();
    let first = R::bind(&place.endpoint, Config::default()).unwrap();
    let Err(Error::Endpoint(error)) = R::bind(&place.endpoint, Config::default()) else {
        panic!("a second listener")
    };
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let address = first.address().to_string();
    assert!(error.to_string().contains(&address), "{error}");
    drop(first);
    // Given back: on Windows as soon as its tasks have seen it.
    #[cfg(unix)]
    R::bind(&place.endpoint, Config::default()).unwrap();
    let mut again = None;
    eventually(Duration::from_secs(5), "the name is free again", || {
        again = R::bind(&place.endpoint, Config::default()).ok();
        again.is_some()
    })
    .await;
}

async fn what_a_killed_process_left_is_taken_over_and_a_live_one_is_not<R: Adapter>() {
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
            let Err(Error::Endpoint(error)) = R::bind(&place.endpoint, Config::default()) else {
                panic!("it took a live server's name")
            };
            assert_eq!(error.kind(), ErrorKind::AddressInUse);
            if cfg!(unix) {
                let text = error.to_string();
                assert!(text.contains(&format!("process {}", server.id())), "{text}");
            }
        }
        server.kill();
        let mut listener = R::bind(&place.endpoint, Config::default()).unwrap();
        let (client, accepted) = tokio::join!(
            R::connect(&place.endpoint, Config::default()),
            listener.accept()
        );
        client.unwrap();
        accepted.unwrap();
    })
    .await;
}

async fn nothing_stays_behind<R: Adapter>() {
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
