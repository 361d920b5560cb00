//! Where the programs of older systems meet, whose wires sealpipe speaks too.

use crate::{Endpoint, Error, endpoint::PIPE_PREFIX};
use std::path::Path;

impl Endpoint {
    /// Where named_pipe_ipc's programs meet that say `name`: on Windows the pipe of that
    /// name, before which `\\.\pipe\` is put unless it is there. The original knows no
    /// other system; on Unix it is [`Endpoint::name`], without the prefix.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::pipe`] on Windows, and [`Endpoint::name`] on Unix.
    pub fn named_pipe_ipc(name: &str) -> Result<Endpoint, Error> {
        let prefixed = name
            .get(..PIPE_PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PIPE_PREFIX));
        let rest = match prefixed {
            true => name.get(PIPE_PREFIX.len()..).unwrap_or_default(),
            false => name,
        };
        if cfg!(windows) {
            Endpoint::pipe(&format!("{PIPE_PREFIX}{rest}"))
        } else {
            Endpoint::name(rest)
        }
    }

    /// Where bunctl-ipc's programs meet that say `path`: on Unix the socket at that
    /// path, such as `$XDG_RUNTIME_DIR/bunctl.sock`; on Windows the pipe
    /// `\\.\pipe\bunctl_` with the file name of the path behind it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] on Windows if the path has no file name, or one that no
    /// pipe can have.
    pub fn bunctl(path: impl AsRef<Path>) -> Result<Endpoint, Error> {
        let path = path.as_ref();
        if cfg!(unix) {
            return Ok(Endpoint::path(path));
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => Endpoint::pipe(&format!("{PIPE_PREFIX}bunctl_{name}")),
            None => Err(Error::InvalidAddress {
                name: path.display().to_string(),
                what: "path for bunctl-ipc",
                reason: "it has no file name, or one that is not Unicode",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_put_before_a_pipe_once() {
        let plain = Endpoint::named_pipe_ipc("my_pipe").unwrap();
        for same in [r"\\.\pipe\my_pipe", r"\\.\PIPE\my_pipe"] {
            assert_eq!(Endpoint::named_pipe_ipc(same).unwrap(), plain);
        }
        let place = if cfg!(windows) {
            Endpoint::pipe(r"\\.\pipe\my_pipe")
        } else {
            Endpoint::name("my_pipe")
        };
        assert_eq!(plain, place.unwrap());
        Endpoint::named_pipe_ipc("").unwrap_err();
        Endpoint::named_pipe_ipc(r"\\.\pipe\").unwrap_err();
    }

    #[test]
    fn bunctl_has_a_path_or_a_pipe() {
        let endpoint = Endpoint::bunctl("/tmp/bunctl.sock").unwrap();
        let place = if cfg!(windows) {
            Endpoint::pipe(r"\\.\pipe\bunctl_bunctl.sock").unwrap()
        } else {
            Endpoint::path("/tmp/bunctl.sock")
        };
        assert_eq!(endpoint, place);
        assert_eq!(Endpoint::bunctl("/tmp/..").is_err(), cfg!(windows));
    }
}
