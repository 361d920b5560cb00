//! What ipcez signals beside its stream: that a message is ready, and that it was read.

use crate::Error;

#[cfg(target_os = "linux")]
use crate::unix::Semaphore as Signal;
#[cfg(windows)]
use crate::windows::Event as Signal;

/// The two signals of an endpoint of ipcez's: one says that a message is ready to be
/// read, the other that one was. They belong to the endpoint, not to a connection: all
/// that talk there share them.
///
/// On Linux they are POSIX semaphores, on Windows events; no other system has them. Only
/// whoever listens at an endpoint claims them.
#[derive(Debug)]
pub struct IpcezSignals {
    #[cfg(any(target_os = "linux", windows))]
    ready: Signal,
    #[cfg(any(target_os = "linux", windows))]
    acked: Signal,
}

impl IpcezSignals {
    /// Makes those of the endpoint that clients call `endpoint`: on Linux the path just as
    /// they give it, on Windows the name of the pipe, with or without `\\.\pipe\`.
    ///
    /// What a listener before left behind is not taken over: signals that nobody has
    /// waited for would be taken for those of later messages. Their names stay until
    /// [`unlink`](Self::unlink).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the name is none that the system takes, or another user has it.
    #[cfg(any(target_os = "linux", windows))]
    pub fn claim(endpoint: &str) -> Result<IpcezSignals, Error> {
        let signal = |what: &str| {
            let name = name_of(endpoint, what);
            Signal::claim(&name).map_err(|source| Error::io("making a signal", name, source))
        };
        let ready = signal("data_ready")?;
        match signal("data_acked") {
            Ok(acked) => Ok(IpcezSignals { ready, acked }),
            Err(error) => {
                #[cfg(target_os = "linux")]
                ready.unlink();
                Err(error)
            }
        }
    }

    /// There are none on this system.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], always.
    #[cfg(not(any(target_os = "linux", windows)))]
    pub fn claim(_: &str) -> Result<IpcezSignals, Error> {
        Err(Error::Unsupported {
            what: String::from("ipcez's signals"),
            hint: "ipcez itself knows of Linux and Windows only",
        })
    }

    /// Takes the names away, so that nothing is left behind; whoever has found the signals
    /// keeps them. For the listener, while the endpoint is still its own: after that the
    /// names may be those of the next one's. On Windows names go with their last user.
    pub fn unlink(&self) {
        #[cfg(target_os = "linux")]
        {
            self.ready.unlink();
            self.acked.unlink();
        }
    }

    /// Says that a message is there to be read.
    pub fn ready(&self) {
        #[cfg(any(target_os = "linux", windows))]
        self.ready.set();
    }

    /// Says that a message was read.
    pub fn acked(&self) {
        #[cfg(any(target_os = "linux", windows))]
        self.acked.set();
    }
}

/// The name of a semaphore: what is no part of such a name becomes `_`.
#[cfg(target_os = "linux")]
fn name_of(path: &str, what: &str) -> String {
    let part = |character| match character {
        '/' | '\\' | '.' => '_',
        other => other,
    };
    let parts: String = path.chars().map(part).take(231).collect();
    let parts = if parts.is_empty() { "default" } else { &parts };
    format!("/ipcez_{parts}_{what}")
}

/// The name of an event.
#[cfg(windows)]
fn name_of(pipe: &str, what: &str) -> String {
    let name = pipe.strip_prefix(r"\\.\pipe\").unwrap_or(pipe);
    format!(r"Global\{name}.{what}")
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn names_are_those_of_ipcez() {
        use super::name_of;
        assert_eq!(
            name_of("/tmp/a.b\\c.sock", "data_acked"),
            "/ipcez__tmp_a_b_c_sock_data_acked"
        );
        assert_eq!(name_of("", "data_ready"), "/ipcez_default_data_ready");
        let long = name_of(&"x".repeat(500), "data_ready");
        assert_eq!(long.len(), 231 + "/ipcez__data_ready".len());
    }

    #[cfg(windows)]
    #[test]
    fn names_are_those_of_ipcez() {
        use super::name_of;
        for pipe in ["app", r"\\.\pipe\app"] {
            assert_eq!(name_of(pipe, "data_acked"), r"Global\app.data_acked");
        }
    }
}
