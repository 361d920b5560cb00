//! Accepting on a named pipe: several instances wait for clients, and each makes
//! the next before it hands its client over, so that the name is never without
//! one.

use super::Intake;
use crate::{Error, windows};
use sealpipe_endpoint::{AcceptErrorKind, Claim, accept_error_kind, client_of};
use std::{
    os::windows::io::BorrowedHandle,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::windows::named_pipe::NamedPipeServer, task::AbortHandle};

/// Instances that wait for a client at any time.
const WAITING: usize = 4;
/// How long making instances rests when the system has no more of something.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn start(
    listener: sealpipe_endpoint::Listener,
    intake: Intake,
) -> Result<Vec<AbortHandle>, Error> {
    let (first, claim) = listener.into_parts();
    let claim = Arc::new(claim);
    let mut instances = vec![windows::instance(first)?];
    while instances.len() < WAITING {
        instances.push(windows::instance(claim.next_instance()?)?);
    }
    let start = |pipe| tokio::spawn(accept_all(pipe, claim.clone(), intake.clone())).abort_handle();
    Ok(instances.into_iter().map(start).collect())
}

async fn accept_all(mut pipe: NamedPipeServer, claim: Arc<Claim>, intake: Intake) {
    loop {
        match pipe.connect().await {
            Ok(()) => {
                let next = next_instance(&claim).await;
                take_in(std::mem::replace(&mut pipe, next), &intake);
            }
            Err(error) if accept_error_kind(&error) == AcceptErrorKind::Pause => {
                tracing::warn!(address = %claim.address(), %error, "accepting rests");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(address = %claim.address(), %error, "a client left before it was accepted");
                pipe = next_instance(&claim).await;
            }
        }
    }
}

/// Keeps trying: the name must not be let go of.
async fn next_instance(claim: &Claim) -> NamedPipeServer {
    loop {
        let made = claim
            .next_instance()
            .map_err(Error::from)
            .and_then(windows::instance);
        match made {
            Ok(pipe) => return pipe,
            Err(error) => {
                tracing::warn!(address = %claim.address(), %error, "no further instance of the pipe, waiting");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn take_in(pipe: NamedPipeServer, intake: &Intake) {
    let Some(permit) = intake.permit() else {
        tracing::warn!(address = %intake.address, "too many handshakes at once, a client was sent away");
        return;
    };
    let peer = Arc::new(OnceLock::new());
    let (found, access, address) = (peer.clone(), intake.access.clone(), intake.address.clone());
    let verify = move |pipe: BorrowedHandle<'_>| {
        let checked = client_of(&pipe).and_then(|peer| access.check(&peer).map(|()| peer));
        match checked.map_err(|error| error.at(&address)) {
            Ok(peer) => found.set(peer).is_ok(),
            Err(error) => {
                tracing::warn!(%error, "a client was refused");
                false
            }
        }
    };
    intake.shake_hands(windows::server(pipe, verify), peer, permit);
}
