//! A server: it serves many clients at once, until it is stopped.

mod client;
mod events;
mod handler;
mod options;
mod serving;

use crate::{Connection, Error, Listener, Runtime, shared::lock};
use bytes::Bytes;
pub use client::{Client, ClientId};
use event_listener::{Event, EventListener};
use events::Watchers;
pub use events::{Happening, Observer, Report, ServerEvent, ServerEvents};
use futures_util::future::{Either, select};
pub use handler::{Handler, Response};
pub use options::ServerOptions;
use options::{Options, Spawner};
use sealpipe_core::{
    Close, Kind, Message, Received, Time,
    service::{Offered, Pattern, PatternError, RemoteError, Topics, check_topic},
};
use sealpipe_endpoint::{Address, Endpoint};
use serving::Serving;
use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// A running server: a handle, of which clones are the same server. It runs until
/// it is [stopped](Self::stop), also when all handles are dropped.
pub struct Server<R: Runtime>(Arc<Inner<R>>);

struct Inner<R: Runtime> {
    address: Address,
    options: Options,
    watchers: Watchers,
    state: Mutex<State<R>>,
    /// Who wants which topics.
    topics: Mutex<Topics<ClientId>>,
    /// The phase has changed.
    changed: Event,
    /// A client has gone.
    left: Event,
    /// It is to stop: a look at the state without its lock.
    stopping: AtomicBool,
    /// When a client last sent something, in nanoseconds of the runtime's clock.
    last_heard: AtomicU64,
    messages: AtomicU64,
}

struct State<R: Runtime> {
    phase: Phase,
    clients: BTreeMap<ClientId, Client<R>>,
    report: Report,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Since when, and until when at most.
    Stopping(Time, Time),
    Stopped,
}

impl<R: Runtime> Server<R> {
    /// Serves clients of the same user at `endpoint`, with every default; see
    /// [`ServerOptions`].
    ///
    /// # Errors
    /// As [`ListenOptions::bind`](crate::ListenOptions::bind).
    ///
    /// # Panics
    /// As [`ListenOptions::bind`](crate::ListenOptions::bind).
    pub fn start(
        endpoint: &Endpoint,
        config: impl Into<Arc<sealpipe_core::Config>>,
        handler: impl Handler<R>,
    ) -> Result<Server<R>, Error> {
        ServerOptions::new(config).start(endpoint, handler)
    }

    fn run(
        listener: Listener<R>,
        options: Options,
        watchers: Watchers,
        spawner: &Spawner,
        handler: impl Handler<R>,
    ) -> Server<R> {
        let inner = Arc::new(Inner {
            address: listener.address().clone(),
            options,
            watchers,
            state: Mutex::new(State {
                phase: Phase::Running,
                clients: BTreeMap::new(),
                report: Report::default(),
            }),
            topics: Mutex::default(),
            changed: Event::new(),
            left: Event::new(),
            stopping: AtomicBool::new(false),
            last_heard: AtomicU64::new(R::now().as_nanos()),
            messages: AtomicU64::new(0),
        });
        inner.watchers.tell(|| Happening::Started {
            address: inner.address.clone(),
        });
        let spawn = spawner.clone();
        spawner(Box::pin(accept(
            Ending(inner.clone()),
            listener,
            Arc::new(handler),
            spawn,
        )));
        Server(inner)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// Whether it accepts clients: it has not been stopped.
    pub fn is_running(&self) -> bool {
        lock(&self.0.state).phase == Phase::Running
    }

    /// The clients that are connected now.
    pub fn clients(&self) -> Vec<Client<R>> {
        lock(&self.0.state).clients.values().cloned().collect()
    }

    /// The client of that name, if it is connected.
    pub fn client(&self, id: ClientId) -> Option<Client<R>> {
        lock(&self.0.state).clients.get(&id).cloned()
    }

    /// What happens from now on.
    pub fn events(&self) -> ServerEvents {
        self.0.watchers.watch()
    }

    /// How its life has been so far.
    pub fn report(&self) -> Report {
        lock(&self.0.state).report
    }

    /// Begins to stop: no more clients are accepted and no more messages taken;
    /// handlers may run on, and what is queued be sent, for at most `within`; then
    /// connections are closed. What was not taken is reported to its senders as not
    /// sent. [`stopped`](Self::stopped) waits for the end. Called again, it can only make
    /// that time shorter.
    pub fn begin_stop(&self, within: Duration) {
        self.0.begin_stop(within);
    }

    /// [Stops](Self::begin_stop), and waits for the end. A handler that calls this is
    /// one of those that run on until it is over: let it [begin](Self::begin_stop) the
    /// stop and return.
    pub async fn stop(&self, within: Duration) -> Report {
        self.begin_stop(within);
        self.stopped().await
    }

    /// Waits until it has stopped, whatever made it stop.
    pub async fn stopped(&self) -> Report {
        loop {
            let changed = self.0.changed.listen();
            {
                let state = lock(&self.0.state);
                if state.phase == Phase::Stopped {
                    return state.report;
                }
            }
            changed.await;
        }
    }

    /// Sends an event to every client that has subscribed to a pattern that matches
    /// `topic`, once; says to how many. What waits for a client that is slow is
    /// bounded by [`ServerOptions::backlog`], which also says whether this waits for
    /// it; the others get the event first.
    ///
    /// # Errors
    /// [`PatternError`] if that is no topic to publish to.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Result<usize, PatternError> {
        self.0.publish(topic, payload.into(), None).await
    }
}

impl<R: Runtime> Inner<R> {
    fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut lock(&self.state).report);
    }

    fn begin_stop(&self, within: Duration) {
        let now = R::now();
        let until = now.saturating_add(within);
        let mut state = lock(&self.state);
        let since = match state.phase {
            Phase::Running => now,
            Phase::Stopping(since, before) if until < before => since,
            _ => return,
        };
        state.phase = Phase::Stopping(since, until);
        drop(state);
        tracing::debug!(address = %self.address, ?within, "stopping");
        self.stopping.store(true, Ordering::Relaxed);
        self.changed.notify(usize::MAX);
    }

    /// Until when the server stops, once it does. Wakes where that changes.
    fn poll_stopping(
        &self,
        changed: &mut EventListener,
        context: &mut Context<'_>,
    ) -> Option<Time> {
        while Pin::new(&mut *changed).poll(context).is_ready() {
            *changed = self.changed.listen();
        }
        match lock(&self.state).phase {
            Phase::Stopping(_, until) => Some(until),
            _ => None,
        }
    }

    fn is_stop_message(&self, message: &Received) -> bool {
        message.kind == Kind::Message
            && self.options.stop_message.as_ref() == Some(&message.payload)
    }

    /// A client has sent something.
    fn note(&self, kind: Kind) {
        self.last_heard
            .store(R::now().as_nanos(), Ordering::Relaxed);
        if !matches!(kind, Kind::Message | Kind::Request) {
            return;
        }
        let count = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if self.options.max_messages.is_some_and(|max| count >= max) {
            self.begin_stop(self.options.stop_timeout);
        }
    }

    /// When to stop for lack of messages.
    fn idle_until(&self) -> Option<Time> {
        let last = Time::from_nanos(self.last_heard.load(Ordering::Relaxed));
        Some(last.saturating_add(self.options.idle?))
    }

    /// A client subscribes, or takes that back.
    fn subscription(&self, client: &Client<R>, request: &Received) -> Result<Bytes, RemoteError> {
        let no = |why| Err(RemoteError::new(RemoteError::NO_TOPIC, why));
        let pattern = match Pattern::new(request.topic.as_deref().unwrap_or_default()) {
            Ok(pattern) => pattern,
            Err(error) => return no(error.to_string()),
        };
        let (mut topics, id) = (lock(&self.topics), client.id());
        if request.kind == Kind::Unsubscribe {
            topics.remove(&pattern, &id);
        } else if topics.insert(&pattern, id) && topics.count(&id) > self.options.subscriptions {
            topics.remove(&pattern, &id);
            return no(format!(
                "a client may have {} subscriptions; take some back first",
                self.options.subscriptions
            ));
        }
        Ok(Bytes::new())
    }

    async fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        from: Option<ClientId>,
    ) -> Result<usize, PatternError> {
        check_topic(topic)?;
        // A topic has been checked for its length.
        let Ok(event) = Message::event(topic, payload) else {
            return Ok(0);
        };
        let mut matching = Vec::new();
        lock(&self.topics).matching(topic, |id| matching.push(*id));
        let clients: Vec<_> = {
            let state = lock(&self.state);
            let others = matching.into_iter().filter(|id| Some(*id) != from);
            others
                .filter_map(|id| state.clients.get(&id).cloned())
                .collect()
        };
        let mut reached = 0;
        let mut full = Vec::new();
        for client in clients {
            match client.offer(event.clone()) {
                Offered::Taken | Offered::Dropped(_) => reached += 1,
                Offered::Full(_) => full.push(client),
                Offered::Overrun(_) => {
                    let why = "the client does not take its events as fast as they come";
                    client.start_disconnect(Close::new(Close::LIMIT, why));
                }
            }
        }
        for client in full {
            reached += usize::from(client.offer_when_room(event.clone()).await);
        }
        Ok(reached)
    }

    /// A client has come, unless there are too many.
    fn admit(
        self: &Arc<Self>,
        connection: Connection<R>,
    ) -> Option<(Client<R>, crate::Receiver<R>)> {
        let mut state = lock(&self.state);
        if state.clients.len() >= self.options.max_clients {
            drop(state);
            let why = "the server has as many clients as it may have; try again later";
            connection.start_close(Close::new(Close::LIMIT, why));
            return None;
        }
        state.report.clients += 1;
        let id = ClientId(state.report.clients);
        let (sender, receiver) = connection.split();
        let client = Client::new(self, id, sender);
        state.clients.insert(id, client.clone());
        drop(state);
        self.watchers.tell(|| Happening::Connected {
            client: id,
            peer: client.peer().cloned(),
        });
        Some((client, receiver))
    }
}

/// Takes a client off the books, also if its task is dropped.
struct Leaving<R: Runtime> {
    server: Arc<Inner<R>>,
    client: Client<R>,
}

impl<R: Runtime> Drop for Leaving<R> {
    fn drop(&mut self) {
        let id = self.client.id();
        lock(&self.server.topics).remove_all(&id);
        lock(&self.server.state).clients.remove(&id);
        self.client.set_gone();
        self.server.left.notify(usize::MAX);
    }
}

/// The server has stopped when this is dropped, also with its task.
struct Ending<R: Runtime>(Arc<Inner<R>>);

impl<R: Runtime> Drop for Ending<R> {
    fn drop(&mut self) {
        let server = &self.0;
        let report = {
            let mut state = lock(&server.state);
            match state.phase {
                Phase::Stopping(since, _) => {
                    state.report.stopping = R::now().saturating_since(since);
                }
                // Its runtime has dropped it.
                _ => state.report.failed = true,
            }
            state.phase = Phase::Stopped;
            state.report
        };
        server.watchers.tell(|| Happening::Stopped(report));
        server.changed.notify(usize::MAX);
    }
}

/// The task of the server itself.
async fn accept<R: Runtime, H: Handler<R>>(
    ending: Ending<R>,
    mut listener: Listener<R>,
    handler: Arc<H>,
    spawn: Spawner,
) {
    let server = &ending.0;
    let mut changed = server.changed.listen();
    loop {
        let connection = match next_turn(server, &mut listener, &mut changed).await {
            Turn::Came(Ok(connection)) => connection,
            Turn::Came(Err(error)) => {
                tracing::error!(%error, address = %server.address, "the server cannot accept");
                server.count(|report| report.failed = true);
                server.begin_stop(server.options.stop_timeout);
                break;
            }
            Turn::Stop => break,
            Turn::Idle => {
                // Messages may have come meanwhile.
                if server.idle_until().is_some_and(|until| until <= R::now()) {
                    server.begin_stop(server.options.stop_timeout);
                }
                continue;
            }
        };
        if let Some((client, receiver)) = server.admit(connection) {
            let leaving = Leaving {
                server: server.clone(),
                client,
            };
            let serving = Serving::new(server, &handler, &leaving.client, receiver);
            spawn(Box::pin(async move {
                serving.run().await;
                drop(leaving);
            }));
        }
    }
    // A socket that has a path is free for others from here on.
    drop(listener);
    loop {
        let left = server.left.listen();
        if lock(&server.state).clients.is_empty() {
            break;
        }
        left.await;
    }
}

/// What the server's task has to do next.
enum Turn<R: Runtime> {
    Came(Result<Connection<R>, Error>),
    Stop,
    Idle,
}

async fn next_turn<R: Runtime>(
    server: &Inner<R>,
    listener: &mut Listener<R>,
    changed: &mut EventListener,
) -> Turn<R> {
    let came = pin!(listener.accept());
    let stop = pin!(poll_fn(|context| {
        match server.poll_stopping(changed, context) {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }));
    let idle = pin!(wait_until::<R>(server.idle_until()));
    match select(came, select(stop, idle)).await {
        Either::Left((came, _)) => Turn::Came(came),
        Either::Right((Either::Left(_), _)) => Turn::Stop,
        Either::Right((Either::Right(_), _)) => Turn::Idle,
    }
}

async fn wait_until<R: Runtime>(at: Option<Time>) {
    match at {
        Some(at) => R::timer(at).await,
        None => std::future::pending().await,
    }
}

impl<R: Runtime> Clone for Server<R> {
    fn clone(&self) -> Server<R> {
        Server(self.0.clone())
    }
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("Server")
            .field("address", &self.0.address)
            .field("running", &(state.phase == Phase::Running))
            .field("clients", &state.clients.len())
            .finish_non_exhaustive()
    }
}
