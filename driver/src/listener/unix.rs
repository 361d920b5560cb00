//! Accepting on a Unix socket.

use super::{Intake, PAUSE, spawn};
use crate::{Error, Runtime, timeout::sleep, transport::Transport};
use futures_util::future::AbortHandle;
use sealpipe_core::wire::Status;
use sealpipe_endpoint::{
    AcceptErrorKind, Access, Address, Claim, Peer, Stream, accept_error_kind, transmit,
};
use std::sync::Arc;

pub(super) fn start<R: Runtime>(socket: R::Listener, intake: Intake<R>) -> AbortHandle {
    spawn::<R>(accept_all(socket, intake))
}

/// What waits for clients.
pub(crate) fn waiting<R: Runtime>(
    listener: sealpipe_endpoint::Listener,
) -> Result<(R::Listener, Claim), Error> {
    let (socket, claim) = listener.into_parts();
    let socket = R::listener(socket).map_err(Error::io("registering the listening socket"))?;
    Ok((socket, claim))
}

async fn accept_all<R: Runtime>(socket: R::Listener, intake: Intake<R>) {
    while let Some(stream) = next_client::<R>(&socket, &intake.address).await {
        take_in(stream, &intake);
    }
}

/// `None` only when listening is impossible.
pub(crate) async fn next_client<R: Runtime>(
    socket: &R::Listener,
    address: &Address,
) -> Option<Stream> {
    loop {
        match R::accept(socket).await {
            Ok(stream) => return Some(stream),
            Err(error) => match accept_error_kind(&error) {
                AcceptErrorKind::Pause => {
                    tracing::warn!(%address, %error, "accepting rests");
                    sleep::<R>(PAUSE).await;
                }
                AcceptErrorKind::Fatal => {
                    tracing::error!(%address, %error, "accepting has become impossible");
                    return None;
                }
                _ => {
                    tracing::debug!(%address, %error, "a client left before it was accepted")
                }
            },
        }
    }
}

fn take_in<R: Runtime>(stream: Stream, intake: &Intake<R>) {
    let peer = match identify(&stream, &intake.access, &intake.address) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "a client was refused");
            return refuse(&stream, intake, Status::Refused);
        }
    };
    let Some(permit) = intake.permit() else {
        return refuse(&stream, intake, Status::Busy);
    };
    match R::stream(stream) {
        Ok(halves) => {
            intake.shake_hands(Transport::native(halves), Arc::new(peer.into()), permit);
        }
        Err(error) => {
            tracing::warn!(address = %intake.address, %error, "the runtime did not take a client's socket");
        }
    }
}

/// Says why. A client that does not hear it hears of the end.
fn refuse<R: Runtime>(stream: &Stream, intake: &Intake<R>, status: Status) {
    if let Some(mut refusal) = intake.refusal(status)
        && let Err(error) = transmit(stream, &mut refusal)
    {
        tracing::debug!(%error, "a client could not be told that it was refused");
    }
}

pub(crate) fn identify(
    stream: &Stream,
    access: &Access,
    address: &Address,
) -> Result<Peer, sealpipe_endpoint::Error> {
    sealpipe_endpoint::prepare(stream)?;
    let peer = sealpipe_endpoint::peer_of(stream)?;
    access.check(&peer).map_err(|error| error.at(address))?;
    Ok(peer)
}
