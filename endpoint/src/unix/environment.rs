//! The directories that decide where a name lies.

use std::path::{Path, PathBuf};

/// The directories in which the socket of a name is looked for.
///
/// [`Endpoint::addresses`](crate::Endpoint::addresses) uses
/// [`Environment::current`] unless the endpoint was given another by
/// [`Endpoint::within`](crate::Endpoint::within).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Environment {
    runtime: Vec<PathBuf>,
    temporary: PathBuf,
}

impl Environment {
    /// These directories: the user's own ones, the preferred first, and the
    /// one for everybody. Those of a user that are relative, missing or open
    /// to others are passed over when addresses are made.
    pub fn new(
        runtime: impl IntoIterator<Item = PathBuf>,
        temporary: impl Into<PathBuf>,
    ) -> Environment {
        let mut own: Vec<PathBuf> = Vec::new();
        for directory in runtime {
            if !directory.is_absolute() {
                continue;
            }
            // Without the trailing slash, which would follow a link.
            let directory: PathBuf = directory.components().collect();
            if !own.contains(&directory) {
                own.push(directory);
            }
        }
        Environment {
            runtime: own,
            temporary: temporary.into().components().collect(),
        }
    }

    /// Those of this process. `TMPDIR` has no say, for two programs that are
    /// to meet may have different ones.
    #[must_use]
    pub fn current() -> Environment {
        Environment::new(user_directories(), "/tmp")
    }

    pub(crate) fn runtime(&self) -> &[PathBuf] {
        &self.runtime
    }

    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }
}

#[cfg(not(target_vendor = "apple"))]
fn user_directories() -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // Where systemd and elogind put it: a job without the variable (from cron,
    // or after su) and a program with it still meet.
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    named.into_iter().chain([usual]).collect()
}

#[cfg(target_vendor = "apple")]
fn user_directories() -> Vec<PathBuf> {
    super::darwin::user_temporary_directory()
        .into_iter()
        .collect()
}
