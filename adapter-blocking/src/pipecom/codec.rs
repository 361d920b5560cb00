//! A message as PipeCom writes it: base64 of UTF-8 text. The line feed behind it
//! belongs to FIFOs alone.

use sealpipe_core::wire::foreign::base64;

/// Why bytes that were received are no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not base64")]
    Base64,
    #[error("it is not UTF-8 text ({0})")]
    Text(#[from] std::str::Utf8Error),
    #[error("it is above the limit of {max} bytes")]
    TooLarge { max: usize },
}

pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(base64::encoded_len(text.len()));
    base64::encode(text.as_bytes(), &mut bytes);
    bytes
}

pub(super) fn decode(mut bytes: Vec<u8>, max: usize) -> Result<String, Unreadable> {
    let length = base64::decode(&mut bytes).ok_or(Unreadable::Base64)?;
    if length > max {
        return Err(Unreadable::TooLarge { max });
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|error| error.utf8_error().into())
}

/// How long a message of at most `max` bytes is at most.
pub(super) fn encoded_max(max: usize) -> usize {
    base64::encoded_len(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "a", "ACK", "grüße 🐚", &"x".repeat(10_000)] {
            assert_eq!(decode(encode(text), 10_000).unwrap(), text);
        }
        assert_eq!(encode("ACK"), b"QUNL");
    }

    #[test]
    fn what_is_no_message_is_told() {
        let why = |bytes: &[u8], max| decode(bytes.to_vec(), max).unwrap_err();
        assert!(matches!(why(b"QUN", 100), Unreadable::Base64));
        assert!(matches!(why(b"QU\x00L", 100), Unreadable::Base64));
        assert!(matches!(why(b"/w==", 100), Unreadable::Text(_)));
        assert_eq!(why(&encode("four"), 3), Unreadable::TooLarge { max: 3 });
        assert_eq!(why(&encode("eleven"), 3), Unreadable::TooLarge { max: 3 });
    }
}
