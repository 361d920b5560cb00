//! Accepting on a Unix socket.

use super::Intake;
use crate::{Error, transport};
use sealpipe_core::{
    Connection as Core, Role, SendBuf,
    wire::{Preface, Status},
};
use sealpipe_endpoint::{AcceptErrorKind, Claim, Peer, accept_error_kind};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};

/// How long accepting rests when the process or the system is out of
/// descriptors.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn start(
    listener: sealpipe_endpoint::Listener,
    intake: Intake,
) -> Result<Vec<AbortHandle>, Error> {
    let (socket, claim) = listener.into_parts();
    let socket =
        UnixListener::from_std(socket).map_err(Error::io("registering the socket with tokio"))?;
    Ok(vec![
        tokio::spawn(accept_all(socket, claim, intake)).abort_handle(),
    ])
}

/// Ends only when listening is impossible.
async fn accept_all(socket: UnixListener, claim: Claim, intake: Intake) {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => take_in(stream, &claim, &intake),
            Err(error) => match accept_error_kind(&error) {
                AcceptErrorKind::Pause => {
                    tracing::warn!(address = %claim.address(), %error, "accepting rests");
                    tokio::time::sleep(PAUSE).await;
                }
                AcceptErrorKind::Fatal => {
                    tracing::error!(address = %claim.address(), %error, "accepting has become impossible");
                    return;
                }
                _ => {
                    tracing::debug!(address = %claim.address(), %error, "a client left before it was accepted")
                }
            },
        }
    }
}

fn take_in(stream: UnixStream, claim: &Claim, intake: &Intake) {
    let peer = match identify(&stream, claim, intake) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "a client was refused");
            return refuse(&stream, intake, Status::Refused);
        }
    };
    match intake.permit() {
        Some(permit) => intake.shake_hands(transport::unix(stream), Arc::new(peer.into()), permit),
        None => {
            tracing::warn!(address = %claim.address(), "too many handshakes at once, a client was sent away");
            refuse(&stream, intake, Status::Busy);
        }
    }
}

fn identify(
    stream: &UnixStream,
    claim: &Claim,
    intake: &Intake,
) -> Result<Peer, sealpipe_endpoint::Error> {
    sealpipe_endpoint::prepare(stream)?;
    let peer = sealpipe_endpoint::peer_of(stream)?;
    intake
        .access
        .check(&peer)
        .map_err(|error| error.at(claim.address()))?;
    Ok(peer)
}

/// Says why, as far as the socket takes 16 bytes at once, which it does.
fn refuse(stream: &UnixStream, intake: &Intake, status: Status) {
    let now = crate::clock::now();
    let Ok(mut core) = Core::new(
        intake.config.clone(),
        Role::Responder,
        &mut getrandom::SysRng,
        now,
    ) else {
        return;
    };
    core.refuse(status);
    let mut output = SendBuf::new();
    while core.poll_transmit(now, &mut output) {
        let chunk = bytes::Buf::chunk(&output);
        debug_assert_eq!(chunk.len(), Preface::LEN);
        match stream.try_write(chunk) {
            Ok(n) => bytes::Buf::advance(&mut output, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
