//! What an error reply carries.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sealpipe_core::{service::RemoteError, wire::varint};

#[test]
fn the_bytes_are_those_of_the_specification() {
    let error = RemoteError::new(RemoteError::BUSY, "später").with_details("\0x");
    let bytes = b"\x05\x07sp\xc3\xa4ter\0x";
    assert_eq!(error.encode(), bytes[..]);
    assert_eq!(RemoteError::decode(&error.encode()), error);

    let own = RemoteError::new(256, "");
    assert_eq!(own.encode(), b"\x41\x00\x00"[..]);
    assert_eq!(RemoteError::decode(&own.encode()), own);
}

#[test]
fn an_error_says_its_code_and_what_it_means() {
    let said = RemoteError::new(300, "no such job");
    assert_eq!(
        said.to_string(),
        "the other side answered: no such job (code 300)"
    );
    let silent = RemoteError::new(RemoteError::NO_HANDLER, "");
    assert_eq!(
        silent.to_string(),
        "the other side answered: nobody answers requests there (code 2)"
    );
}

#[test]
fn a_debug_print_keeps_the_details_back() {
    let printed = format!("{:?}", RemoteError::new(300, "no").with_details("hunter2"));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("details: 7"), "{printed}");
}

#[test]
fn a_message_is_cut_at_a_character() {
    let text = "ä".repeat(600) + "!";
    let cut = "ä".repeat(512);
    assert_eq!(RemoteError::new(300, text.as_str()).message, cut);
    // An odd limit for characters of two bytes, when the field is set by hand.
    let by_hand = RemoteError {
        message: format!("a{text}"),
        ..RemoteError::new(300, "")
    };
    let read = RemoteError::decode(&by_hand.encode());
    assert_eq!(read.message, format!("a{}", "ä".repeat(511)));
}

#[test]
fn what_is_malformed_is_kept_whole() {
    let mut long = vec![0x41, 0, 0x44, 0x01];
    long.extend([b'a'; 1_025]);
    for payload in [
        &b""[..],
        b"\x05",
        b"\x05\x02a",
        b"\x05\x01\xff",
        b"\x00\x00",
        b"\xff",
        b"\x05\xff\xff\xff\xff\xff\xff\xff\xff",
        &long,
    ] {
        let payload = Bytes::copy_from_slice(payload);
        let error = RemoteError::decode(&payload);
        assert_eq!(error.code, RemoteError::UNSPECIFIED, "{payload:?}");
        assert_eq!(error.message, "");
        assert_eq!(error.details, payload);
    }
}

proptest! {
    #[test]
    fn errors_come_back(
        code in any::<u64>(),
        message in ".{0,40}",
        details in vec(any::<u8>(), 0..40),
    ) {
        let error = RemoteError::new(code, message).with_details(details);
        prop_assert!((1..=varint::MAX).contains(&error.code));
        prop_assert_eq!(RemoteError::decode(&error.encode()), error);
    }

    #[test]
    fn any_payload_is_an_error(payload in vec(any::<u8>(), 0..60)) {
        let payload = Bytes::from(payload);
        let error = RemoteError::decode(&payload);
        prop_assert!(error.code > 0 && error.message.len() <= RemoteError::MAX_MESSAGE);
        prop_assert_eq!(RemoteError::decode(&error.encode()), error);
    }
}
