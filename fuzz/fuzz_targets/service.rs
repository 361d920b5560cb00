//! Patterns, topics and error replies, all of which the peer writes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::service::{Pattern, RemoteError, Topics, check_topic};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (pattern, topic, payload) = (next(), next(), next());

    let payload = Bytes::copy_from_slice(payload);
    let error = RemoteError::decode(&payload);
    assert_ne!(error.code, 0);
    assert!(error.message.len() <= RemoteError::MAX_MESSAGE);
    assert_eq!(RemoteError::decode(&error.encode()), error);

    let (Ok(pattern), Ok(topic)) = (str::from_utf8(pattern), str::from_utf8(topic)) else {
        return;
    };
    let Ok(pattern) = Pattern::new(pattern) else {
        return;
    };
    let matches = pattern.matches(topic);
    assert!(!matches || check_topic(topic).is_ok());
    let mut topics = Topics::new();
    assert!(topics.insert(&pattern, ()) && !topics.insert(&pattern, ()));
    let mut found = 0;
    topics.matching(topic, |()| found += 1);
    assert_eq!(found, u32::from(matches));
    assert!(topics.remove(&pattern, &()) && topics.is_empty());
});
