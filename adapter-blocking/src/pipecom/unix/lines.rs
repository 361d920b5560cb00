//! Bytes as they come, cut into lines of bounded length.

use super::LINE_FEED;

/// What is kept between messages.
const KEPT: usize = 64 << 10;

/// What has come of lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// Bytes that a line may have.
    max: usize,
    bytes: Vec<u8>,
    /// So many at the front were given out already.
    taken: usize,
    /// In so many behind them there is no line feed.
    searched: usize,
    /// The line that is coming is above the limit; nothing of it is kept.
    discarding: bool,
}

/// A line that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    pub(super) fn new(max: usize) -> Lines {
        Lines {
            max,
            bytes: Vec::new(),
            taken: 0,
            searched: 0,
            discarding: false,
        }
    }

    /// Adds what was read. All lines that were there should be taken before, so
    /// that no more is held than one line and one read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its line feed.
    pub(super) fn take(&mut self) -> Option<Line> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let found = rest
            .iter()
            .skip(self.searched)
            .position(|byte| *byte == LINE_FEED);
        let Some(found) = found else {
            self.searched = rest.len();
            if self.discarding || rest.len() > self.max {
                self.discarding = true;
                self.forget();
            }
            return None;
        };
        let length = self.searched + found;
        let line = rest.get(..length).unwrap_or_default();
        let line = match self.discarding || length > self.max {
            true => Line::TooLong,
            false => Line::Whole(line.to_vec()),
        };
        self.taken += length + 1;
        self.searched = 0;
        self.discarding = false;
        if self.taken == self.bytes.len() {
            self.forget();
        }
        Some(line)
    }

    /// Whether a line has begun whose end has not come.
    pub(super) fn is_within(&self) -> bool {
        self.discarding || self.taken < self.bytes.len()
    }

    /// Gives up the line that has begun; says how many bytes of it were kept.
    pub(super) fn give_up(&mut self) -> usize {
        let length = self.bytes.len() - self.taken;
        self.discarding = false;
        self.forget();
        length
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.taken = 0;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(line: &[u8]) -> Option<Line> {
        Some(Line::Whole(line.to_vec()))
    }

    #[test]
    fn lines_are_put_together_and_cut_apart() {
        let mut lines = Lines::new(5);
        lines.push(b"on");
        assert_eq!(lines.take(), None);
        assert!(lines.is_within());
        lines.push(b"e\n\nthree\nfo");
        assert_eq!(lines.take(), whole(b"one"));
        assert_eq!(lines.take(), whole(b""));
        assert_eq!(lines.take(), whole(b"three"));
        assert_eq!(lines.take(), None);
        assert!(lines.is_within());
        assert_eq!(lines.give_up(), 2);
        assert!(!lines.is_within());
        lines.push(b"x\n");
        assert_eq!(lines.take(), whole(b"x"));
        assert!(!lines.is_within());
    }

    #[test]
    fn a_line_without_end_is_told_and_not_kept() {
        let mut lines = Lines::new(5);
        for _ in 0..100_000 {
            lines.push(&[b'x'; 100]);
            assert_eq!(lines.take(), None);
            assert!(lines.bytes.capacity() <= KEPT + 200);
        }
        assert!(lines.is_within());
        lines.push(b"x\nfine\n123456\n");
        assert_eq!(lines.take(), Some(Line::TooLong));
        assert_eq!(lines.take(), whole(b"fine"));
        assert_eq!(lines.take(), Some(Line::TooLong));
        assert!(!lines.is_within());
    }
}
