//! Where the messages come from.

use crate::{
    args::Send,
    exit::{Code, Failure},
};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, BufRead, Read},
};
use tokio::sync::mpsc;

/// Lines that are read ahead.
const AHEAD: usize = 256;

/// Something to send, with its index from 0.
#[derive(Debug)]
pub(super) enum Item {
    Message {
        index: u64,
        payload: Bytes,
    },
    /// Above the limit; not kept.
    TooLarge {
        index: u64,
        length: u64,
    },
    /// Reading ended with an error.
    Unreadable {
        index: u64,
        error: io::Error,
    },
}

impl Item {
    pub(super) fn index(&self) -> u64 {
        match self {
            Item::Message { index, .. }
            | Item::TooLarge { index, .. }
            | Item::Unreadable { index, .. } => *index,
        }
    }
}

/// The messages to send.
#[derive(Debug)]
pub(super) enum Input {
    One(Option<Item>),
    /// Lines, which a thread reads, for there is no other way to wait for stdin
    /// on every system.
    Lines(mpsc::Receiver<Item>),
}

impl Input {
    pub(super) fn open(args: &Send) -> Result<Input, Failure> {
        let max = args.common.max_message();
        match (&args.file, args.text.as_deref()) {
            (Some(path), _) => {
                let item = File::open(path).and_then(|file| read_file(file, max));
                let item = item.map_err(|error| {
                    Failure::new(
                        Code::Usage,
                        format!(
                            "the file {} cannot be read: {error}; check its name and permissions",
                            path.display()
                        ),
                    )
                })?;
                Ok(Input::One(Some(item)))
            }
            (None, Some("-")) => {
                let (sender, lines) = mpsc::channel(AHEAD);
                let reader = std::thread::Builder::new()
                    .name("stdin".into())
                    .spawn(move || read_lines(io::stdin().lock(), max, &sender));
                match reader {
                    Ok(_) => Ok(Input::Lines(lines)),
                    Err(error) => Err(Failure::new(
                        Code::Local,
                        format!("cannot start a thread: {error}; end other programs"),
                    )),
                }
            }
            (None, text) => {
                let text = Bytes::from(text.unwrap_or_default().to_owned());
                Ok(Input::One(Some(item(0, text.len() as u64, max, text))))
            }
        }
    }

    pub(super) async fn next(&mut self) -> Option<Item> {
        match self {
            Input::One(item) => item.take(),
            Input::Lines(lines) => lines.recv().await,
        }
    }

    /// Everything that was read and will not be sent.
    pub(super) fn rest(&mut self, mut note: impl FnMut(u64)) {
        match self {
            Input::One(item) => item.take().iter().for_each(|item| note(item.index())),
            Input::Lines(lines) => {
                lines.close();
                while let Ok(item) = lines.try_recv() {
                    note(item.index());
                }
            }
        }
    }

    /// The same, when nothing was sent at all.
    pub(super) fn into_rest(mut self, note: impl FnMut(u64)) {
        self.rest(note);
    }
}

fn item(index: u64, length: u64, max: usize, payload: Bytes) -> Item {
    if length > max as u64 {
        Item::TooLarge { index, length }
    } else {
        Item::Message { index, payload }
    }
}

fn read_file(file: File, max: usize) -> io::Result<Item> {
    let length = file.metadata()?.len();
    if length > max as u64 {
        return Ok(Item::TooLarge { index: 0, length });
    }
    // A pipe or a device tells no length.
    let mut content = Vec::new();
    file.take((max as u64).saturating_add(1))
        .read_to_end(&mut content)?;
    Ok(item(0, content.len() as u64, max, content.into()))
}

/// Reads to the end, or until nobody wants more.
fn read_lines(mut from: impl BufRead, max: usize, to: &mpsc::Sender<Item>) {
    for index in 0.. {
        let next = match read_line(&mut from, max) {
            Ok(Some((length, payload))) => item(index, length, max, payload.into()),
            Ok(None) => return,
            Err(error) => Item::Unreadable { index, error },
        };
        let last = matches!(next, Item::Unreadable { .. });
        if to.blocking_send(next).is_err() || last {
            return;
        }
    }
}

/// One line without its end (`\n` or `\r\n`), and how long it is; of what is
/// above the limit only the beginning is kept.
fn read_line(from: &mut impl BufRead, max: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut line = Vec::new();
    let mut length = 0u64;
    // With room for the two bytes of the line's end.
    let keep = max.saturating_add(2);
    loop {
        let chunk = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            let more = length > 0;
            return Ok(more.then_some((length, line)));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |end| end + 1);
        let kept = used.min(keep - line.len());
        line.extend_from_slice(&chunk[..kept]);
        length += used as u64;
        from.consume(used);
        if end.is_some() {
            let whole = line.len() as u64 == length;
            for end in [b'\n', b'\r'] {
                if whole && line.last() == Some(&end) {
                    line.pop();
                    length -= 1;
                } else if !whole && end == b'\n' {
                    length -= 1;
                }
            }
            return Ok(Some((length, line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], max: usize) -> Vec<(u64, Vec<u8>)> {
        // Chunks that cut lines everywhere.
        let mut from = io::BufReader::with_capacity(3, text);
        std::iter::from_fn(|| read_line(&mut from, max).unwrap()).collect()
    }

    #[test]
    fn lines_lose_their_ends_only() {
        let found = lines(b"one\n\ntwo\r\nthr\ree\n\xff", 100);
        let texts: Vec<_> = found.iter().map(|(_, line)| line.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"", b"two", b"thr\ree", b"\xff"]);
        assert!(
            found
                .iter()
                .all(|(length, line)| *length == line.len() as u64)
        );
        assert!(lines(b"", 100).is_empty());
    }

    #[test]
    fn long_lines_are_measured_and_not_kept() {
        let found = lines(b"12345\n123456\r\n123456789\n1\n", 5);
        assert_eq!(found[0], (5, b"12345".to_vec()));
        assert_eq!(found[1].0, 7, "one more than it has is no harm");
        assert_eq!(found[2].0, 9);
        assert!(found[2].1.len() <= 7);
        assert_eq!(found[3], (1, b"1".to_vec()));
    }
}
