//! Other systems' wires: how bytes part into messages, without a connection.

use proptest::prelude::*;
use sealpipe_core::{
    Violation, Wire,
    wire::foreign::{SEAL, Span, base64},
};

const MAX: usize = 300;
const PREFIXED: [Wire; 3] = [Wire::Le32, Wire::Be32, Wire::LegacySealed];

fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    text
}

#[test]
fn base64_has_the_examples_of_rfc_4648() {
    let examples = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];
    for (plain, text) in examples {
        assert_eq!(encoded(plain.as_bytes()), text.as_bytes());
        assert_eq!(base64::encoded_len(plain.len()), text.len());
        let mut room = Vec::from(text);
        let n = base64::decode(&mut room);
        assert_eq!(n.map(|n| &room[..n]), Some(plain.as_bytes()), "{text}");
    }
}

#[test]
fn base64_is_taken_in_one_form_only() {
    for text in [
        "Zg",
        "Zg=",
        "Zg===",
        "Zh==",
        "Zm9=",
        "=",
        "====",
        "Z===",
        "Zg==Zg==",
        "Zm9v\r",
        " Zm9",
        "Zm-v",
        "Zm_v",
        "Zm9\u{e9}",
    ] {
        assert_eq!(base64::decode(&mut Vec::from(text)), None, "{text}");
    }
}

#[test]
fn a_length_is_refused_as_soon_as_it_is_there() {
    for wire in PREFIXED {
        let extra = if wire == Wire::LegacySealed { SEAL } else { 0 };
        let most = u32::try_from(MAX + extra).unwrap();
        assert_eq!(wire.find(&wire.prefix(most), 0, MAX), Ok(None));
        assert_eq!(
            wire.find(&wire.prefix(most + 1), 0, MAX),
            Err(Violation::LengthPrefix {
                length: most + 1,
                max: MAX + extra
            })
        );
        assert!(wire.find(&wire.prefix(u32::MAX), 0, MAX).is_err());
    }
    assert_eq!(
        Wire::LegacySealed.find(&27u32.to_le_bytes(), 0, MAX),
        Err(Violation::SealedTooShort { length: 27 })
    );
}

#[test]
fn a_line_is_refused_as_soon_as_it_is_too_long() {
    let most = base64::encoded_len(MAX);
    let mut line = vec![b'A'; most];
    assert_eq!(Wire::Base64Lines.find(&line, 0, MAX), Ok(None));
    line.push(b'\n');
    let span = Wire::Base64Lines.find(&line, 0, MAX).unwrap();
    assert_eq!(
        span.map(|span| (span.len, span.end)),
        Some((most, most + 1))
    );
    line[most] = b'A';
    assert_eq!(
        Wire::Base64Lines.find(&line, most, MAX),
        Err(Violation::LineTooLong { max: most })
    );
}

/// Every message of `input`, which comes in pieces of the given sizes.
fn parted(wire: Wire, input: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, Violation> {
    let (mut found, mut there, mut searched) = (Vec::new(), Vec::new(), 0);
    let mut rest = input;
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let n = cuts.next().unwrap_or(1).clamp(1, rest.len());
        there.extend_from_slice(&rest[..n]);
        rest = &rest[n..];
        while let Some(Span { start, len, end }) = wire.find(&there, searched, MAX)? {
            found.push(there[start..start + len].to_vec());
            there.drain(..end);
            searched = 0;
        }
        searched = there.len();
    }
    Ok(found)
}

fn any_wire() -> impl Strategy<Value = Wire> {
    prop::sample::select(vec![
        Wire::Le32,
        Wire::Be32,
        Wire::LegacySealed,
        Wire::Base64Lines,
    ])
}

proptest! {
    #[test]
    fn base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut text = encoded(&bytes);
        prop_assert_eq!(text.len(), base64::encoded_len(bytes.len()));
        let n = base64::decode(&mut text);
        prop_assert_eq!(n.map(|n| &text[..n]), Some(&bytes[..]));
    }

    #[test]
    fn what_decodes_encodes_to_the_same(text in "[A-D9+/=\n]{0,16}") {
        let mut room = text.clone().into_bytes();
        if let Some(n) = base64::decode(&mut room) {
            prop_assert_eq!(encoded(&room[..n]), text.into_bytes());
        }
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut(
        wire in any_wire(),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), SEAL..MAX), 0..8),
        cuts in prop::collection::vec(1usize..400, 1..6),
    ) {
        let mut input = Vec::new();
        for message in &messages {
            match wire {
                Wire::Base64Lines => {
                    base64::encode(message, &mut input);
                    input.push(b'\n');
                }
                _ => {
                    input.extend(wire.prefix(u32::try_from(message.len()).unwrap()));
                    input.extend(message);
                }
            }
        }
        let mut found = parted(wire, &input, &cuts).unwrap();
        if wire == Wire::Base64Lines {
            for line in &mut found {
                let n = base64::decode(line).unwrap();
                line.truncate(n);
            }
        }
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        wire in any_wire(),
        input in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'\n'), any::<u8>()], 0..600),
        cuts in prop::collection::vec(1usize..400, 1..6),
    ) {
        prop_assert_eq!(parted(wire, &input, &cuts), parted(wire, &input, &[input.len()]));
    }
}
