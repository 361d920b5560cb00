//! Where an endpoint is, by its text and two variables of the environment.

use super::ConnectError;
use sealpipe_endpoint::Endpoint;
use std::{env, ffi::OsString, fmt};

/// Where the other program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// On this machine.
    Local,
    /// Behind a WebSocket.
    Remote,
}

/// What the other program runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// Any Unix.
    Linux,
    /// Windows.
    Windows,
}

impl Os {
    const HERE: Os = if cfg!(windows) {
        Os::Windows
    } else {
        Os::Linux
    };
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Local => "local",
            Target::Remote => "remote",
        })
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Os::Linux => "linux",
            Os::Windows => "windows",
        })
    }
}

/// The variables of the environment that have a say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `target`.
    pub target: Option<OsString>,
    /// `os`.
    pub os: Option<OsString>,
}

impl Variables {
    /// Those of this process.
    pub fn current() -> Variables {
        Variables {
            target: env::var_os("target"),
            os: env::var_os("os"),
        }
    }

    fn target(&self) -> Result<Option<Target>, ConnectError> {
        choose(
            "target",
            &self.target,
            "`local` or `remote`",
            |value| match value {
                "local" => Some(Target::Local),
                "remote" => Some(Target::Remote),
                _ => None,
            },
        )
    }

    fn os(&self) -> Result<Option<Os>, ConnectError> {
        choose(
            "os",
            &self.os,
            "`linux` or `windows`",
            |value| match value {
                "linux" => Some(Os::Linux),
                "windows" | "windows_nt" => Some(Os::Windows),
                _ => None,
            },
        )
    }

    /// The endpoint that a text means. A URL means the same whatever they say.
    ///
    /// # Errors
    /// [`ConnectError::Variable`] and [`ConnectError::Unsupported`];
    /// [`ConnectError::Endpoint`] if the text can be no endpoint.
    pub fn resolve(&self, endpoint: &str) -> Result<Endpoint, ConnectError> {
        resolve(endpoint, self)
    }
}

fn choose<T>(
    name: &'static str,
    value: &Option<OsString>,
    allowed: &'static str,
    known: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConnectError> {
    let Some(value) = value else { return Ok(None) };
    let value = value.to_string_lossy();
    match known(&value.trim().to_ascii_lowercase()) {
        Some(value) => Ok(Some(value)),
        None => Err(ConnectError::Variable {
            name,
            value: value.into_owned(),
            allowed,
        }),
    }
}

pub(super) fn resolve(text: &str, variables: &Variables) -> Result<Endpoint, ConnectError> {
    if let Some((scheme, _)) = text.split_once("://")
        && ["ws", "wss"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Ok(Endpoint::url(text)?);
    }
    let target = variables.target()?.unwrap_or(Target::Local);
    let os = variables.os()?.unwrap_or(Os::HERE);
    let hint = match (target, os) {
        (Target::Local, os) if os == Os::HERE => return local(text),
        (Target::Local, Os::Windows) => "there are named pipes on Windows only; unset `os` here",
        (Target::Local, Os::Linux) => "there are no Unix sockets on this system; unset `os` here",
        (Target::Remote, _) => {
            "a remote endpoint begins with ws:// or wss://; give one, or unset `target`"
        }
    };
    Err(ConnectError::Unsupported {
        target,
        os,
        endpoint: text.to_owned(),
        hint,
    })
}

#[cfg(unix)]
fn local(text: &str) -> Result<Endpoint, ConnectError> {
    Ok(Endpoint::path(text))
}

#[cfg(windows)]
fn local(text: &str) -> Result<Endpoint, ConnectError> {
    const PREFIX: &str = r"\\.\pipe\";
    let is_whole = |prefix: &str| prefix.eq_ignore_ascii_case(PREFIX);
    if text.get(..PREFIX.len()).is_some_and(is_whole) {
        Ok(Endpoint::pipe(text)?)
    } else {
        Ok(Endpoint::pipe(&format!("{PREFIX}{text}"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(target: Option<&str>, os: Option<&str>) -> Variables {
        Variables {
            target: target.map(OsString::from),
            os: os.map(OsString::from),
        }
    }

    const OWN: &str = if cfg!(windows) { "Windows" } else { " linux " };
    const OTHER: &str = if cfg!(windows) { "linux" } else { "windows" };

    #[test]
    fn what_is_not_set_is_found_out() {
        for (target, os) in [
            (None, None),
            (Some("local"), None),
            (None, Some(OWN)),
            (Some("LOCAL"), Some(OWN)),
        ] {
            let found = resolve("app", &variables(target, os)).unwrap();
            let expected = if cfg!(windows) {
                r"\\.\pipe\app"
            } else {
                "app"
            };
            assert_eq!(found.to_string(), expected);
        }
        #[cfg(windows)]
        for (text, os) in [(r"\\.\pipe\app", None), ("app", Some("Windows_NT"))] {
            let found = resolve(text, &variables(None, os)).unwrap();
            assert_eq!(found.to_string(), r"\\.\pipe\app");
        }
    }

    #[test]
    fn a_url_is_remote_whatever_the_environment_says() {
        for text in ["ws://localhost/", "WSS://localhost"] {
            let found = resolve(text, &variables(Some("nowhere"), Some("plan9"))).unwrap();
            assert!(found.as_url().is_some());
        }
        resolve("ws://", &variables(None, None)).unwrap_err();
    }

    #[test]
    fn a_value_that_means_nothing_is_named_with_what_it_may_be() {
        for (found, words) in [
            (
                variables(Some("moon"), None),
                ["`target`", "\"moon\"", "`local` or `remote`"],
            ),
            (
                variables(None, Some("plan9")),
                ["`os`", "\"plan9\"", "`linux` or `windows`"],
            ),
        ] {
            let error = resolve("app", &found).unwrap_err();
            assert!(matches!(error, ConnectError::Variable { .. }));
            let said = error.to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_this_system_cannot_do_is_an_error_of_its_own() {
        for (target, os, expected) in [
            (None, Some(OTHER), Target::Local),
            (Some("remote"), None, Target::Remote),
        ] {
            let error = resolve("app", &variables(target, os)).unwrap_err();
            assert!(
                matches!(error, ConnectError::Unsupported { target, .. } if target == expected),
                "{error}"
            );
        }
    }
}
