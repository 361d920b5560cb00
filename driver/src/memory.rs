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

#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
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
        let n = direction.bytes.len().min(spare.remaining_mut());
        let (front, back) = direction.bytes.as_slices();
        let from_front = n.min(front.len());
        spare.put_slice(front.get(..from_front).unwrap_or_default());
        spare.put_slice(back.get(..n - from_front).unwrap_or_default());
        direction.bytes.drain(..n);
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
        let room = CAPACITY.saturating_sub(direction.bytes.len());
        if room == 0 {
            direction.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut written = 0;
        while written < room && output.has_remaining() {
            let chunk = output.chunk();
            let n = chunk.len().min(room - written);
            direction.bytes.extend(chunk.get(..n).unwrap_or_default());
            output.advance(n);
            written += n;
        }
        let woken = wakers(&mut direction);
        drop(direction);
        woken.for_each(Waker::wake);
        Poll::Ready(Ok(written))
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
