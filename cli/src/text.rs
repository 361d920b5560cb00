//! Bytes of others as text on one line, and what is said on stderr.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

/// Says something to a person, on one line of stderr. Control characters, which
/// may come from a peer, do not get to the terminal.
pub(crate) fn note(message: fmt::Arguments<'_>) {
    let mut line = String::new();
    for character in message.to_string().chars() {
        if must_be_escaped(character) {
            push_escaped(&mut line, character);
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    // Nobody is left to be told that stderr is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Writes `bytes` without anything that would end the line or steer a terminal,
/// in a way that can be undone (`sealpipe listen --help` says how).
pub(crate) fn escape_into(line: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || must_be_escaped(character) {
                push_escaped(line, character);
            } else {
                line.push(character);
            }
        }
        push_hex(line, chunk.invalid());
    }
}

fn must_be_escaped(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn push_escaped(line: &mut String, character: char) {
    match character {
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        other => push_hex(line, other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn push_hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(line, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape(bytes: &[u8]) -> String {
        let mut line = String::new();
        escape_into(&mut line, bytes);
        line
    }

    fn unescape(line: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = line.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            if *first != b'\\' {
                bytes.push(*first);
                continue;
            }
            let (byte, used) = match rest[0] {
                b'\\' => (b'\\', 1),
                b'n' => (b'\n', 1),
                b'r' => (b'\r', 1),
                b't' => (b'\t', 1),
                b'x' => (u8::from_str_radix(&line_part(&rest[1..3]), 16).unwrap(), 3),
                other => panic!("unknown escape {other}"),
            };
            bytes.push(byte);
            rest = &rest[used..];
        }
        bytes
    }

    fn line_part(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn text_stays_and_the_rest_is_escaped() {
        assert_eq!(escape("grüße 🐚".as_bytes()), "grüße 🐚");
        assert_eq!(escape(b"a\nb\r\tc\\n"), r"a\nb\r\tc\\n");
        assert_eq!(escape(b"\x1b[31m\x00\x7f"), r"\x1b[31m\x00\x7f");
        assert_eq!(escape(b"ok\xff\xc3(\xe2\x82"), r"ok\xff\xc3(\xe2\x82");
        assert_eq!(escape("\u{85}\u{2028}".as_bytes()), r"\xc2\x85\xe2\x80\xa8");
    }

    #[test]
    fn every_pair_of_bytes_can_be_had_back() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let bytes = [first, second, b'x', b'n', b'\\'];
                let line = escape(&bytes);
                assert!(!line.chars().any(must_be_escaped));
                assert_eq!(unescape(&line), bytes);
            }
        }
    }
}
