//! Two processes, and every adapter as server against every adapter as client:
//! what one says, each other understands.

use sealpipe_driver::vocabulary::{AckLevel, Config, ConnectionError, Endpoint, Message, Outcome};
use sealpipe_tests::{
    ADAPTERS, Adapter, Helper,
    api::{Connection, Listener},
    mode, modes, on_adapter, place, role, say, within,
};

/// Of the messages: none, small, more than a record, more than a window's half.
const SIZES: [usize; 5] = [0, 1, 1_000, 70_000, 1_000_000];

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let [endpoint, mode_name, adapter] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let config = mode(mode_name).build().unwrap();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(within(async {
            match role.as_str() {
                "server" => on_adapter!(adapter.as_str(), server(&endpoint, config)),
                "client" => on_adapter!(adapter.as_str(), client(&endpoint, config)),
                other => panic!("{other}"),
            }
        }));
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// Sends back what it gets, then accepts it.
async fn server<R: Adapter>(endpoint: &Endpoint, config: Config) {
    let mut listener = R::bind(endpoint, config).unwrap();
    say("listening");
    let connection = listener.accept().await.unwrap();
    let mut count = 0;
    while let Some(message) = connection.recv().await.unwrap() {
        connection.send(message.payload.clone()).await.unwrap();
        message.accept();
        count += 1;
    }
    connection.finish().await.unwrap();
    assert_eq!(connection.end(), Some(ConnectionError::Finished));
    say(&format!("echoed {count}"));
}

async fn client<R: Adapter>(endpoint: &Endpoint, config: Config) {
    let connection = R::connect(endpoint, config).await.unwrap();
    for size in SIZES {
        let message = Message::new(payload(size)).with_ack(AckLevel::Processed);
        let (sent, echo) = tokio::join!(connection.send(message), connection.recv());
        assert_eq!(sent.unwrap(), Outcome::Processed);
        assert!(echo.unwrap().unwrap().payload == payload(size));
    }
    connection.finish().await.unwrap();
    assert_eq!(connection.end(), Some(ConnectionError::Finished));
    say("finished");
}

#[test]
fn every_adapter_speaks_with_every_other() {
    for server in ADAPTERS {
        for client in ADAPTERS {
            for (mode, _) in modes() {
                println!("{server} serves {client}, {mode}");
                let place = place();
                let mut serving = Helper::at(&place.endpoint, "server", &[mode, server]);
                assert_eq!(serving.line(), "listening");
                let mut asking = Helper::at(&place.endpoint, "client", &[mode, client]);
                assert_eq!(asking.line(), "finished");
                assert_eq!(serving.line(), format!("echoed {}", SIZES.len()));
                asking.end();
                serving.end();
            }
        }
    }
}
