//! Where the two processes of the demonstration meet: nowhere that anybody else
//! uses, and gone afterwards.

use crate::exit::{Code, Failure};
use sealpipe_driver::vocabulary::Endpoint;
use std::fmt::Write as _;

/// Two endpoints of this run alone.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) plain: Endpoint,
    pub(super) sealed: Endpoint,
    #[cfg(unix)]
    directory: std::path::PathBuf,
}

/// This process, and some randomness for who guesses that.
fn unique_name() -> Result<String, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::new(
            Code::Local,
            format!("the system has no random bytes for a name: {error}; try again"),
        )
    })?;
    let mut name = format!("sealpipe-demo-{}-", std::process::id());
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}

#[cfg(unix)]
impl Place {
    pub(super) fn new() -> Result<Place, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let directory = std::env::temp_dir().join(unique_name()?);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| {
                Failure::new(
                    Code::Local,
                    format!(
                        "cannot make the directory {}: {error}; set TMPDIR to one that can be \
                         written to",
                        directory.display()
                    ),
                )
            })?;
        Ok(Place {
            plain: Endpoint::path(directory.join("plain.sock")),
            sealed: Endpoint::path(directory.join("sealed.sock")),
            directory,
        })
    }
}

#[cfg(unix)]
impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot be removed");
        }
    }
}

#[cfg(windows)]
impl Place {
    pub(super) fn new() -> Result<Place, Failure> {
        let name = unique_name()?;
        let endpoint = |mode: &str| {
            Endpoint::name(&format!("{name}-{mode}")).map_err(|error| {
                Failure::new(Code::Local, format!("no name for the endpoint: {error}"))
            })
        };
        Ok(Place {
            plain: endpoint("plain")?,
            sealed: endpoint("sealed")?,
        })
    }
}
