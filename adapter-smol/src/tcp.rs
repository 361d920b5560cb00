//! TCP, which WebSockets run on.

use async_io::Async;
use sealpipe_driver::websocket::{ByteStream, TcpAccept};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    task::{Context, Poll, ready},
};

pub(crate) async fn connect(address: SocketAddr) -> io::Result<Box<dyn ByteStream>> {
    prepared(Async::<TcpStream>::connect(address).await?)
}

pub(crate) fn listen(socket: TcpListener) -> io::Result<Box<dyn TcpAccept>> {
    Ok(Box::new(Listening(Async::new_nonblocking(socket)?)))
}

fn prepared(stream: Async<TcpStream>) -> io::Result<Box<dyn ByteStream>> {
    stream.get_ref().set_nodelay(true)?;
    Ok(Box::new(stream))
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
                    ready!(self.0.poll_readable(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
