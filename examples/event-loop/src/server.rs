//! The loop: which connection is ready or due, and who is accepted.

use crate::{Listener, client::Client};
use mio::{Events, Poll, Token, Waker};
use sealpipe_core::{Config, Time};
use sealpipe_endpoint::{AcceptErrorKind, Address, Endpoint, accept_error_kind};
use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

const STOP: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;

/// How long accepting rests when the process or the system is out of
/// descriptors: asking again at once would only spin.
const REST: Duration = Duration::from_millis(50);

/// How many are accepted before the others have their turn.
const BATCH: usize = 64;

/// An echo server that runs on the thread that calls [`run`](Self::run).
pub struct Server {
    poll: Poll,
    stop: Arc<Waker>,
    address: Address,
    /// Gone once the server stops.
    listener: Option<Listener>,
    config: Arc<Config>,
    clients: HashMap<Token, Client>,
    max_clients: usize,
    /// Never given out twice, so that no late event reaches another client.
    next_token: usize,
    /// When to look at whom, should nothing happen before.
    timers: BTreeSet<(Time, Token)>,
    /// What is read goes through here; no connection needs a buffer of its own.
    scratch: Vec<u8>,
    origin: Instant,
}

impl Server {
    /// Claims the endpoint for programs of the same user, and serves up to
    /// `max_clients` of them at a time; who comes then waits to be accepted.
    ///
    /// # Errors
    /// What the system, or the endpoint's owner, has against it.
    pub fn bind(
        endpoint: &Endpoint,
        config: impl Into<Arc<Config>>,
        max_clients: usize,
    ) -> Result<Server, Box<dyn Error>> {
        let poll = Poll::new()?;
        let listener = Listener::bind(endpoint, poll.registry(), LISTENER)?;
        Ok(Server {
            stop: Arc::new(Waker::new(poll.registry(), STOP)?),
            poll,
            address: listener.address().clone(),
            listener: Some(listener),
            config: config.into(),
            clients: HashMap::new(),
            max_clients,
            next_token: FIRST_CLIENT,
            timers: BTreeSet::new(),
            scratch: vec![0; 64 << 10],
            origin: Instant::now(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Wake it, from any thread, and the server stops: replies that are queued
    /// still go out, then every client is told goodbye.
    pub fn stopper(&self) -> Arc<Waker> {
        self.stop.clone()
    }

    /// Serves until it is [stopped](Self::stopper).
    ///
    /// # Errors
    /// If waiting for events, or listening, has become impossible.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        // An instance of a pipe tells of its client only once it has been asked.
        self.wake_at(Time::ZERO, LISTENER);
        while self.listener.is_some() || !self.clients.is_empty() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.now();
            let mut turns: Vec<Token> = events.iter().map(|event| event.token()).collect();
            while self.timers.first().is_some_and(|(at, _)| *at <= now) {
                turns.extend(self.timers.pop_first().map(|(_, token)| token));
            }
            for token in turns {
                match token {
                    STOP => self.stop(now),
                    LISTENER => self.accept(now)?,
                    client => self.run_client(client, now),
                }
            }
        }
        Ok(())
    }

    fn now(&self) -> Time {
        // 584 years fit.
        Time::ZERO.saturating_add(self.origin.elapsed())
    }

    fn timeout(&self) -> Option<Duration> {
        let (at, _) = self.timers.first()?;
        Some(at.saturating_since(self.now()))
    }

    fn wake_at(&mut self, at: Time, token: Token) {
        self.timers.insert((at, token));
    }

    fn run_client(&mut self, token: Token, now: Time) {
        // It may have gone in this very turn.
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if let Some(at) = client.due.take() {
            self.timers.remove(&(at, token));
        }
        client.run(now, &mut self.scratch);
        if !client.is_over(now) {
            self.timers.extend(client.due.map(|at| (at, token)));
            return;
        }
        // Dropping it closes the stream, which mio forgets then.
        self.clients.remove(&token);
        if self.clients.len() + 1 == self.max_clients {
            self.wake_at(now, LISTENER);
        }
    }

    /// Accepts until nobody waits, or there is no room; it is called again when
    /// somebody comes, or there is room.
    fn accept(&mut self, now: Time) -> io::Result<()> {
        for _ in 0..BATCH {
            let Some(listener) = &mut self.listener else {
                return Ok(());
            };
            if self.clients.len() >= self.max_clients {
                return Ok(());
            }
            let token = Token(self.next_token);
            match listener.accept(self.poll.registry(), token) {
                Ok(stream) => {
                    self.next_token += 1;
                    match Client::new(stream, self.config.clone(), now) {
                        Ok(client) => {
                            self.clients.insert(token, client);
                            self.run_client(token, now);
                        }
                        Err(error) => tracing::warn!(%error, "a client was sent away"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => match accept_error_kind(&error) {
                    AcceptErrorKind::Fatal => return Err(error),
                    AcceptErrorKind::Pause => {
                        tracing::warn!(%error, "accepting rests");
                        self.wake_at(now.saturating_add(REST), LISTENER);
                        return Ok(());
                    }
                    _ => tracing::debug!(%error, "a client left before it was accepted"),
                },
            }
        }
        self.wake_at(now, LISTENER);
        Ok(())
    }

    fn stop(&mut self, now: Time) {
        // On Unix a successor can have the name from here on; that of a pipe is
        // kept by those that are connected.
        self.listener = None;
        let tokens: Vec<Token> = self.clients.keys().copied().collect();
        for token in tokens {
            if let Some(client) = self.clients.get_mut(&token) {
                client.connection.abandon(now);
            }
            self.run_client(token, now);
        }
    }
}
