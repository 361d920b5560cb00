//! TCP, which WebSockets run on.

use crate::reactor;
use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use sealpipe_driver::websocket::{ByteStream, TcpAccept};
use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

pub(crate) async fn connect(address: SocketAddr) -> io::Result<Box<dyn ByteStream>> {
    let mut connecting = pin!(Async::<TcpStream>::connect(address));
    let connected =
        poll_fn(|context| reactor::rouse_if_pending(connecting.as_mut().poll(context), context))
            .await;
    prepared(connected?)
}

pub(crate) fn listen(socket: TcpListener) -> io::Result<Box<dyn TcpAccept>> {
    Ok(Box::new(Listening(Async::new_nonblocking(socket)?)))
}

fn prepared(stream: Async<TcpStream>) -> io::Result<Box<dyn ByteStream>> {
    stream.get_ref().set_nodelay(true)?;
    Ok(Box::new(Stream(stream)))
}

struct Listening(Async<TcpListener>);

impl TcpAccept for Listening {
    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        loop {
            match self.0.get_ref().accept() {
                Ok((stream, from)) => match Async::new(stream).and_then(prepared) {
                    Ok(stream) => return Poll::Ready(Ok((stream, from))),
                    Err(error) => {
                        tracing::debug!(%from, %error, "a client left as it was accepted");
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(reactor::rouse_if_pending(
                        self.0.poll_readable(context),
                        context
                    ))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

struct Stream(Async<TcpStream>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_read(context, buffer);
        reactor::rouse_if_pending(poll, context)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_write(context, bytes);
        reactor::rouse_if_pending(poll, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_write_vectored(context, slices);
        reactor::rouse_if_pending(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.0).poll_flush(context);
        reactor::rouse_if_pending(poll, context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.0).poll_close(context);
        reactor::rouse_if_pending(poll, context)
    }
}
