//! The key, and the rest of a connection's configuration.

use crate::{
    args::{Common, Secret},
    exit::{Code, Failure},
};
use sealpipe_driver::vocabulary::{Config, ConfigError, Key};
use std::{fs::File, io::Read, path::Path, time::Duration};
use zeroize::Zeroizing;

/// More than white space around a key could explain.
const LONGEST: u64 = 1024;
const WINDOW: usize = 16 << 20;
const MESSAGES: usize = 16_384;
/// The longest wait for a peer's goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the connection's options say, with this much time for each message.
pub(crate) fn config(common: &Common, timeout: Option<Duration>) -> Result<Config, Failure> {
    let builder = match key(&common.secret)? {
        Some(key) => Config::sealed(key),
        None => Config::plain(),
    };
    let max_message = common.max_message();
    let window = WINDOW.max(max_message);
    let builder = builder
        .wire(common.wire.wire())
        .max_message(max_message)
        .receive_window(window, MESSAGES)
        .send_queue(window, MESSAGES);
    let builder = match timeout {
        Some(timeout) => builder
            .send_timeout(timeout)
            .close_timeout(timeout.min(GOODBYE)),
        None => builder,
    };
    builder.build().map_err(|error| {
        Failure::new(
            Code::Usage,
            match &error {
                ConfigError::Window { .. }
                | ConfigError::TooBig
                | ConfigError::WireTooLarge { .. } => {
                    format!("--max-message {max_message} cannot be used: {error}")
                }
                error => format!("--wire {} cannot be used: {error}", common.wire.wire()),
            },
        )
    })
}

/// The key that the options name.
pub(crate) fn key(secret: &Secret) -> Result<Option<Key>, Failure> {
    match (&secret.key_file, secret.build_key) {
        (Some(path), _) => read(path).map(Some),
        (None, true) => Ok(Some(Key::from_bytes(sealpipe_build_key::build_key()))),
        (None, false) => Ok(None),
    }
}

fn read(path: &Path) -> Result<Key, Failure> {
    let trouble = |what: String| {
        Failure::new(
            Code::Usage,
            format!(
                "the key file {} cannot be used: {what}; it must hold 32 bytes, or 64 hexadecimal \
                 digits as written by: openssl rand -hex 32",
                path.display()
            ),
        )
    };
    let file = File::open(path).map_err(|error| trouble(error.to_string()))?;
    warn_if_open_to_others(&file, path);
    // Large enough at once, so that growing leaves no copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * LONGEST as usize));
    file.take(LONGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| trouble(error.to_string()))?;
    if content.len() as u64 > LONGEST {
        return Err(trouble(format!("it has more than {LONGEST} bytes")));
    }
    parse(&content).map_err(trouble)
}

fn parse(content: &[u8]) -> Result<Key, String> {
    if let Ok(bytes) = <[u8; 32]>::try_from(content) {
        return Ok(Key::from_bytes(*Zeroizing::new(bytes)));
    }
    let text = std::str::from_utf8(content)
        .map_err(|_| format!("it has {} bytes that are not text", content.len()))?;
    Key::from_hex(text).map_err(|error| error.to_string())
}

#[cfg(unix)]
fn warn_if_open_to_others(file: &File, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else {
        return;
    };
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "other users can read or change this key file; take that from them: chmod 600"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &File, _: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_digits_are_the_same_key() {
        let raw = parse(&[0x5a; 32]).unwrap();
        let digits = "5a".repeat(32);
        assert_eq!(raw, parse(digits.as_bytes()).unwrap());
        assert_eq!(raw, parse(format!("\n {digits}\r\n").as_bytes()).unwrap());
        assert_eq!(raw, parse(digits.to_uppercase().as_bytes()).unwrap());
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        let digits = "5a".repeat(31);
        for bad in [&b""[..], &[0xff; 31], &[0xff; 33], digits.as_bytes()] {
            let error = parse(bad).unwrap_err();
            assert!(!error.contains("5a5a"), "{error}");
        }
    }
}
