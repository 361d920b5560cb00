//! What several of these tests need.
#![expect(unreachable_pub, reason = "each test is a crate of its own")]

use sealpipe_blocking::Endpoint;

/// An endpoint of a test's own, which leaves nothing behind.
pub struct Place {
    pub endpoint: Endpoint,
    #[cfg(unix)]
    _directory: tempfile::TempDir,
}

#[cfg(unix)]
pub fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    Place {
        endpoint: Endpoint::path(directory.path().join("socket")),
        _directory: directory,
    }
}

#[cfg(windows)]
pub fn place() -> Place {
    Place {
        endpoint: Endpoint::name(&unique()).unwrap(),
    }
}

#[cfg(windows)]
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("sealpipe-blocking-{}-{number}", std::process::id())
}
