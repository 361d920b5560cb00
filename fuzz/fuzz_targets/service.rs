//! Patterns, topics and error replies, all of which the peer writes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealpipe_core::service::{Pattern, RemoteError, Topics, check_topic};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (patterns, topic, payload) = (next(), next(), next());

    let payload = Bytes::copy_from_slice(payload);
    let error = RemoteError::decode(&payload);
    assert_ne!(error.code, 0);
    assert!(error.message.len() <= RemoteError::MAX_MESSAGE);
    assert_eq!(RemoteError::decode(&error.encode()), error);

    let (Ok(patterns), Ok(topic)) = (str::from_utf8(patterns), str::from_utf8(topic)) else {
        return;
    };
    let mut patterns: Vec<Pattern> = patterns
        .split('\t')
        .flat_map(Pattern::new)
        .take(20)
        .collect();
    let mut topics = Topics::new();
    for (key, pattern) in patterns.iter().enumerate() {
        assert!(topics.insert(pattern, key) && !topics.insert(pattern, key));
        assert!(!pattern.matches(topic) || check_topic(topic).is_ok());
    }
    // The tree agrees with each alone, also after it has shrunk.
    loop {
        let mut found = Vec::new();
        topics.matching(topic, |key| found.push(*key));
        let alone: Vec<usize> = (0..patterns.len())
            .filter(|key| patterns[*key].matches(topic))
            .collect();
        assert_eq!(found, alone);
        assert_eq!(topics.len(), patterns.len());
        let Some(last) = patterns.pop() else { break };
        assert!(topics.remove(&last, &patterns.len()));
    }
});
