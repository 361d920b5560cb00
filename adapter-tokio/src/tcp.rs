//! TCP, which WebSockets run on.

use sealpipe_driver::websocket::{ByteStream, TcpAccept};
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

pub(crate) async fn connect(address: SocketAddr) -> io::Result<Box<dyn ByteStream>> {
    prepared(TcpStream::connect(address).await?)
}

pub(crate) fn listen(socket: std::net::TcpListener) -> io::Result<Box<dyn TcpAccept>> {
    Ok(Box::new(Listening(TcpListener::from_std(socket)?)))
}

fn prepared(stream: TcpStream) -> io::Result<Box<dyn ByteStream>> {
    stream.set_nodelay(true)?;
    Ok(Box::new(stream.compat()))
}

struct Listening(TcpListener);

impl TcpAccept for Listening {
    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        loop {
            let (stream, from) = ready!(self.0.poll_accept(context))?;
            match prepared(stream) {
                Ok(stream) => return Poll::Ready(Ok((stream, from))),
                Err(error) => tracing::debug!(%from, %error, "a client left as it was accepted"),
            }
        }
    }
}
