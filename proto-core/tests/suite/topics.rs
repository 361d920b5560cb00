//! Patterns and subscriptions, against models that are too simple to be wrong.
// It is const; on Windows clippy does not see it through the macro.
#![cfg_attr(windows, allow(clippy::missing_const_for_thread_local))]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sealpipe_core::service::{Pattern, PatternError, Topics, check_topic};
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeSet;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

fn found(topics: &Topics<u8>, topic: &str) -> Vec<u8> {
    let mut keys = Vec::new();
    topics.matching(topic, |key| keys.push(*key));
    keys
}

/// The rule as PROTOCOL.md puts it, tried in every way.
fn model(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=topic.len()).any(|n| model(rest, &topic[n..])),
        ([first, rest @ ..], [segment, others @ ..]) => {
            (*first == "*" || first == segment) && model(rest, others)
        }
        _ => false,
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// Few names, so that they meet.
fn a_topic() -> impl Strategy<Value = String> {
    vec(select(&["a", "b", "ab"][..]), 1..7).prop_map(|segments| segments.join("/"))
}

fn a_pattern() -> impl Strategy<Value = String> {
    vec(select(&["a", "b", "ab", "*", "**"][..]), 1..6).prop_map(|segments| segments.join("/"))
}

#[test]
fn the_rule_by_example() {
    for (wanted, yes, no) in [
        ("a/b", &["a/b"][..], &["a", "a/b/c", "b/a", "ab"][..]),
        ("*", &["a", "ä"], &["a/b"]),
        ("a/*", &["a/b"], &["a", "a/b/c", "b/b"]),
        ("*/b", &["a/b"], &["b", "a/a/b"]),
        ("**", &["a", "a/b", "a/b/c"], &[]),
        ("a/**", &["a", "a/b", "a/b/c"], &["b", "b/a"]),
        ("**/c", &["c", "a/c", "a/b/c", "c/c"], &["c/a", "cc"]),
        (
            "a/**/c",
            &["a/c", "a/b/c", "a/b/b/c", "a/c/c"],
            &["a", "c", "a/c/b"],
        ),
        (
            "**/a/**/b/**",
            &["a/b", "x/a/b", "a/x/b/x"],
            &["b/a", "a", "b"],
        ),
        ("**/**", &["a", "a/b"], &[]),
        ("**/*", &["a", "a/b"], &[]),
        ("*/**/*", &["a/b", "a/b/c"], &["a"]),
    ] {
        let wanted = pattern(wanted);
        for topic in yes {
            assert!(wanted.matches(topic), "{wanted} and {topic}");
        }
        for topic in no {
            assert!(!wanted.matches(topic), "{wanted} and {topic}");
        }
    }
}

#[test]
fn what_is_no_pattern_and_no_topic() {
    let long = "a".repeat(256);
    for (text, error) in [
        ("", PatternError::Length { len: 0 }),
        (long.as_str(), PatternError::Length { len: 256 }),
        ("/a", PatternError::EmptySegment { index: 0 }),
        ("a//b", PatternError::EmptySegment { index: 1 }),
        ("a/b/", PatternError::EmptySegment { index: 2 }),
        ("/", PatternError::EmptySegment { index: 0 }),
    ] {
        assert_eq!(check_topic(text), Err(error.clone()), "{text}");
        assert_eq!(Pattern::new(text), Err(error), "{text}");
    }
    for text in ["a/b*", "a/*b", "a/***", "a/*b*"] {
        let error = PatternError::PartialWildcard { index: 1 };
        assert_eq!(Pattern::new(text), Err(error), "{text}");
    }
    assert_eq!(pattern(&["**"; 32].join("/")).as_str().len(), 95);
    assert_eq!(check_topic(&["a"; 32].join("/")), Ok(()));
    let error = PatternError::TooManySegments { found: 33 };
    assert_eq!(Pattern::new(&["**"; 33].join("/")), Err(error.clone()));
    assert_eq!(check_topic(&["a"; 33].join("/")), Err(error));
    for text in ["a/b*", "a/*", "a/**"] {
        let error = PatternError::WildcardInTopic { index: 1 };
        assert_eq!(check_topic(text), Err(error), "{text}");
        assert!(!pattern("**").matches(text), "{text}");
    }
    assert_eq!(check_topic(&long[1..]), Ok(()));
    assert_eq!(pattern(&long[1..]).as_str(), &long[1..]);
}

/// Trying in every way would take longer than anybody lives.
#[test]
fn a_pattern_of_many_wildcards_is_told_at_once() {
    let hard = pattern(&["**/a/*/a/a/*/a/a"; 4].join("/"));
    let topic = ["a"; 31].join("/") + "/b";
    assert!(!hard.matches(&topic));
    assert!(hard.matches(&["a"; 32].join("/")));

    let mut topics = Topics::new();
    topics.insert(&hard, 1);
    assert!(found(&topics, &topic).is_empty());
    assert_eq!(found(&topics, &["a"; 32].join("/")), [1]);
}

proptest! {
    #[test]
    fn a_pattern_matches_what_the_model_matches(wanted in a_pattern(), topic in a_topic()) {
        let expected = model(&split(&wanted), &split(&topic));
        prop_assert_eq!(pattern(&wanted).matches(&topic), expected);
    }

    #[test]
    fn any_text_is_refused_or_kept(text in "[a*/]{0,9}", topic in "[a*/]{0,9}") {
        if let Ok(pattern) = Pattern::new(&text) {
            prop_assert_eq!(pattern.as_str(), &text);
            prop_assert!(check_topic(&topic).is_ok() || !pattern.matches(&topic));
        }
        // A topic that may be published to is a pattern that matches just itself.
        if check_topic(&text).is_ok() {
            prop_assert!(Pattern::new(&text).is_ok_and(|pattern| pattern.matches(&text)));
        }
    }

    #[test]
    fn subscriptions_are_found_as_in_a_list(
        steps in vec((0..12_u8, a_pattern(), 0..4_u8, any::<Index>()), 0..80),
        asked in vec(a_topic(), 1..8),
    ) {
        let mut topics = Topics::new();
        let mut list: BTreeSet<(String, u8)> = BTreeSet::new();
        for (what, mut text, mut key, which) in steps {
            // Mostly what is there is taken back.
            if (1..5).contains(&what) && !list.is_empty() {
                (text, key) = which.get(&Vec::from_iter(list.clone())).clone();
            }
            let wanted = pattern(&text);
            match what {
                0 => {
                    let before = list.len();
                    list.retain(|(_, other)| *other != key);
                    prop_assert_eq!(topics.remove_all(&key), before - list.len());
                }
                1..6 => {
                    prop_assert_eq!(topics.remove(&wanted, &key), list.remove(&(text, key)));
                }
                _ => prop_assert_eq!(topics.insert(&wanted, key), list.insert((text, key))),
            }
            prop_assert_eq!(topics.len(), list.len());
            prop_assert_eq!(topics.is_empty(), list.is_empty());
            let count = list.iter().filter(|(_, other)| *other == key).count();
            prop_assert_eq!(topics.count(&key), count);
        }
        for topic in asked {
            // Once each and in order, as a set has them.
            let expected: BTreeSet<u8> = list
                .iter()
                .filter(|(text, _)| model(&split(text), &split(&topic)))
                .map(|(_, key)| *key)
                .collect();
            prop_assert_eq!(found(&topics, &topic), Vec::from_iter(expected));
        }
    }
}

#[test]
fn a_topic_with_wildcards_is_nobodys() {
    let mut topics = Topics::new();
    topics.insert(&pattern("a/*"), 1);
    topics.insert(&pattern("**"), 2);
    for topic in ["a/*", "a/**", "**", "", "a//b"] {
        assert!(found(&topics, topic).is_empty(), "{topic}");
    }
}

thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

/// A key that counts how often keys are compared.
#[derive(Debug, Clone)]
struct Counted(u32);

impl Ord for Counted {
    fn cmp(&self, other: &Counted) -> Ordering {
        COMPARED.set(COMPARED.get() + 1);
        self.0.cmp(&other.0)
    }
}
impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Counted {}

/// Counted rather than timed: the machine may be busy.
#[test]
fn the_work_follows_what_matches_and_not_what_there_is() {
    let mut topics = Topics::new();
    for key in 0..10_000 {
        topics.insert(&pattern(&format!("users/{key}/*")), Counted(key));
        topics.insert(&pattern("news/**"), Counted(key));
        topics.insert(&pattern("*/today"), Counted(key));
    }
    assert_eq!(topics.len(), 30_000);
    let compared = |topic: &str, expected: usize| {
        let mut count = 0;
        COMPARED.set(0);
        topics.matching(topic, |_| count += 1);
        assert_eq!(count, expected, "{topic}");
        COMPARED.get()
    };
    assert_eq!(compared("users/77/name", 1), 0);
    assert_eq!(compared("users/10000/name", 0), 0);
    // Every key twice: a few comparisons each.
    assert!(compared("news/today", 10_000) < 20_000 * 15);
}
