//! Reading, writing and accepting on a pipe without waiting: each half has an
//! event for whoever waits.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::windows::io::{AsHandle, AsRawHandle as _, BorrowedHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BufMut};
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_MODE_INFORMATION, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT,
    FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_CONNECTED,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, GetNamedPipeInfo, PIPE_SERVER_END};

use super::listen::is;
use super::operation::Operation;
use super::pipe_event::PipeEvent;
use crate::is_end_of_stream;

/// The most that one write takes: what a pipe buffers unless told otherwise.
const WRITE_MAX: usize = 64 * 1024;
/// What one read adds to a message.
const PART: usize = 64 * 1024;
/// The most blocks that one write is put together from.
const BLOCKS: usize = 64;

/// The two directions of a connected pipe, each of which can be used from a
/// thread of its own.
///
/// The handle is what [`connect`](crate::connect) gives, or any pipe that was
/// opened with `FILE_FLAG_OVERLAPPED` and is connected; a server's instance
/// goes through [`PipeInstance`]. It is closed when both halves are dropped.
///
/// # Errors
///
/// `InvalidInput` for a handle that is no pipe or was not opened for
/// overlapped use, on which every call would block; anything that the system
/// reports when it has no more events.
pub fn pipe_halves(pipe: OwnedHandle) -> io::Result<(PipeReader, PipeWriter)> {
    pipe_end(&pipe)?;
    halves(&Arc::new(pipe))
}

fn halves(pipe: &Arc<OwnedHandle>) -> io::Result<(PipeReader, PipeWriter)> {
    let reader = PipeReader {
        operation: Operation::new(pipe.clone())?,
    };
    let writer = PipeWriter {
        operation: Operation::new(pipe.clone())?,
        bytes: Vec::new(),
        failed: None,
    };
    Ok((reader, writer))
}

/// The reading half of a pipe.
///
/// While it waits it holds no buffer: a read of zero bytes is in flight, which
/// ends when there is something to read. Dropped, it ends what is in flight
/// and loses nothing by it; the handle is closed with the other half.
#[derive(Debug)]
pub struct PipeReader {
    operation: Operation,
}

impl PipeReader {
    /// Reads what is there, at most as much as the buffer takes; `Ok(0)` at the
    /// end of the stream, or for an empty buffer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing to read now: wait for
    /// [`event`](Self::event) and call again. Who stops waiting loses nothing;
    /// the next call goes on. Else what the system reports; that the peer has
    /// gone is no error but the end.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: bytes are valid as bytes that may be uninitialised, and below
        // nothing but bytes that were read is put there.
        self.try_read_uninit(unsafe { &mut *(ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) })
    }

    /// As [`try_read`](Self::try_read), to memory that need not be initialised;
    /// as many bytes as it returns are afterwards.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_uninit(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match self.read(buffer) {
            Err(error) if is_end_of_stream(&error) => Ok(0),
            result => result,
        }
    }

    /// As [`try_read`](Self::try_read), to the end of what `room` holds.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_buf(&mut self, room: &mut impl BufMut) -> io::Result<usize> {
        // SAFETY: below nothing but bytes that were read is put there: none that
        // was initialised becomes uninitialised.
        let spare = unsafe { room.chunk_mut().as_uninit_slice_mut() };
        let length = self.try_read_uninit(spare)?;
        // SAFETY: so many bytes have just been read to the front of that room.
        unsafe { room.advance_mut(length) };
        Ok(length)
    }

    /// Reads one message of at most `max` bytes whole, of a pipe that keeps
    /// messages apart ([`ListenOptions::message_mode`](crate::ListenOptions::message_mode));
    /// `None` at the end of the stream. Room is taken as its bytes come.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read); `InvalidData` if the message is longer: what
    /// is left of it would be the next message, so the pipe should be closed.
    pub fn try_read_message(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        match self.read_message(max) {
            Err(error) if is_end_of_stream(&error) => Ok(None),
            result => result.map(Some),
        }
    }

    fn read_message(&mut self, max: usize) -> io::Result<Vec<u8>> {
        self.ready()?;
        let mut message = Vec::new();
        while self.operation.is_part() {
            if message.len() > max {
                return Err(too_long(max));
            }
            let room = max.saturating_sub(message.len()).saturating_add(1);
            message.reserve(room.min(PART));
            let spare = message.spare_capacity_mut();
            let room = room.min(spare.len());
            let Some(length) = self.read_now(spare.get_mut(..room).unwrap_or_default())? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            // SAFETY: so many bytes have just been read to the front of that room.
            unsafe { message.set_len(message.len().saturating_add(length)) };
        }
        if message.len() > max {
            return Err(too_long(max));
        }
        Ok(message)
    }

    /// Set unless the last call returned `WouldBlock` and the reason for that
    /// still holds.
    #[must_use]
    pub fn event(&self) -> &PipeEvent {
        self.operation.event()
    }

    fn read(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.ready()?;
            // None if the peer wrote zero bytes, which is not the end, or if
            // another handle of the same pipe took them.
            if let Some(length) = self.read_now(buffer)? {
                return Ok(length);
            }
        }
    }

    /// Whether there is something to read.
    fn ready(&mut self) -> io::Result<()> {
        loop {
            let ready = if self.operation.in_flight() {
                self.operation.poll()
            } else {
                self.await_bytes()
            };
            match ready {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(Ok(_)) => return Ok(()),
                Poll::Ready(Err(error)) if is_aborted(&error) => {}
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    /// Starts the read that ends when there is something to read.
    fn await_bytes(&mut self) -> Poll<io::Result<usize>> {
        let call = |pipe, overlapped| {
            let nowhere = NonNull::<u8>::dangling().as_ptr();
            // SAFETY: nothing is put where it has room for nothing, and the
            // other two are those of the operation.
            unsafe { ReadFile(pipe, nowhere, 0, ptr::null_mut(), overlapped) }
        };
        // SAFETY: it uses no memory but the OVERLAPPED.
        unsafe { self.operation.start("ReadFile of nothing", call) }
    }

    /// Reads what is there, straight to where it is wanted, and leaves nothing
    /// in flight.
    fn read_now(&mut self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Option<usize>> {
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let start = buffer.as_mut_ptr().cast();
        let call = |pipe, overlapped| {
            // SAFETY: the buffer is writable for its length, and the other two
            // are those of the operation.
            unsafe { ReadFile(pipe, start, length, ptr::null_mut(), overlapped) }
        };
        // SAFETY: the buffer is borrowed until the end of this function, by
        // when the operation has ended.
        let result = match unsafe { self.operation.start("ReadFile", call) } {
            Poll::Ready(result) => result,
            Poll::Pending => self.operation.cancel(),
        };
        match result {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(length)),
            Err(error) if is_aborted(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The writing half of a pipe.
///
/// It has one write at a time in flight, from a buffer of its own. Dropped, it
/// cancels that write: to be sure that everything has gone out, wait for
/// [`try_flush`](Self::try_flush) first.
///
/// Windows also cancels a write when the thread that started it ends. What
/// went out by then is not known, so all further calls fail: a thread that
/// writes and then ends should flush.
#[derive(Debug)]
pub struct PipeWriter {
    // First, so that what is in flight has ended before its bytes are freed.
    operation: Operation,
    /// What the write in flight writes, else empty.
    bytes: Vec<u8>,
    /// The code of the error that ended a write after its bytes were taken.
    failed: Option<i32>,
}

impl PipeWriter {
    /// Takes up to 64 KiB to write and returns how many bytes it took; they are
    /// written in the background if the peer does not read just now. Taking
    /// no bytes does nothing.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while the write before is in flight: wait for
    /// [`event`](Self::event) and call again. Else what the system reports:
    /// none of the bytes were taken, though it may be the write before that
    /// failed, and then every further call does so too.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    /// As [`try_write`](Self::try_write), from several places at once.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_flush()?;
        let length = slices
            .iter()
            .fold(0_usize, |sum, slice| sum.saturating_add(slice.len()))
            .min(WRITE_MAX);
        if length == 0 {
            return Ok(0);
        }
        let mut bytes = Vec::with_capacity(length);
        for slice in slices {
            let room = length.saturating_sub(bytes.len());
            bytes.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        self.bytes = bytes;
        match self.start() {
            Poll::Pending => Ok(length),
            Poll::Ready(result) => {
                self.bytes = Vec::new();
                result
            }
        }
    }

    /// Takes all of the bytes for one write, which is one message to a reader that
    /// keeps messages apart.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write); `InvalidInput` for 4 GiB and more, which the
    /// system does not write at once.
    pub fn try_write_message(&mut self, message: Vec<u8>) -> io::Result<()> {
        if u32::try_from(message.len()).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.try_flush()?;
        self.bytes = message;
        match self.start() {
            Poll::Pending => Ok(()),
            Poll::Ready(result) => {
                self.bytes = Vec::new();
                result.map(drop)
            }
        }
    }

    /// As [`try_write`](Self::try_write), and advances `output` by what it took.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_buf(&mut self, output: &mut impl Buf) -> io::Result<usize> {
        let mut blocks = [IoSlice::new(&[]); BLOCKS];
        let count = output.chunks_vectored(&mut blocks);
        let length = self.try_write_vectored(blocks.get(..count).unwrap_or_default())?;
        output.advance(length);
        Ok(length)
    }

    /// Whether all that was taken has been written: the peer has read it, or
    /// the pipe's buffer has it, from where the peer can read it even if this
    /// end is closed.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while a write is in flight: wait for
    /// [`event`](Self::event) and call again. Else what the system reported
    /// when a write failed, on every further call too.
    pub fn try_flush(&mut self) -> io::Result<()> {
        if self.operation.in_flight() {
            let result = match self.operation.poll() {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(result) => result,
            };
            let length = std::mem::take(&mut self.bytes).len();
            match result {
                Ok(written) if written == length => {}
                // Only a pipe that somebody set to PIPE_NOWAIT does that.
                Ok(_) => self.failed = Some(ERROR_NO_DATA.cast_signed()),
                Err(error) => self.failed = error.raw_os_error(),
            }
        }
        match self.failed {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(()),
        }
    }

    /// Set unless a write is in flight.
    #[must_use]
    pub fn event(&self) -> &PipeEvent {
        self.operation.event()
    }

    /// Starts to write the bytes.
    fn start(&mut self) -> Poll<io::Result<usize>> {
        let (start, length) = (self.bytes.as_ptr(), self.bytes.len());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let call = |pipe, overlapped| {
            // SAFETY: the bytes are readable for their length, and the other
            // two are those of the operation.
            unsafe { WriteFile(pipe, start, length, ptr::null_mut(), overlapped) }
        };
        // SAFETY: the bytes are neither changed nor freed before the end of the
        // operation was seen, or the operation dropped.
        unsafe { self.operation.start("WriteFile", call) }
    }
}

/// A server's instance of a pipe, for one client to come.
///
/// Dropped while it waits, it ends the wait.
#[derive(Debug)]
pub struct PipeInstance {
    operation: Operation,
}

impl PipeInstance {
    /// Takes an instance that [`listen`](crate::listen) or
    /// [`Claim::next_instance`](crate::Claim::next_instance) made, or any that
    /// was made with `FILE_FLAG_OVERLAPPED`.
    ///
    /// # Errors
    ///
    /// As [`pipe_halves`].
    pub fn new(pipe: OwnedHandle) -> io::Result<PipeInstance> {
        pipe_end(&pipe)?;
        Ok(PipeInstance {
            operation: Operation::new(Arc::new(pipe))?,
        })
    }

    /// Whether a client has connected. It may have gone again: what it wrote
    /// can still be read, as on a socket, and then comes the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while there is none: wait for [`event`](Self::event) and
    /// call again. Else what the system reports
    /// ([`accept_error_kind`](crate::accept_error_kind) says what to do).
    pub fn try_connect(&mut self) -> io::Result<()> {
        loop {
            let connected = if self.operation.in_flight() {
                self.operation.poll()
            } else {
                self.start()
            };
            match connected {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(Ok(_)) => return Ok(()),
                Poll::Ready(Err(error)) if is_aborted(&error) => {}
                // Before the call: one that is still there, or has gone again.
                Poll::Ready(Err(error))
                    if is(&error, ERROR_PIPE_CONNECTED) || is(&error, ERROR_NO_DATA) =>
                {
                    return Ok(());
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    fn start(&mut self) -> Poll<io::Result<usize>> {
        // SAFETY: the two are those of the operation.
        let call = |pipe, overlapped| unsafe { ConnectNamedPipe(pipe, overlapped) };
        // SAFETY: it uses no memory but the OVERLAPPED.
        unsafe { self.operation.start("ConnectNamedPipe", call) }
    }

    /// Set unless it waits for a client.
    #[must_use]
    pub fn event(&self) -> &PipeEvent {
        self.operation.event()
    }

    /// The two directions, once [`try_connect`](Self::try_connect) has
    /// succeeded; before that neither can be used.
    ///
    /// # Errors
    ///
    /// What the system reports when it has no more events.
    pub fn into_halves(self) -> io::Result<(PipeReader, PipeWriter)> {
        halves(self.operation.pipe())
    }
}

macro_rules! as_the_pipe {
    ($($half:ty),*) => {$(
        /// The pipe's own handle, as for asking who is at the other end; not
        /// the event.
        impl AsHandle for $half {
            fn as_handle(&self) -> BorrowedHandle<'_> {
                self.operation.pipe().as_handle()
            }
        }
    )*};
}

as_the_pipe!(PipeReader, PipeWriter, PipeInstance);

fn too_long(max: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message is above the limit of {max} bytes"),
    )
}

/// Whether the operation was cancelled. Unless it was done here, the thread
/// that started it has ended, and Windows cancels what a thread leaves.
fn is_aborted(error: &io::Error) -> bool {
    is(error, ERROR_OPERATION_ABORTED)
}

/// Which end of a pipe a handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeEnd {
    /// The one that connected; [`server_of`](crate::server_of) tells its peer.
    Client,
    /// The one that was connected to; [`client_of`](crate::client_of) tells its peer.
    Server,
}

/// Which end it is, if it is a pipe on which calls return at once.
///
/// # Errors
///
/// `InvalidInput` if it is no pipe, or one that was opened without
/// `FILE_FLAG_OVERLAPPED`.
pub fn pipe_end(pipe: &impl AsHandle) -> io::Result<PipeEnd> {
    let pipe = pipe.as_handle();
    let mut flags = 0;
    // SAFETY: the handle is borrowed for the call, the pointer is to a live
    // variable, and the null pointers ask for nothing.
    let is_pipe = unsafe {
        GetNamedPipeInfo(
            pipe.as_raw_handle(),
            &raw mut flags,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if is_pipe == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the handle is not one of a pipe",
        ));
    }
    let mut status = IO_STATUS_BLOCK::default();
    let mut mode = FILE_MODE_INFORMATION { Mode: 0 };
    // SAFETY: the handle is borrowed for the call, and the pointers are to live
    // variables, the size of one of which is given.
    let told = unsafe {
        NtQueryInformationFile(
            pipe.as_raw_handle(),
            &raw mut status,
            (&raw mut mode).cast(),
            size_of_val(&mode).try_into().unwrap_or(0),
            FileModeInformation,
        )
    };
    // Where the system does not say, whoever made the handle is believed.
    if told == 0 && mode.Mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the pipe was opened for blocking use; open it with FILE_FLAG_OVERLAPPED",
        ));
    }
    Ok(if flags & PIPE_SERVER_END == 0 {
        PipeEnd::Client
    } else {
        PipeEnd::Server
    })
}
