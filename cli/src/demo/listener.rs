//! The receiving process of the demonstration.

use super::pattern::{Account, Pattern};
use crate::exit::{Code, Failure};
use sealpipe_driver::{
    Connection, Listener, Runtime,
    vocabulary::{Config, Endpoint, Key, Rejection},
};
use serde_json::json;
use std::io::{self, BufRead, Read, Write};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Runs until stdin ends.
pub(crate) async fn run<R: Runtime>() -> Result<(), Failure> {
    let (orders, given) = oneshot::channel();
    let (over, stdin_ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _over = over;
        let mut stdin = io::stdin().lock();
        let (mut key, mut endpoints) = (Zeroizing::new(String::with_capacity(1024)), String::new());
        let read = stdin
            .read_line(&mut key)
            .and_then(|_| stdin.read_line(&mut endpoints));
        if read.is_ok() && orders.send((key, endpoints)).is_ok() {
            // Nothing more comes: this waits for the end.
            let _ = stdin.read(&mut [0; 1]);
        }
    });
    let Ok((key, endpoints)) = given.await else {
        return Err(no_orders());
    };
    tokio::select! {
        // Orders that cannot be followed are told first.
        biased;
        result = listen::<R>(&key, &endpoints) => result,
        _ = stdin_ended => Ok(()),
    }
}

fn no_orders() -> Failure {
    Failure::new(
        Code::Usage,
        "demo-listener is a part of `sealpipe demo`, which gives it its orders; run that instead",
    )
}

async fn listen<R: Runtime>(key: &str, endpoints: &str) -> Result<(), Failure> {
    let key = Key::from_hex(key).map_err(|_| no_orders())?;
    let endpoints: [String; 2] = serde_json::from_str(endpoints).map_err(|_| no_orders())?;
    let [plain, sealed] = endpoints.map(|endpoint| endpoint.parse::<Endpoint>());
    let bind = |endpoint: Result<Endpoint, _>, config: Result<Config, _>| {
        let endpoint = endpoint.map_err(|_| no_orders())?;
        let config = config.map_err(|_| no_orders())?;
        Listener::<R>::bind(&endpoint, config)
            .map_err(|error| Failure::of(&error, format_args!("cannot listen on {endpoint}")))
    };
    let mut plain = bind(plain, Config::plain().build())?;
    let mut sealed = bind(sealed, Config::sealed(key).build())?;
    say(&json!([
        plain.address().to_string(),
        sealed.address().to_string()
    ]))?;
    let pattern = Pattern::new();
    loop {
        let accepted = tokio::select! {
            accepted = plain.accept() => accepted,
            accepted = sealed.accept() => accepted,
        };
        let connection = accepted
            .map_err(|error| Failure::of(&error, format_args!("cannot listen any more")))?;
        say(&check_all(&connection, &pattern).await)?;
        // The sender has been told what became of everything by then.
        let _ = connection.finish().await;
    }
}

/// Receives to the end; says what came.
async fn check_all<R: Runtime>(connection: &Connection<R>, pattern: &Pattern) -> serde_json::Value {
    let mut account = Account::new();
    let (mut changed, mut misplaced) = (0u64, 0u64);
    loop {
        let message = match connection.recv().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the connection ended early");
                break;
            }
        };
        let number = account.messages;
        account.add(message.payload.len());
        if message.seq != number {
            misplaced += 1;
        }
        if message.payload == pattern.message(number, message.payload.len()) {
            message.accept();
        } else {
            changed += 1;
            message.reject(Rejection::new(
                Rejection::UNSPECIFIED,
                "not what this message should hold",
            ));
        }
    }
    json!({
        "messages": account.messages,
        "bytes": account.bytes,
        "lengths": account.lengths,
        "changed": changed,
        "misplaced": misplaced,
    })
}

fn say(value: &serde_json::Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    // An error means that whoever started this has gone.
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|_| Failure::silent(Code::Local))
}
