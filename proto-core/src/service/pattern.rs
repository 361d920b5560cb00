//! Topics, and the patterns that choose among them (PROTOCOL.md, section 6.9).

use crate::wire::MAX_TOPIC;
use alloc::sync::Arc;
use core::fmt;

/// Exactly one segment, whatever it is.
pub(super) const ONE: &str = "*";
/// Any number of segments, also none.
pub(super) const ANY: &str = "**";

/// So many `**` may stand in a pattern: what one costs a publisher stays small.
const MAX_ANY: usize = 4;

/// The segments of a topic or a pattern.
pub(super) fn segments(text: &str) -> core::str::Split<'_, char> {
    text.split('/')
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
    /// A pattern of 1 to 255 bytes.
    ///
    /// # Errors
    /// [`PatternError`] if it is too long, a segment is empty, a `*` stands beside
    /// other characters in a segment, or there are more than 4 `**`.
    pub fn new(pattern: &str) -> Result<Pattern, PatternError> {
        check(pattern, |index, segment| {
            if segment == ONE || segment == ANY || !segment.contains('*') {
                Ok(())
            } else {
                Err(PatternError::PartialWildcard { index })
            }
        })?;
        let found = segments(pattern).filter(|segment| *segment == ANY).count();
        if found > MAX_ANY {
            return Err(PatternError::TooManyWildcards { found });
        }
        Ok(Pattern(pattern.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it chooses `topic`. It chooses nothing that [`check_topic`]
    /// refuses. The work is at most the product of both numbers of segments.
    pub fn matches(&self, topic: &str) -> bool {
        if check_topic(topic).is_err() {
            return false;
        }
        let mut wanted = segments(&self.0);
        let mut found = segments(topic);
        // What comes after the last `**`, and where the topic goes on if that `**`
        // takes nothing more. An earlier one never needs to be tried again: what
        // it could take on top, the last one can take as well.
        let mut last = None;
        loop {
            let (mut wanted_rest, mut found_rest) = (wanted.clone(), found.clone());
            match (wanted_rest.next(), found_rest.next()) {
                (None, None) => return true,
                (Some(ANY), _) => last = Some((wanted_rest.clone(), found.clone())),
                (Some(segment), Some(other)) if segment == ONE || segment == other => {
                    found = found_rest;
                }
                _ => {
                    let Some((after, rest)) = &mut last else {
                        return false;
                    };
                    if rest.next().is_none() {
                        return false;
                    }
                    wanted_rest = after.clone();
                    found = rest.clone();
                }
            }
            wanted = wanted_rest;
        }
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
/// [`PatternError`] if it does not have 1 to 255 bytes, a segment is empty, or
/// there is a `*` in it.
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
    /// Too many `**` in a pattern.
    #[error(
        "a pattern may have 4 segments `**`, not {found}: spell more of it out, or \
         choose among the events that come"
    )]
    TooManyWildcards {
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
