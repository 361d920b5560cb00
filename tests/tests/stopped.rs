//! A process that was stopped, as by a debugger or a shell, for longer than its peer may be
//! silent: what came in meanwhile was in time, and the connection goes on. Unix only: Wine
//! cannot stop a process, but what goes on then is the same code.
#![cfg(unix)]

use rustix::process::{Pid, Signal, kill_process};
use sealpipe_driver::vocabulary::{Config, Endpoint};
use sealpipe_tests::{
    Adapter, Helper,
    api::{Connection, Listener},
    on_adapter, place, role, say, within,
};
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    whoever_waits_for_a_message_gets_it,
    with_nobody_waiting_it_goes_on,
}

const SILENCE: Duration = Duration::from_secs(1);

#[test]
fn helper() {
    let Some((waits, arguments)) = role() else {
        return;
    };
    let [endpoint, adapter] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let endpoint: Endpoint = endpoint.parse().unwrap();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(within(async {
            on_adapter!(adapter.as_str(), server(&endpoint, waits == "waits"));
        }));
}

/// Soon believes its peer dead; says what it receives.
async fn server<R: Adapter>(endpoint: &Endpoint, waits: bool) {
    let config = Config::plain().keepalive(Some(SILENCE / 3), Some(SILENCE));
    let mut listener = R::bind(endpoint, config.build().unwrap()).unwrap();
    say("listening");
    let connection = listener.accept().await.unwrap();
    if !waits {
        say("accepted");
        let told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        told.await.unwrap().unwrap();
    }
    loop {
        match connection.recv().await {
            Ok(Some(message)) if message.payload == "ready?" => say("accepted"),
            other => {
                return say(&format!(
                    "{:?}",
                    other.map(|some| some.unwrap().payload.clone())
                ));
            }
        }
    }
}

/// Stops a process while a message comes in, and lets it go on later than it would wait for
/// its peer.
async fn stop<C: Connection>(server: &Helper, client: &C) {
    let pid = Pid::from_raw(server.id().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    client.send("still here").await.unwrap();
    tokio::time::sleep(2 * SILENCE).await;
    kill_process(pid, Signal::CONT).unwrap();
}

/// With a keepalive of a client that waits for an answer for longer.
fn patient() -> Config {
    let config = Config::plain().keepalive(Some(SILENCE / 10), Some(100 * SILENCE));
    config.build().unwrap()
}

async fn whoever_waits_for_a_message_gets_it<R: Adapter>() {
    within(async {
        let place = place();
        let mut server = Helper::at(&place.endpoint, "waits", &[R::NAME]);
        assert_eq!(server.line(), "listening");
        let client = R::connect(&place.endpoint, patient()).await.unwrap();
        client.send("ready?").await.unwrap();
        let (server, line) = server.heard().await;
        assert_eq!(line, "accepted");
        stop(&server, &client).await;
        let (_, line) = server.heard().await;
        assert_eq!(line, r#"Ok(b"still here")"#);
    })
    .await;
}

async fn with_nobody_waiting_it_goes_on<R: Adapter>() {
    within(async {
        let place = place();
        let mut server = Helper::at(&place.endpoint, "looks away", &[R::NAME]);
        assert_eq!(server.line(), "listening");
        let client = R::connect(&place.endpoint, patient()).await.unwrap();
        let (mut server, line) = server.heard().await;
        assert_eq!(line, "accepted");
        stop(&server, &client).await;
        // Its background has gone on when that is answered.
        client.ping().await.unwrap();
        server.tell("receive");
        let (_, line) = server.heard().await;
        assert_eq!(line, r#"Ok(b"still here")"#);
    })
    .await;
}
