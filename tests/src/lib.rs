//! What the test suites share.

use sealpipe_endpoint::Endpoint;
use std::{future::Future, time::Duration};

/// An endpoint of a test's own, which leaves nothing behind.
#[derive(Debug)]
pub struct Place {
    /// Where to listen and connect.
    pub endpoint: Endpoint,
    #[cfg(unix)]
    _directory: tempfile::TempDir,
}

/// A new place.
#[cfg(unix)]
pub fn place() -> Place {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Place {
        endpoint: Endpoint::path(directory.path().join("socket")),
        _directory: directory,
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
/// After half a minute.
pub async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test)
        .await
        .expect("the test hangs")
}
