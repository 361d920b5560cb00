//! Topics, and the patterns that choose among them (PROTOCOL.md, section 6.9).

use crate::wire::MAX_TOPIC;
use alloc::{collections::BTreeMap, sync::Arc};
use core::fmt;

/// Exactly one segment, whatever it is.
const ONE: &str = "*";
/// Any number of segments, also none.
const ANY: &str = "**";

/// So many segments may a topic or a pattern have: its beginnings fit a word of bits,
/// and what one pattern costs a publisher stays small.
const MAX_SEGMENTS: usize = 32;

/// The segments of a topic or a pattern.
fn segments(text: &str) -> core::str::Split<'_, char> {
    text.split('/')
}

/// Beginnings of a topic: bit n stands for its first n segments.
pub(super) type Beginnings = u64;

/// A topic that is to be matched.
pub(super) struct Topic<'a> {
    /// Its segments, and before which of them each stands: bit n if it is the nth,
    /// counted from 0.
    places: BTreeMap<&'a str, Beginnings>,
    /// All its beginnings, the empty one and itself among them.
    all: Beginnings,
    #[cfg(test)]
    pub(super) steps: core::cell::Cell<usize>,
}

impl<'a> Topic<'a> {
    /// What an empty pattern matches.
    pub(super) const NOTHING: Beginnings = 1;

    pub(super) fn new(text: &'a str) -> Result<Topic<'a>, PatternError> {
        check_topic(text)?;
        let mut places = BTreeMap::new();
        let mut end = Topic::NOTHING;
        for segment in segments(text) {
            *places.entry(segment).or_default() |= end;
            end <<= 1;
        }
        Ok(Topic {
            places,
            all: end | end.wrapping_sub(1),
            #[cfg(test)]
            steps: core::cell::Cell::default(),
        })
    }

    /// Which beginnings a pattern matches with the segments `path` more, if it matches
    /// `reached` without.
    pub(super) fn reach(&self, mut reached: Beginnings, path: &str) -> Beginnings {
        for segment in segments(path) {
            #[cfg(test)]
            self.steps.set(self.steps.get().saturating_add(1));
            reached = match segment {
                // From the shortest on.
                ANY => (reached | reached.wrapping_neg()) & self.all,
                ONE => (reached << 1) & self.all,
                _ => (reached & self.places.get(segment).copied().unwrap_or(0)) << 1,
            };
            if reached == 0 {
                break;
            }
        }
        reached
    }

    /// The segments of patterns that may come next; what else does, matches nothing.
    pub(super) fn next(&self, reached: Beginnings) -> impl Iterator<Item = &'a str> {
        let here = self
            .places
            .iter()
            .filter(move |(_, at)| **at & reached != 0);
        here.map(|(segment, _)| *segment).chain([ONE, ANY])
    }

    /// Whether all of it is among `reached`.
    pub(super) fn is_whole(&self, reached: Beginnings) -> bool {
        // The longest is the highest bit.
        reached > self.all >> 1
    }
}

/// Which topics are wanted: segments between slashes, of which `*` stands for
/// exactly one, whatever it is, and `**` for any number, also none.
///
/// ```
/// use sealpipe_core::service::Pattern;
/// let pattern = Pattern::new("jobs/*/**")?;
/// assert!(pattern.matches("jobs/7"));
/// assert!(pattern.matches("jobs/7/log/error"));
/// assert!(!pattern.matches("jobs"));
/// # Ok::<(), sealpipe_core::service::PatternError>(())
/// ```
///
/// Two patterns are equal if they are written alike, whatever they match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// A pattern of 1 to 255 bytes and at most 32 segments.
    ///
    /// # Errors
    /// [`PatternError`] if it is too long, a segment is empty, or a `*` stands beside
    /// other characters in a segment.
    pub fn new(pattern: &str) -> Result<Pattern, PatternError> {
        check(pattern, |index, segment| {
            if segment == ONE || segment == ANY || !segment.contains('*') {
                Ok(())
            } else {
                Err(PatternError::PartialWildcard { index })
            }
        })?;
        Ok(Pattern(pattern.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it chooses `topic`. It chooses nothing that [`check_topic`]
    /// refuses. Each of its segments is looked at once.
    pub fn matches(&self, topic: &str) -> bool {
        Topic::new(topic).is_ok_and(|topic| topic.is_whole(topic.reach(Topic::NOTHING, &self.0)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an event can be published about `topic`.
///
/// # Errors
/// [`PatternError`] if it does not have 1 to 255 bytes and at most 32 segments, a
/// segment is empty, or there is a `*` in it.
pub fn check_topic(topic: &str) -> Result<(), PatternError> {
    check(topic, |index, segment| {
        if segment.contains('*') {
            Err(PatternError::WildcardInTopic { index })
        } else {
            Ok(())
        }
    })
}

fn check(
    text: &str,
    allowed: impl Fn(usize, &str) -> Result<(), PatternError>,
) -> Result<(), PatternError> {
    let len = text.len();
    if len == 0 || len > MAX_TOPIC {
        return Err(PatternError::Length { len });
    }
    for (index, segment) in segments(text).enumerate() {
        if segment.is_empty() {
            return Err(PatternError::EmptySegment { index });
        }
        allowed(index, segment)?;
    }
    let found = segments(text).count();
    if found > MAX_SEGMENTS {
        return Err(PatternError::TooManySegments { found });
    }
    Ok(())
}

/// Text is not a pattern, or not a topic to publish to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty or too long.
    #[error("a topic or pattern has 1 to 255 bytes, not {len}")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// Nothing stands between two slashes, or before the first, or after the last.
    #[error(
        "segment {index} (counted from 0) of the topic or pattern is empty: \
         leave out the slash that is too many"
    )]
    EmptySegment {
        /// Which, counted from 0.
        index: usize,
    },
    /// A `*` beside other characters in a segment of a pattern.
    #[error(
        "segment {index} (counted from 0) of the pattern has a wildcard beside other \
         characters: `*` and `**` stand alone between slashes"
    )]
    PartialWildcard {
        /// Which, counted from 0.
        index: usize,
    },
    /// It has too many segments.
    #[error(
        "a topic or pattern may have 32 segments, not {found}: use fewer levels, or put \
         what tells events apart into their payload"
    )]
    TooManySegments {
        /// How many there are.
        found: usize,
    },
    /// A `*` in a topic to publish to.
    #[error(
        "segment {index} (counted from 0) of the topic has a `*`, which only patterns \
         may have: publish to one topic, spelt out"
    )]
    WildcardInTopic {
        /// Which, counted from 0.
        index: usize,
    },
}
