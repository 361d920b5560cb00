//! A stream in memory, for programs' own tests.

use crate::{ReadHalf, Spare, WriteHalf};
use bytes::{Buf, BufMut};
use sealpipe_core::SendBuf;
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How many bytes may be on their way.
const CAPACITY: usize = 64 << 10;

/// Bytes on their way from one thread or task to another, up to 64 KiB, for streams
/// that are not the system's.
#[derive(Debug, Default)]
pub struct ByteQueue(VecDeque<u8>);

impl ByteQueue {
    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.0.len() >= CAPACITY
    }

    /// Appends all of `bytes`, whether or not there is room.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Moves what there is room for from `output`; says how many bytes.
    pub fn write(&mut self, output: &mut SendBuf) -> usize {
        let before = self.0.len();
        while !self.is_full() && output.has_remaining() {
            let chunk = output.chunk();
            let n = chunk.len().min(CAPACITY.saturating_sub(self.0.len()));
            self.0.extend(chunk.get(..n).unwrap_or_default());
            output.advance(n);
        }
        self.0.len().saturating_sub(before)
    }

    /// Moves what there is to `spare`, as far as that has room; says how many bytes.
    pub fn read(&mut self, spare: &mut Spare<'_>) -> usize {
        let n = self.0.len().min(spare.remaining_mut());
        let (front, back) = self.0.as_slices();
        let from_front = n.min(front.len());
        spare.put_slice(front.get(..from_front).unwrap_or_default());
        spare.put_slice(back.get(..n - from_front).unwrap_or_default());
        self.0.drain(..n);
        n
    }

    /// All that there is, in two pieces.
    pub fn as_slices(&self) -> (&[u8], &[u8]) {
        self.0.as_slices()
    }
}

#[derive(Default)]
struct Direction {
    bytes: ByteQueue,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<Direction>>;

fn lock(direction: &Shared) -> MutexGuard<'_, Direction> {
    direction.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called with the lock held; the wakers are woken by the caller, without it.
fn wakers(direction: &mut Direction) -> impl Iterator<Item = Waker> + use<> {
    let wakers = [direction.reader.take(), direction.writer.take()];
    wakers.into_iter().flatten()
}

fn close(direction: &Shared) {
    let woken = {
        let mut direction = lock(direction);
        direction.closed = true;
        wakers(&mut direction)
    };
    woken.for_each(Waker::wake);
}

pub(crate) struct Read(Shared);
pub(crate) struct Write(Shared);

/// Two ends.
pub(crate) fn pair() -> [(Read, Write); 2] {
    let (there, back) = (Shared::default(), Shared::default());
    [
        (Read(back.clone()), Write(there.clone())),
        (Read(there), Write(back)),
    ]
}

impl ReadHalf for Read {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut direction = lock(&self.0);
        if direction.bytes.is_empty() && !direction.closed {
            direction.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let n = direction.bytes.read(spare);
        let woken = wakers(&mut direction);
        drop(direction);
        woken.for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }
}

impl WriteHalf for Write {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        let mut direction = lock(&self.0);
        if direction.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if direction.bytes.is_full() {
            direction.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let written = direction.bytes.write(output);
        let woken = wakers(&mut direction);
        drop(direction);
        woken.for_each(Waker::wake);
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        close(&self.0);
        Poll::Ready(Ok(true))
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        close(&self.0);
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        close(&self.0);
    }
}
