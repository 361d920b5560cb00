//! From a stream to a connection: the handshake, and sessions that go on over
//! another stream.

use crate::{
    Connection, Error, Runtime,
    background::{Background, Dial},
    call::First,
    connection::Owner,
    shared::{Shared, lock},
    transport::Transport,
    waiting::Waiting,
};
use sealpipe_core::{
    Config, Connection as Core, ConnectionError, Opened, Role,
    session::{Interest, Resuming},
    wire::Status,
};
use sealpipe_endpoint::Peer;
use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, OnceLock, Weak},
};

/// The sessions of a listener's connections that can be resumed, by their ids.
pub(crate) struct Sessions<R: Runtime>(Mutex<HashMap<[u8; 16], Known<R>>>);

struct Known<R: Runtime> {
    shared: Weak<Shared<R>>,
    peer: Arc<OnceLock<Peer>>,
}

impl<R: Runtime> Default for Sessions<R> {
    fn default() -> Sessions<R> {
        Sessions(Mutex::default())
    }
}

impl<R: Runtime> Sessions<R> {
    fn insert(&self, session: [u8; 16], shared: &Arc<Shared<R>>, peer: &Arc<OnceLock<Peer>>) {
        let mut known = lock(&self.0);
        known.retain(|_, known| known.shared.strong_count() > 0);
        let shared = Arc::downgrade(shared);
        let peer = peer.clone();
        known.insert(session, Known { shared, peer });
    }

    /// Only for the user who opened it.
    fn find(&self, session: [u8; 16], peer: &OnceLock<Peer>) -> Option<Arc<Shared<R>>> {
        let known = lock(&self.0);
        let found = known.get(&session)?;
        let user = |peer: &OnceLock<Peer>| peer.get().map(|peer| peer.user.clone());
        (user(&found.peer) == user(peer)).then(|| found.shared.upgrade())?
    }
}

/// A connection whose handshake is under way. Dropped, it closes the stream.
pub(crate) struct Opening<R: Runtime> {
    owner: Owner<R>,
    role: Role,
}

/// What a handshake has come to.
enum Step {
    Open(Option<Opened>),
    Resuming(Resuming),
}

impl<R: Runtime> Opening<R> {
    /// `dial` gets another stream where this one is lost and the session can be
    /// resumed.
    pub(crate) fn begin(
        transport: Transport<R>,
        role: Role,
        config: Arc<Config>,
        peer: Arc<OnceLock<Peer>>,
        dial: Option<Dial<R>>,
    ) -> Result<Opening<R>, Error> {
        let core = Core::new(config.clone(), role, &mut getrandom::SysRng, R::now())?;
        let shared = Arc::new(Shared::new(core, transport));
        R::look_after(Background::new(shared.clone(), dial));
        let owner = Owner {
            shared,
            peer,
            config,
            handshake_hash: None,
        };
        Ok(Opening { owner, role })
    }

    /// Waits for the handshake of a stream that no earlier session can go on over.
    pub(crate) async fn alone(self) -> Result<Connection<R>, Error> {
        let opened = self.finish(&Sessions::default()).await?;
        // Only a session that is known takes a stream.
        opened.ok_or(Error::Connection(ConnectionError::Finished))
    }

    /// Waits for the handshake; `None` if the stream went to a session that is known.
    pub(crate) async fn finish(
        mut self,
        sessions: &Sessions<R>,
    ) -> Result<Option<Connection<R>>, Error> {
        let mut earlier = None;
        let opened = loop {
            let step = self.next_step().await.inspect_err(|error| {
                tracing::debug!(%error, role = ?self.role, "handshake failed");
            })?;
            match step {
                Step::Open(opened) => break opened,
                Step::Resuming(Resuming::Asked(session)) => {
                    earlier = sessions.find(session, &self.owner.peer);
                    self.answer(earlier.as_deref());
                }
                Step::Resuming(Resuming::Ready) => {
                    self.hand_over(earlier.as_deref());
                    return Ok(None);
                }
            }
        };
        // Whoever drives next asks the transport itself, rather than rely on the thread that
        // ran the handshake to hear of what comes.
        self.owner.shared.disarm();
        let hash = opened.and_then(|opened| opened.handshake_hash);
        let wire = self.owner.config.wire();
        tracing::debug!(role = ?self.role, %wire, sealed = hash.is_some(), "connection open");
        self.owner.handshake_hash = hash.map(Box::new);
        let session = self
            .owner
            .shared
            .session(|session| session.connection().session());
        if let (Role::Responder, Some(session)) = (self.role, session) {
            sessions.insert(session, &self.owner.shared, &self.owner.peer);
        }
        Ok(Some(Connection::new(self.owner)))
    }

    async fn next_step(&self) -> Result<Step, Error> {
        let mut waiting = Waiting::new(&self.owner.shared);
        poll_fn(|context| {
            waiting.poll(context, Interest::Progress, First::Write, |session| {
                if let Some(resuming) = session.resuming() {
                    return Some(Ok(Step::Resuming(resuming)));
                }
                match (session.opened(), session.connection().end()) {
                    // The initiator's first record must have gone out, too.
                    (Some(_), None) if session.is_opening() => None,
                    // Also if the peer has gone again: what it sent before is there
                    // to be received.
                    (Some(_), _) => Some(Ok(Step::Open(session.take_opened()))),
                    (None, end) => end.map(|end| Err(end.clone().into())),
                }
            })
        })
        .await
    }

    /// Tells the peer where the session stands that it asks for.
    fn answer(&self, earlier: Option<&Shared<R>>) {
        let now = R::now();
        let point = earlier.map(|earlier| earlier.resume_point(now));
        self.owner.shared.with(|session, waiters| match point {
            // Its stream has not ended for us yet: the peer tries again.
            Some(None) => session.refuse_to_resume(Status::Busy, waiters),
            point => session.answer_resume(now, point.flatten(), waiters),
        });
    }

    fn hand_over(&self, earlier: Option<&Shared<R>>) {
        let fresh = &self.owner.shared;
        match earlier.map(|earlier| earlier.adopt(fresh, R::now())) {
            Some(Ok(())) => tracing::debug!("a session goes on over another stream"),
            Some(Err(error)) => {
                tracing::debug!(%error, "a session does not go on, the peer tries again");
                fresh.drop_stream();
            }
            None => fresh.drop_stream(),
        }
    }
}
