//! Finding subscribers.

use sealpipe_core::service::{Pattern, Topics};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const SUBSCRIPTIONS: usize = 10_000;

/// The mean time to find who wants a topic: of plain patterns, of those with `*`, and
/// of those with `**`; and how many match.
pub(crate) fn rows() -> Vec<(&'static str, Duration, usize)> {
    [
        ("job/7777/done among job/N/done", "job/{}/done", "job/7777/done"),
        ("job/7777/done among job/N/*", "job/{}/*", "job/7777/done"),
        ("a/7777/b/done among **/N/**", "**/{}/**", "a/7777/b/done"),
    ]
    .map(|(name, pattern, topic)| {
        let mut topics = Topics::default();
        for number in 0..SUBSCRIPTIONS {
            let pattern = pattern.replace("{}", &number.to_string());
            topics.insert(&Pattern::new(&pattern).expect("a pattern"), number);
        }
        let mut found = 0;
        topics.matching(topic, |_| found += 1);
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(200) {
            for _ in 0..100 {
                topics.matching(black_box(topic), |key| {
                    black_box(key);
                });
            }
            rounds += 100;
        }
        (name, start.elapsed() / rounds, found)
    })
    .into()
}
