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
    coming: Coming,
}

/// What is done with the line that is coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coming {
    Kept,
    /// It is above the limit; nothing of it is kept.
    TooLong,
    /// It was given up; what still comes of it is passed over.
    GivenUp,
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
            coming: Coming::Kept,
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
        loop {
            let rest = self.bytes.get(self.taken..).unwrap_or_default();
            let found = rest
                .iter()
                .skip(self.searched)
                .position(|byte| *byte == LINE_FEED);
            let Some(found) = found else {
                self.searched = rest.len();
                if self.coming == Coming::Kept && rest.len() > self.max {
                    self.coming = Coming::TooLong;
                }
                if self.is_discarding() {
                    self.forget();
                }
                return None;
            };
            let length = self.searched + found;
            let line = rest.get(..length).unwrap_or_default();
            let line = match self.coming {
                Coming::Kept if length <= self.max => Some(Line::Whole(line.to_vec())),
                Coming::Kept | Coming::TooLong => Some(Line::TooLong),
                Coming::GivenUp => None,
            };
            self.taken += length + 1;
            self.searched = 0;
            self.coming = Coming::Kept;
            if self.taken == self.bytes.len() {
                self.forget();
            }
            if line.is_some() {
                return line;
            }
        }
    }

    /// Whether a line has begun whose end has not come, and that is not given up.
    pub(super) fn is_within(&self) -> bool {
        match self.coming {
            Coming::Kept => self.taken < self.bytes.len(),
            Coming::TooLong => true,
            Coming::GivenUp => false,
        }
    }

    /// Whether nothing is kept of the line that is coming.
    pub(super) fn is_discarding(&self) -> bool {
        self.coming != Coming::Kept
    }

    /// Whether the line that is coming was given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.coming == Coming::GivenUp
    }

    /// Gives up the line that has begun, up to its line feed; says how many bytes of it
    /// were kept.
    pub(super) fn give_up(&mut self) -> usize {
        let length = self.end();
        self.coming = Coming::GivenUp;
        length
    }

    /// Nothing more comes of the line that has begun: what comes next is another. Says
    /// how many bytes of it were kept.
    pub(super) fn end(&mut self) -> usize {
        let length = self.bytes.len() - self.taken;
        self.coming = Coming::Kept;
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
        assert_eq!(lines.end(), 2);
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

    #[test]
    fn a_line_that_was_given_up_is_passed_over_to_its_end() {
        let mut lines = Lines::new(5);
        lines.push(b"on");
        assert_eq!(lines.take(), None);
        assert_eq!(lines.give_up(), 2);
        assert!(lines.is_given_up() && !lines.is_within());
        lines.push(&[b'x'; 100]);
        assert_eq!(lines.take(), None);
        lines.push(b"e\ntwo\n");
        assert_eq!(lines.take(), whole(b"two"));
        assert!(!lines.is_given_up());
        // Or to the end of all that comes.
        lines.give_up();
        lines.end();
        lines.push(b"three\n");
        assert_eq!(lines.take(), whole(b"three"));
    }
}
