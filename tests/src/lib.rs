//! What the test suites share: places to listen at, raw ends of streams, peers
//! under the test's hand, other processes, random numbers from a seed.

mod adapters;
pub mod api;
mod asynchronous;
mod authority;
mod blocking;
mod hand;
pub mod heap;
mod process;
#[cfg(unix)]
pub mod python;
pub mod raw;
mod seeded;
pub mod server;
pub mod websocket;

pub use adapters::ADAPTERS;
pub use api::Adapter;
pub use asynchronous::{Asynchronous, next_request};
pub use authority::Authority;
pub use blocking::Blocking;
pub use hand::{Hand, data, records};
pub use process::{Helper, role, say};
pub use raw::Raw;
pub use seeded::Random;

use api::{Connection, Listener as _};
use sealpipe_driver::vocabulary::{
    AckLevel, Config, ConfigBuilder, Endpoint, Key, Message, Outcome,
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

/// An endpoint of a test's own, which leaves nothing behind.
#[derive(Debug)]
pub struct Place {
    /// Where to listen and connect.
    pub endpoint: Endpoint,
    #[cfg(unix)]
    directory: tempfile::TempDir,
}

#[cfg(unix)]
impl Place {
    /// The directory that the socket lies in, and nothing else.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

/// A new place.
#[cfg(unix)]
pub fn place() -> Place {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Place {
        endpoint: Endpoint::path(directory.path().join("socket")),
        directory,
    }
}

/// A new place.
#[cfg(windows)]
pub fn place() -> Place {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "sealpipe-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    Place {
        endpoint: Endpoint::name(&name).expect("a valid name"),
    }
}

/// Runs a test with a deadline.
///
/// # Panics
/// After a minute and a half: Wine on a busy machine takes long.
pub async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), test)
        .await
        .expect("the test hangs")
}

/// A key that no other number gives.
pub fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

/// Plain and sealed, by name, for what must hold in both.
pub fn modes() -> [(&'static str, ConfigBuilder); 2] {
    [
        ("plain", Config::plain()),
        ("sealed", Config::sealed(key(7))),
    ]
}

/// The configuration of the mode of that name, for a process that was told the
/// name.
///
/// # Panics
/// If it is no mode.
pub fn mode(name: &str) -> ConfigBuilder {
    modes()
        .into_iter()
        .find(|(mode, _)| *mode == name)
        .map(|(_, builder)| builder)
        .expect("plain or sealed")
}

/// Two ends of a connection over a real socket or pipe: the client, the server.
///
/// # Panics
/// If they do not come together.
pub async fn connected<A: Adapter>(
    client: impl Into<Arc<Config>> + Send,
    server: impl Into<Arc<Config>>,
) -> (A::Connection, A::Connection, Place) {
    let place = place();
    let mut listener = A::bind(&place.endpoint, server).expect("a listener");
    let (client, server) = tokio::join!(A::connect(&place.endpoint, client), listener.accept());
    (
        client.expect("a connection"),
        server.expect("a client"),
        place,
    )
}

/// Both directions, all levels, an orderly end.
///
/// # Panics
/// If anything of it fails.
pub async fn talk<C: Connection>(a: &C, b: &C) {
    for (from, to) in [(a, b), (b, a)] {
        for (level, wanted) in [
            (AckLevel::None, Outcome::Sent),
            (AckLevel::Received, Outcome::Received),
            (AckLevel::Processed, Outcome::Processed),
        ] {
            let message = Message::new(vec![5; 70_000]).with_ack(level);
            let (sent, ()) = tokio::join!(from.send(message), async {
                let message = to.recv().await.unwrap().unwrap();
                assert_eq!(message.payload, vec![5; 70_000]);
                message.accept();
            });
            assert_eq!(sent.unwrap(), wanted);
        }
    }
    let (first, second) = tokio::join!(a.finish(), b.finish());
    first.unwrap();
    second.unwrap();
}

/// Waits until `condition` holds; says how long that took.
///
/// # Panics
/// After `limit`.
pub async fn eventually(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        // Short against every limit that is asked about, and not busy: other
        // tests share the machine.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

/// The quick start of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// How to move over from other systems, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/migrating.md")]
struct Migrating;
