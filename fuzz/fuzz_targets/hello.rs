//! The body of HELLO: decoding never panics, and whatever decodes survives being
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_core::wire::{Hello, MAX_HELLO};

fuzz_target!(|data: &[u8]| {
    let Ok(hello) = Hello::decode(data) else {
        return;
    };
    assert!(data.len() <= MAX_HELLO);
    // What is left of a window may be less than that (PROTOCOL.md, 7.3).
    let window = hello.credit_messages > 0 && hello.credit_bytes >= hello.max_message;
    assert!(window || hello.resume);
    let mut body = Vec::new();
    hello.encode(&mut body);
    assert!(body.len() <= MAX_HELLO);
    assert_eq!(Hello::decode(&body), Ok(hello));
    // All of its items are there, so no part of it passes.
    let without_last = &body[..body.len() - 1];
    assert!(Hello::decode(without_last).is_err());
});
