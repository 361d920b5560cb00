//! The first 16 bytes: decoding never panics, and what decodes is written back
//! as it came, save for what a later version may use.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_core::wire::{Preface, Status};

fuzz_target!(|data: &[u8]| {
    let whole = match Preface::decode(data) {
        Err(found) => {
            // Told at the first byte that differs, with the bytes that came.
            let n = data.len().min(8);
            assert_eq!(found[..n], data[..n]);
            assert!(found[n..].iter().all(|byte| *byte == 0));
            let magic = data.iter().zip(Preface::MAGIC);
            assert!(magic.clone().any(|(found, wanted)| *found != wanted));
            return;
        }
        Ok(None) => {
            assert!(data.len() < Preface::LEN);
            return;
        }
        Ok(Some(preface)) => preface,
    };
    let encoded = whole.encode();
    // A status that is not known means refused, and is kept as that.
    assert!(encoded[6] == data[6] || whole.status == Status::Refused);
    assert_eq!((&encoded[..6], &encoded[8..]), (&data[..6], &data[8..16]));
    assert_eq!(encoded[7], 0);
    assert_eq!(Preface::decode(&encoded), Ok(Some(whole)));

    // Every part of it is wanted more of, never wrong.
    for n in 0..Preface::LEN {
        assert_eq!(Preface::decode(&data[..n]), Ok(None));
    }
});
