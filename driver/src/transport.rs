//! The two directions of a stream: a runtime's own, or any other.

use crate::{ReadHalf, Runtime, Spare, WriteHalf};
use sealpipe_core::SendBuf;
use std::{
    io,
    task::{Context, Poll},
};

/// Called once, with the first bytes read and before they are looked at. On
/// Windows a client is known only after it has sent something.
#[cfg(windows)]
pub(crate) type Verify = Box<dyn FnOnce(std::os::windows::io::BorrowedHandle<'_>) -> bool + Send>;

/// A socket or pipe, or any other stream.
pub(crate) enum Half<Native, Any: ?Sized> {
    Native(Native),
    Any(Box<Any>),
}

pub(crate) type Read<R> = Half<<R as Runtime>::Read, dyn ReadHalf>;
pub(crate) type Write<R> = Half<<R as Runtime>::Write, dyn WriteHalf>;

/// The two directions of a stream.
pub(crate) struct Transport<R: Runtime> {
    pub(crate) read: Read<R>,
    pub(crate) write: Write<R>,
    #[cfg(windows)]
    pub(crate) verify: Option<Verify>,
}

impl<R: Runtime> Transport<R> {
    pub(crate) fn native((read, write): (R::Read, R::Write)) -> Transport<R> {
        Transport {
            read: Half::Native(read),
            write: Half::Native(write),
            #[cfg(windows)]
            verify: None,
        }
    }

    pub(crate) fn any((read, write): (Box<dyn ReadHalf>, Box<dyn WriteHalf>)) -> Transport<R> {
        Transport {
            read: Half::Any(read),
            write: Half::Any(write),
            #[cfg(windows)]
            verify: None,
        }
    }
}

impl<Native: ReadHalf> ReadHalf for Half<Native, dyn ReadHalf> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        spare: &mut Spare<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Half::Native(io) => io.poll_read(context, spare),
            Half::Any(io) => io.poll_read(context, spare),
        }
    }

    fn ends_short(&self) -> bool {
        match self {
            Half::Native(io) => io.ends_short(),
            Half::Any(io) => io.ends_short(),
        }
    }
}

impl<Native: WriteHalf> WriteHalf for Half<Native, dyn WriteHalf> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut SendBuf,
    ) -> Poll<io::Result<usize>> {
        match self {
            Half::Native(io) => io.poll_write(context, output),
            Half::Any(io) => io.poll_write(context, output),
        }
    }

    fn is_buffered(&self) -> bool {
        match self {
            Half::Native(io) => io.is_buffered(),
            Half::Any(io) => io.is_buffered(),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Half::Native(io) => io.poll_flush(context),
            Half::Any(io) => io.poll_flush(context),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Half::Native(io) => io.poll_shutdown(context),
            Half::Any(io) => io.poll_shutdown(context),
        }
    }
}
