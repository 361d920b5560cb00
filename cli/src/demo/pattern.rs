//! What the messages hold: bytes that follow from a message's number, so that
//! both sides know them and no two neighbours hold the same.

use bytes::Bytes;

/// The largest message.
pub(super) const LARGEST: usize = 1 << 20;
/// Where a message begins in the block: anywhere in so many bytes.
const STARTS: usize = (64 << 10) - 1;

/// Made once, by each side; messages are parts of it.
#[derive(Debug)]
pub(super) struct Pattern(Bytes);

impl Pattern {
    pub(super) fn new() -> Pattern {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut block = Vec::with_capacity(LARGEST + STARTS + 8);
        while block.len() < LARGEST + STARTS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        Pattern(block.into())
    }

    /// The message of that number, if it has that length; of a longer one than
    /// there are, as much as there is.
    pub(super) fn message(&self, number: u64, length: usize) -> Bytes {
        // A multiplier without common factors: all starts, one after the other.
        let start = (number % STARTS as u64) as usize * 31_337 % STARTS;
        self.0.slice(start..(start + length).min(self.0.len()))
    }
}

/// Follows the number of messages and the length of each, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lengths: u64,
}

impl Account {
    pub(super) fn new() -> Account {
        Account {
            messages: 0,
            bytes: 0,
            lengths: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(super) fn add(&mut self, length: usize) {
        self.messages += 1;
        self.bytes += length as u64;
        // FNV-1a, of whole lengths instead of bytes.
        self.lengths = (self.lengths ^ length as u64).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_and_both_sides_agree() {
        let (one, other) = (Pattern::new(), Pattern::new());
        for number in 0..1000 {
            let message = one.message(number, 64);
            assert_eq!(message.len(), 64);
            assert_eq!(message, other.message(number, 64));
            assert_ne!(message, one.message(number + 1, 64));
        }
        for number in [0, 1, 65_533, 65_534, u64::MAX] {
            assert_eq!(one.message(number, LARGEST).len(), LARGEST);
        }
    }

    #[test]
    fn accounts_tell_order_and_number() {
        let account = |lengths: &[usize]| {
            let mut account = Account::new();
            lengths.iter().for_each(|length| account.add(*length));
            account
        };
        assert_eq!(account(&[1, 2]), account(&[1, 2]));
        assert_ne!(account(&[1, 2]), account(&[2, 1]));
        assert_ne!(account(&[0]), account(&[0, 0]));
    }
}
