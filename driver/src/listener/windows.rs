//! Accepting on a named pipe: several instances wait for clients, and each makes
//! the next before it hands its client over, so that the name is never without
//! one.

use super::{Intake, PAUSE, spawn};
use crate::{Error, Runtime, WriteHalf, timeout::sleep, transport::Transport};
use futures_util::{future::AbortHandle, task::noop_waker_ref};
use sealpipe_core::wire::Status;
use sealpipe_endpoint::{
    AcceptErrorKind, Access, Address, Claim, Peer, accept_error_kind, client_of,
};
use std::{
    os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle},
    sync::{Arc, OnceLock},
    task::Context,
};

/// Instances that wait for a client at any time.
const WAITING: usize = 4;

pub(super) fn start<R: Runtime>(
    listener: sealpipe_endpoint::Listener,
    intake: Intake<R>,
) -> Result<Vec<AbortHandle>, Error> {
    let (instances, claim) = waiting::<R>(listener)?;
    let claim = Arc::new(claim);
    let start = |pipe| spawn::<R>(accept_all::<R>(pipe, claim.clone(), intake.clone()));
    Ok(instances.into_iter().map(start).collect())
}

/// What waits for clients.
pub(crate) fn waiting<R: Runtime>(
    listener: sealpipe_endpoint::Listener,
) -> Result<(Vec<R::Instance>, Claim), Error> {
    let (first, claim) = listener.into_parts();
    let mut instances = vec![instance::<R>(first)?];
    while instances.len() < WAITING {
        instances.push(instance::<R>(claim.next_instance()?)?);
    }
    Ok((instances, claim))
}

fn instance<R: Runtime>(pipe: OwnedHandle) -> Result<R::Instance, Error> {
    R::instance(pipe).map_err(Error::io("registering an instance of the pipe"))
}

async fn accept_all<R: Runtime>(mut pipe: R::Instance, claim: Arc<Claim>, intake: Intake<R>) {
    loop {
        take_in(next_client::<R>(&mut pipe, &claim).await, &intake);
    }
}

/// Waits for a client, and puts the next instance in the place of its own.
pub(crate) async fn next_client<R: Runtime>(pipe: &mut R::Instance, claim: &Claim) -> R::Instance {
    loop {
        match R::client_came(pipe).await {
            Ok(()) => {
                let next = next_instance::<R>(claim).await;
                return std::mem::replace(pipe, next);
            }
            Err(error) if accept_error_kind(&error) == AcceptErrorKind::Pause => {
                tracing::warn!(address = %claim.address(), %error, "accepting rests");
                sleep::<R>(PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(address = %claim.address(), %error, "a client left before it was accepted");
                *pipe = next_instance::<R>(claim).await;
            }
        }
    }
}

/// Keeps trying: the name must not be let go of.
async fn next_instance<R: Runtime>(claim: &Claim) -> R::Instance {
    loop {
        let made = claim
            .next_instance()
            .map_err(Error::from)
            .and_then(instance::<R>);
        match made {
            Ok(pipe) => return pipe,
            Err(error) => {
                tracing::warn!(address = %claim.address(), %error, "no further instance of the pipe, waiting");
                sleep::<R>(PAUSE).await;
            }
        }
    }
}

fn take_in<R: Runtime>(pipe: R::Instance, intake: &Intake<R>) {
    let (read, mut write) = match R::accepted(pipe) {
        Ok(halves) => halves,
        Err(error) => {
            tracing::warn!(address = %intake.address, %error, "the runtime did not take a client's pipe");
            return;
        }
    };
    let Some(permit) = intake.permit() else {
        // A client that does not hear it hears of the end.
        if let Some(mut refusal) = intake.refusal(Status::Busy) {
            let mut context = Context::from_waker(noop_waker_ref());
            let _ = write.poll_write(&mut context, &mut refusal);
        }
        return;
    };
    let address = Some(intake.address.clone());
    let (transport, peer) = Transport::unverified((read, write), intake.access.clone(), address);
    intake.shake_hands(transport, peer, permit);
}

impl<R: Runtime> Transport<R> {
    /// A server's end, whose client is checked with the first bytes that come; and where
    /// it will then be told who that is.
    pub(crate) fn unverified(
        halves: (R::Read, R::Write),
        access: Access,
        address: Option<Address>,
    ) -> (Transport<R>, Arc<OnceLock<Peer>>) {
        let mut transport = Transport::native(halves);
        let peer = Arc::new(OnceLock::new());
        let found = peer.clone();
        transport.verify = Some(Box::new(move |pipe: BorrowedHandle<'_>| {
            let peer = verified(&pipe, &access, address.as_ref());
            peer.is_ok_and(|peer| found.set(peer).is_ok())
        }));
        (transport, peer)
    }
}

/// Who the client is, of whom the first bytes were read.
pub(crate) fn verified(
    pipe: &impl AsHandle,
    access: &Access,
    address: Option<&Address>,
) -> Result<Peer, sealpipe_endpoint::Error> {
    client_of(pipe)
        .and_then(|peer| access.check(&peer).map(|()| peer))
        .map_err(|error| match address {
            Some(address) => error.at(address),
            None => error,
        })
        .inspect_err(|error| tracing::warn!(%error, "a client was refused"))
}
