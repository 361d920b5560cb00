//! A message as PipeCom writes it: base64 of UTF-8 text. The line feed behind it
//! belongs to FIFOs alone.

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// Why bytes that were received are no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not base64 ({0})")]
    Base64(base64::DecodeError),
    #[error("it is not UTF-8 text ({0})")]
    Text(#[from] std::str::Utf8Error),
    #[error("it is above the limit of {max} bytes")]
    TooLarge { max: usize },
}

pub(super) fn encode(text: &str) -> Vec<u8> {
    BASE64_STANDARD.encode(text).into_bytes()
}

pub(super) fn decode(bytes: &[u8], max: usize) -> Result<String, Unreadable> {
    if bytes.len() > encoded_max(max) {
        return Err(Unreadable::TooLarge { max });
    }
    let text = BASE64_STANDARD.decode(bytes).map_err(Unreadable::Base64)?;
    if text.len() > max {
        return Err(Unreadable::TooLarge { max });
    }
    String::from_utf8(text).map_err(|error| error.utf8_error().into())
}

/// How long a message of at most `max` bytes is at most.
pub(super) fn encoded_max(max: usize) -> usize {
    base64::encoded_len(max, true).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "a", "ACK", "grüße 🐚", &"x".repeat(10_000)] {
            assert_eq!(decode(&encode(text), 10_000).unwrap(), text);
        }
        assert_eq!(encode("ACK"), b"QUNL");
    }

    #[test]
    fn what_is_no_message_is_told() {
        let why = |bytes: &[u8], max| decode(bytes, max).unwrap_err();
        assert!(matches!(why(b"QUN", 100), Unreadable::Base64(_)));
        assert!(matches!(why(b"QU\x00L", 100), Unreadable::Base64(_)));
        assert!(matches!(why(b"/w==", 100), Unreadable::Text(_)));
        assert_eq!(why(&encode("four"), 3), Unreadable::TooLarge { max: 3 });
        assert_eq!(why(&encode("eleven"), 3), Unreadable::TooLarge { max: 3 });
    }
}
