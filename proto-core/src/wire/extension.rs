//! What a message carries beside its payload (PROTOCOL.md, 6.2): items like
//! HELLO's, of which unknown ones are skipped.

use super::{
    MAX_EXTENSION,
    varint::{self, Reader},
};
use bytes::BufMut;
use core::{fmt, time::Duration};

/// The time left for a request, in milliseconds.
const TIME_LEFT: u64 = 0;
/// An earlier session may have delivered the message already. No value.
const REDELIVERED: u64 = 1;
/// How many events the publisher dropped before this one.
const MISSED: u64 = 2;
/// Larger values are cut to this, which a varint of four bytes holds.
const LARGEST: u32 = 0x3fff_ffff;
/// Beside the count of events.
const REDELIVERED_BIT: u32 = 1 << 31;

/// The items that this version knows. Compact and without padding, for every message has
/// one, and is moved with it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Extension {
    /// 0 for none.
    time_left: u32,
    /// How many events were missed, and [`REDELIVERED_BIT`].
    bits: u32,
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension")
            .field("time_left", &self.time_left())
            .field("missed", &self.missed())
            .field("redelivered", &self.is_redelivered())
            .finish()
    }
}

impl Extension {
    /// The same with the time left for a request: at least 1 ms, at most 12 days.
    #[must_use]
    pub fn with_time_left(self, time_left: Duration) -> Extension {
        let millis = time_left.as_nanos().div_ceil(1_000_000).max(1);
        let time_left = u32::try_from(millis).unwrap_or(LARGEST).min(LARGEST);
        Extension { time_left, ..self }
    }

    /// The same with a count of events that were dropped before this one.
    #[must_use]
    pub fn with_missed(self, missed: u64) -> Extension {
        let missed = u32::try_from(missed).unwrap_or(LARGEST).min(LARGEST);
        let bits = self.bits & REDELIVERED_BIT | missed;
        Extension { bits, ..self }
    }

    /// The same, marked as sent again on another session.
    #[must_use]
    pub fn with_redelivered(self) -> Extension {
        let bits = self.bits | REDELIVERED_BIT;
        Extension { bits, ..self }
    }

    /// Whether an earlier session may have delivered the message already.
    pub fn is_redelivered(&self) -> bool {
        self.bits & REDELIVERED_BIT != 0
    }

    /// The time left for a request when it was written.
    pub fn time_left(&self) -> Option<Duration> {
        (self.time_left > 0).then(|| Duration::from_millis(u64::from(self.time_left)))
    }

    /// How many events the publisher dropped before this one.
    pub fn missed(&self) -> u64 {
        u64::from(self.bits & !REDELIVERED_BIT)
    }

    /// Whether nothing is to be written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Extension::default()
    }

    /// Ids and values.
    fn items(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let number = |value: u64| (value > 0).then_some(Some(value));
        [
            (TIME_LEFT, number(u64::from(self.time_left))),
            (REDELIVERED, self.is_redelivered().then_some(None)),
            (MISSED, number(self.missed())),
        ]
        .into_iter()
        .filter_map(|(id, value)| Some((id, value?)))
    }

    fn items_len(&self) -> usize {
        self.items()
            .map(|(_, value)| value.map_or(0, varint::encoded_len).saturating_add(2))
            .sum()
    }

    /// Length and items; nothing if there are none.
    #[inline]
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        if self.is_empty() {
            return;
        }
        varint::encode(self.items_len() as u64, out);
        for (id, value) in self.items() {
            varint::encode(id, out);
            varint::encode(value.map_or(0, varint::encoded_len) as u64, out);
            if let Some(value) = value {
                varint::encode(value, out);
            }
        }
    }

    /// How many bytes [`encode`](Self::encode) writes.
    #[inline]
    pub(super) fn encoded_len(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let items = self.items_len();
        varint::encoded_len(items as u64).saturating_add(items)
    }

    /// The same in a number, if it is the time left alone.
    #[inline]
    pub(super) fn tagged(&self) -> Option<(u64, usize)> {
        if self.bits > 0 {
            return None;
        }
        let (value, len) = varint::tagged(u64::from(self.time_left));
        // Length of the items, the item's id, its length, its value.
        let front = (len as u64).saturating_add(2) << 16 | TIME_LEFT << 8 | len as u64;
        let shift = u32::try_from(len).unwrap_or(4).saturating_mul(8);
        Some((front << shift | value, len.saturating_add(3)))
    }

    /// `None` if it is too long or cut short, or a known item comes twice or is not
    /// what it should be.
    #[cold]
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Extension> {
        let length = reader.varint().filter(|n| *n <= MAX_EXTENSION as u64)?;
        let mut items = Reader::new(reader.bytes(length)?);
        let (mut time_left, mut missed, mut redelivered) = (None, None, false);
        while !items.is_empty() {
            let id = items.varint()?;
            let length = items.varint()?;
            let mut value = Reader::new(items.bytes(length)?);
            let known = match id {
                TIME_LEFT => &mut time_left,
                MISSED => &mut missed,
                REDELIVERED if !redelivered && value.is_empty() => {
                    redelivered = true;
                    continue;
                }
                REDELIVERED => return None,
                _ => continue,
            };
            let number = value.varint().filter(|_| value.is_empty())?;
            if known.replace(number).is_some() {
                return None;
            }
        }
        let mut extension = Extension::default().with_missed(missed.unwrap_or(0));
        if redelivered {
            extension = extension.with_redelivered();
        }
        Some(match time_left {
            Some(left) => extension.with_time_left(Duration::from_millis(left)),
            None => extension,
        })
    }
}
