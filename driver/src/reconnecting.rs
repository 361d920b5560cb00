//! A client that connects when it is first used, and again after a loss.

use crate::{
    ConnectOptions, Connection, Error, Event, Incoming, RequestError, Runtime, SendError,
    SubscribeError, Subscription,
    call::First,
    ending::ended,
    shared::lock,
    timeout::{sleep, timeout},
};
use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use sealpipe_core::{ConnectionError, Message, Outcome, SendErrorReason, Time, session::Backlog};
use sealpipe_endpoint::{Backoff, Endpoint};
use std::{
    fmt, io, mem,
    ops::Deref,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a [`ReconnectingClient`] tells of its connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// It is connected; the number counts from 1.
    Connected(u64),
    /// The connection has ended, and the next use makes another one. What was under
    /// way has its outcome.
    Ended(ConnectionError),
}

type Observe = dyn Fn(&Change) + Send + Sync;

/// A client that connects when it is first used, and again, with jittered back-off,
/// when it is used after a loss or a disconnect. Clones share the connection.
///
/// A message that surely was not delivered when a connection ended is sent again over
/// the next one, as long as its time allows; one of which that is not known is
/// reported as [`SendError::Unknown`], for only the program knows whether a second
/// copy does harm. Order holds within a connection.
///
/// With [`resumption`](sealpipe_core::ConfigBuilder::resumption) on both sides a
/// connection goes on by itself when its stream is lost, and all of this is only for
/// when that cannot be: the server took too long to come back.
pub struct ReconnectingClient<R: Runtime>(Arc<Inner<R>>);

struct Inner<R: Runtime> {
    endpoint: Endpoint,
    options: ConnectOptions<R>,
    observe: Option<Box<Observe>>,
    current: Mutex<Current<R>>,
    /// Nobody connects any more: there is a connection, or somebody else may try.
    settled: event_listener::Event,
}

struct Current<R: Runtime> {
    connection: Option<Arc<Connection<R>>>,
    /// Somebody connects, for all who wait.
    connecting: bool,
    count: u64,
    /// When it was made.
    since: Time,
    /// How long to rest before the next one, if this one was short.
    backoff: Option<Backoff>,
}

/// A connection that lasts so long was none that the server did not want.
const LASTING: Duration = Duration::from_secs(1);

impl<R: Runtime> ReconnectingClient<R> {
    /// A client of the server at `endpoint`; `options` say how long each connecting
    /// may take and how often it is tried. Nothing happens yet.
    pub fn new(endpoint: Endpoint, options: ConnectOptions<R>) -> ReconnectingClient<R> {
        ReconnectingClient(Arc::new(Inner {
            endpoint,
            options,
            observe: None,
            current: Mutex::new(Current {
                connection: None,
                connecting: false,
                count: 0,
                since: Time::ZERO,
                backoff: None,
            }),
            settled: event_listener::Event::new(),
        }))
    }

    /// The same, telling `observe` whenever it is connected or has lost that, one after
    /// the other; whoever needs a connection waits meanwhile, so `observe` must not wait
    /// for this client. To be called before the client is used: later it changes nothing.
    #[must_use]
    pub fn with_observer(mut self, observe: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.observe = Some(Box::new(observe));
        }
        self
    }

    /// The connection that stands, or a new one.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`].
    pub async fn connection(&self) -> Result<Arc<Connection<R>>, Error> {
        let mut settled = None;
        let one = loop {
            let connecting = {
                let mut current = lock(&self.0.current);
                if let Some(connection) = current.standing() {
                    return Ok(connection);
                }
                mem::replace(&mut current.connecting, true)
            };
            if !connecting {
                break Connecting(self.clone());
            }
            // It may have settled before this one listened: then it looks again.
            match settled.take() {
                None => settled = Some(self.0.settled.listen()),
                Some(settled) => settled.await,
            }
        };
        // In a task: others wait for it, and may be what keeps this future from going on.
        let (mut tell, told) = oneshot::channel();
        R::spawn(async move {
            let connected = match select(pin!(one.connect()), tell.cancellation()).await {
                Either::Left((connected, _)) => connected,
                // Who wanted it has given up: others try themselves.
                Either::Right(_) => return,
            };
            drop(one);
            let _ = tell.send(connected);
        });
        let ends = |_| Error::io("connecting")(io::Error::other("the runtime shuts down"));
        told.await.map_err(ends)?
    }

    async fn connection_by(&self, until: Time) -> Result<Arc<Connection<R>>, SendError> {
        timeout::<R, _>(time_left::<R>(until), self.connection())
            .await
            .map_err(|_| SendError::NotSent(None))?
            .map_err(SendError::not_connected)
    }

    /// Connects, where there is no connection that stands. What has changed is told by
    /// one at a time, so in order.
    async fn connect(&self) -> Result<Arc<Connection<R>>, Error> {
        self.forget();
        if let Some(rest) = self.rest() {
            sleep::<R>(rest).await;
        }
        let connection = Arc::new(self.0.options.connect(&self.0.endpoint).await?);
        let count = {
            let mut current = lock(&self.0.current);
            current.count += 1;
            current.since = R::now();
            current.connection = Some(connection.clone());
            current.count
        };
        self.tell(&Change::Connected(count));
        Ok(connection)
    }

    /// How long to rest before connecting: a server that takes connections and ends
    /// them at once is not to be run against.
    fn rest(&self) -> Option<Duration> {
        let mut current = lock(&self.0.current);
        let now = R::now();
        if current.count == 0 || now.saturating_since(current.since) >= LASTING {
            current.backoff = None;
            return None;
        }
        let seed = now.as_nanos() ^ u64::from(std::process::id()).rotate_left(32);
        let backoff = current.backoff.get_or_insert_with(|| Backoff::new(seed));
        Some(backoff.next_delay())
    }

    /// Tells of the connection that has ended, if that was not told.
    fn forget(&self) {
        let Some(ended) = lock(&self.0.current).connection.take() else {
            return;
        };
        let end = ended.end().unwrap_or(ConnectionError::Finished);
        tracing::debug!(%end, "to be connected again");
        self.tell(&Change::Ended(end));
    }

    fn tell(&self, change: &Change) {
        if let Some(observe) = &self.0.observe {
            observe(change);
        }
    }

    /// As [`Connection::send`]; what surely was not sent is sent again over the next
    /// connection. Connecting counts towards the message's own deadline, if it has one.
    ///
    /// # Errors
    /// As [`Connection::send`]; [`SendError::NotConnected`] if there is no server.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Outcome, SendError> {
        let mut message: Message = message.into();
        let own = message.deadline();
        let until = R::now().saturating_add(own.unwrap_or(self.0.options.send_timeout()));
        loop {
            let connection = match own {
                Some(_) => self.connection_by(until).await?,
                None => self.connection().await.map_err(SendError::not_connected)?,
            };
            if own.is_some() {
                message = message.with_deadline(time_left::<R>(until));
            }
            match connection.send(message.clone()).await {
                Err(error) if is_worth_another(&error) && R::now() < until => {}
                outcome => return outcome,
            }
        }
    }

    /// As [`Connection::request`]; what surely was not sent is sent again over the
    /// next connection. Connecting counts towards `deadline`.
    ///
    /// # Errors
    /// As [`Connection::request`]; [`SendError::NotConnected`] if there is no server.
    pub async fn request(
        &self,
        payload: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let payload = payload.into();
        let until = R::now().saturating_add(deadline);
        loop {
            // Connecting takes of the same time.
            let connection = self.connection_by(until).await?;
            let left = time_left::<R>(until);
            match connection.request(payload.clone(), left).await {
                Err(RequestError::Send(error)) if is_worth_another(&error) && !left.is_zero() => {}
                answer => return answer,
            }
        }
    }

    /// The next message of the server's, over whichever connection it comes. Where the
    /// server has finished and still takes messages, this waits for the connection's end.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`], if there is no server any more.
    pub async fn recv(&self) -> Result<Incoming<R>, Error> {
        loop {
            let connection = self.connection().await?;
            if let Ok(Some(message)) = connection.recv().await {
                return Ok(message);
            }
            // The server may have finished and not closed: it takes what is sent to it.
            ended(&connection.owner, First::Write).await;
        }
    }

    /// Asks for the events that match `pattern`, on every connection anew.
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub async fn subscribe(&self, pattern: &str) -> Result<LastingSubscription<R>, SubscribeError> {
        self.subscribe_with(pattern, Backlog::default()).await
    }

    /// The same with a backlog of one's own.
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub async fn subscribe_with(
        &self,
        pattern: &str,
        backlog: Backlog,
    ) -> Result<LastingSubscription<R>, SubscribeError> {
        let mut subscription = LastingSubscription {
            client: self.clone(),
            pattern: Box::from(pattern),
            backlog,
            current: None,
        };
        subscription.renew().await?;
        Ok(subscription)
    }

    /// Ends the connection, if there is one, when all that was sent has arrived. The
    /// next use makes another one.
    ///
    /// # Errors
    /// As [`Connection::finish`].
    pub async fn finish(&self) -> Result<(), Error> {
        let connection = lock(&self.0.current).connection.take();
        match connection {
            Some(connection) => connection.finish().await,
            None => Ok(()),
        }
    }
}

impl<R: Runtime> Current<R> {
    /// The connection, if it stands and can be sent over.
    fn standing(&self) -> Option<Arc<Connection<R>>> {
        self.connection
            .as_ref()
            .filter(|connection| connection.can_send())
            .cloned()
    }
}

/// Held while somebody connects. Dropped, it lets those who wait look again.
struct Connecting<R: Runtime>(ReconnectingClient<R>);

impl<R: Runtime> Deref for Connecting<R> {
    type Target = ReconnectingClient<R>;

    fn deref(&self) -> &ReconnectingClient<R> {
        &self.0
    }
}

impl<R: Runtime> Drop for Connecting<R> {
    fn drop(&mut self) {
        lock(&self.0.0.current).connecting = false;
        self.0.0.settled.notify(usize::MAX);
    }
}

fn time_left<R: Runtime>(until: Time) -> Duration {
    until.saturating_since(R::now())
}

/// The connection has ended, and the message surely was not delivered.
fn is_worth_another(error: &SendError) -> bool {
    matches!(
        error,
        SendError::NotSent(Some(_))
            | SendError::NotTaken {
                reason: SendErrorReason::Closed(_) | SendErrorReason::Finished,
                ..
            }
    )
}

impl<R: Runtime> Clone for ReconnectingClient<R> {
    fn clone(&self) -> ReconnectingClient<R> {
        ReconnectingClient(self.0.clone())
    }
}

impl<R: Runtime> fmt::Debug for ReconnectingClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = lock(&self.0.current);
        f.debug_struct("ReconnectingClient")
            .field("endpoint", &self.0.endpoint)
            .field("connections", &current.count)
            .field("current", &current.connection)
            .finish_non_exhaustive()
    }
}

/// What comes of a [`LastingSubscription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// An event.
    Event(Event),
    /// The connection was lost and made anew, and the subscription with it: events
    /// between may have been missed.
    Renewed,
}

/// A subscription that outlasts connections.
#[derive(Debug)]
#[must_use = "dropped, it takes the subscription back"]
pub struct LastingSubscription<R: Runtime> {
    client: ReconnectingClient<R>,
    pattern: Box<str>,
    backlog: Backlog,
    current: Option<Subscription<R>>,
}

impl<R: Runtime> LastingSubscription<R> {
    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`SubscribeError`] if the subscriber was too slow, the server does not agree
    /// any more, or there is no server any more.
    pub async fn recv(&mut self) -> Result<Update, SubscribeError> {
        if let Some(current) = &mut self.current {
            match current.recv().await {
                Ok(Some(event)) => return Ok(Update::Event(event)),
                Err(error @ SubscribeError::Overrun) => return Err(error),
                Ok(None) | Err(_) => {}
            }
            // The server may have finished and not closed.
            ended(current.owner(), First::Write).await;
            self.current = None;
        }
        self.renew().await?;
        Ok(Update::Renewed)
    }

    /// What was subscribed to.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    async fn renew(&mut self) -> Result<(), SubscribeError> {
        loop {
            let connection = self.client.connection().await;
            let connection =
                connection.map_err(|error| RequestError::Send(SendError::not_connected(error)))?;
            match connection.subscribe_with(&self.pattern, self.backlog).await {
                Ok(subscription) => {
                    self.current = Some(subscription);
                    return Ok(());
                }
                // Lost while asking: it does no harm to ask again.
                Err(SubscribeError::Refused(RequestError::Send(_)))
                    if !connection.is_connected() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
