//! Serving one client: the task that takes its messages, runs their handlers, and
//! sends it events.

use super::{Client, Handler, Happening, Inner, Response};
use crate::{Incoming, Receiver, Request, Runtime, Sender};
use event_listener::EventListener;
use futures_core::Stream;
use futures_sink::Sink;
use futures_util::{
    FutureExt,
    future::{BoxFuture, select},
    stream::FuturesUnordered,
};
use sealpipe_core::{
    Close, ConnectionError, Kind, Received, Rejection, Time,
    service::{RateLimit, RemoteError},
};
use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

/// How a handler ended.
enum Done {
    Accepted,
    Rejected,
    Replied,
    Refused,
    Panicked,
    /// The answer could not be sent.
    Failed(String),
}

type Handling = BoxFuture<'static, Done>;

/// A client that never stops sending lets others have their turn after so many of
/// its messages.
const TURNS: usize = 64;

pub(super) struct Serving<R: Runtime, H> {
    server: Arc<Inner<R>>,
    handler: Arc<H>,
    client: Client<R>,
    receiver: Receiver<R>,
    /// For events.
    sink: Sender<R>,
    unflushed: bool,
    /// The message whose handler runs.
    message: Option<Handling>,
    /// The message that waits for it.
    next: Option<Incoming<R>>,
    requests: FuturesUnordered<Handling>,
    rate: Option<RateLimit>,
    /// The client sends too much: this has come too early.
    early: Option<(R::Timer, Incoming<R>)>,
    /// Nothing more will come.
    ended: bool,
    stop: EventListener,
    /// Until then, when the server stops.
    deadline: Deadline<R>,
}

/// When a server that stops waits no longer, once that is known.
struct Deadline<R: Runtime>(Option<(Time, R::Timer)>);

impl<R: Runtime> Deadline<R> {
    fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// It may come to be earlier.
    fn set(&mut self, at: Time) {
        if self.0.as_ref().is_none_or(|(before, _)| *before != at) {
            self.0 = Some((at, R::timer(at)));
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some((_, timer)) => Pin::new(timer).poll(context),
            None => Poll::Pending,
        }
    }
}

impl<R: Runtime, H: Handler<R>> Serving<R, H> {
    pub(super) fn new(
        server: &Arc<Inner<R>>,
        handler: &Arc<H>,
        client: &Client<R>,
        receiver: Receiver<R>,
    ) -> Serving<R, H> {
        Serving {
            server: server.clone(),
            handler: handler.clone(),
            client: client.clone(),
            receiver,
            sink: client.sender().clone(),
            unflushed: false,
            message: None,
            next: None,
            requests: FuturesUnordered::new(),
            rate: server
                .options
                .rate
                .map(|(rate, burst)| RateLimit::new(rate, burst)),
            early: None,
            ended: false,
            stop: server.changed.listen(),
            deadline: Deadline(None),
        }
    }

    /// Until the client has gone, or the server has stopped.
    pub(super) async fn run(mut self) {
        let client = self.client.clone();
        poll_fn(|context| {
            client.task().register(context.waker());
            self.poll(context)
        })
        .await;
        let unfinished = self.requests.len() + usize::from(self.message.is_some());
        self.server
            .count(|report| report.unfinished += unfinished as u64);
        // What was taken and not handled is rejected, while that can be told.
        self.message = None;
        self.next = None;
        self.early = None;
        self.requests.clear();
        self.settle().await;
        // Also where it is suspended.
        if self.receiver.end().is_none() {
            let why = Close::new(Close::GOING_AWAY, "the server stops");
            client.disconnect(why).await;
        }
        let reason = self.receiver.end().unwrap_or(ConnectionError::Finished);
        self.server.watchers.tell(|| Happening::Disconnected {
            client: client.id(),
            reason,
        });
    }

    /// Waits for verdicts and replies that handlers gave away, until the deadline of
    /// stopping; then this side finishes, if the client has.
    async fn settle(&mut self) {
        let (sink, ended) = (&mut self.sink, self.ended);
        let settled = pin!(async {
            // After FINISH a side sends no replies.
            sink.decided().await;
            if ended {
                // Where it is too late for that, the client knows.
                let _ = sink.finish().await;
                return;
            }
            let _ = poll_fn(|context| Pin::new(&mut *sink).poll_flush(context)).await;
        });
        let (server, stop) = (&self.server, &mut self.stop);
        // The other may have come already.
        let mut deadline = Deadline::<R>(None);
        let deadline = pin!(poll_fn(|context| {
            if let Some(at) = server.poll_stopping(stop, context) {
                deadline.set(at);
            }
            deadline.poll(context)
        }));
        select(settled, deadline).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut turns = 0;
        let flushed = loop {
            self.poll_stop(context);
            let flushed = self.poll_events(context);
            if !(self.poll_handlers(context) | self.poll_receive(context)) {
                break flushed;
            }
            turns += 1;
            if turns == TURNS {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        let idle = self.message.is_none()
            && self.next.is_none()
            && self.early.is_none()
            && self.requests.is_empty();
        let stops = self.deadline.is_set();
        if idle && (self.ended || stops && flushed) {
            return Poll::Ready(());
        }
        self.deadline.poll(context)
    }

    /// Whether the server stops; from then on no message is taken.
    fn poll_stop(&mut self, context: &mut Context<'_>) {
        if let Some(at) = self.server.poll_stopping(&mut self.stop, context) {
            self.deadline.set(at);
            self.early = None;
        }
    }

    /// Sends events as far as there is room; says whether all is with the system.
    fn poll_events(&mut self, context: &mut Context<'_>) -> bool {
        let mut sink = Pin::new(&mut self.sink);
        match self.client.poll_feed(sink.as_mut(), context) {
            Poll::Ready(Ok(fed)) => self.unflushed |= fed,
            Poll::Ready(Err(_)) => return true,
            Poll::Pending => return false,
        }
        if self.client.has_events() {
            return false;
        }
        if self.unflushed || self.deadline.is_set() {
            self.unflushed = sink.poll_flush(context).is_pending();
        }
        !self.unflushed
    }

    /// Says whether a handler has ended.
    fn poll_handlers(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        if let Some(message) = &mut self.message
            && let Poll::Ready(done) = message.as_mut().poll(context)
        {
            self.message = None;
            self.done(done);
            any = true;
        }
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.requests).poll_next(context) {
            self.done(done);
            any = true;
        }
        if self.message.is_none()
            && let Some(next) = self.next.take()
        {
            self.start_message(next, context);
            any = true;
        }
        any
    }

    /// Takes one message, if one has come and may be taken.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> bool {
        let busy = self.next.is_some() || self.requests.len() >= self.server.options.requests;
        if busy || self.ended || self.server.stopping.load(Ordering::Relaxed) {
            return false;
        }
        if let Some((timer, message)) = self.early.take() {
            return self.take_in_time(timer, message, context);
        }
        match Pin::new(&mut self.receiver).poll_next(context) {
            Poll::Ready(Some(Ok(message))) => {
                match self.rate.as_mut().map(|rate| rate.take(R::now())) {
                    Some(Err(at)) => self.take_in_time(R::timer(at), message, context),
                    _ => self.take(message, context),
                }
            }
            Poll::Ready(Some(Err(_)) | None) => {
                self.ended = true;
                // Its handlers may run on; who waits for room in its outbox does not.
                self.client.set_gone();
                true
            }
            Poll::Pending => false,
        }
    }

    /// A message that came before its time, which the client has to wait for.
    fn take_in_time(
        &mut self,
        mut timer: R::Timer,
        message: Incoming<R>,
        context: &mut Context<'_>,
    ) -> bool {
        if Pin::new(&mut timer).poll(context).is_pending() {
            self.early = Some((timer, message));
            return false;
        }
        if let Some(rate) = &mut self.rate {
            let _ = rate.take(R::now());
        }
        self.take(message, context)
    }

    fn take(&mut self, message: Incoming<R>, context: &mut Context<'_>) -> bool {
        let Received { seq, kind, .. } = *message;
        self.server.watchers.tell(|| Happening::Message {
            client: self.client.id(),
            seq,
            kind,
            size: message.size(),
        });
        self.server.note(kind);
        match kind {
            Kind::Message | Kind::Event => self.start_message(message, context),
            Kind::Request | Kind::Subscribe | Kind::Unsubscribe => {
                if let Ok(request) = message.into_request() {
                    self.start_request(request, context);
                }
            }
            // Answers that nobody waits for any more.
            Kind::Reply | Kind::Error => message.accept(),
        }
        true
    }

    fn start_message(&mut self, message: Incoming<R>, context: &mut Context<'_>) {
        if self.message.is_some() {
            self.next = Some(message);
            return;
        }
        let (server, client) = (self.server.clone(), self.client.clone());
        let mut handling: Handling = if self.server.is_stop_message(&message) {
            self.server.begin_stop(self.server.options.stop_timeout);
            message.accept();
            std::future::ready(Done::Accepted).boxed()
        } else if message.kind == Kind::Event {
            relay(server, client, message).boxed()
        } else {
            handle_message(self.handler.clone(), client, message).boxed()
        };
        // Most handlers are done at once.
        match handling.as_mut().poll(context) {
            Poll::Ready(done) => self.done(done),
            Poll::Pending => self.message = Some(handling),
        }
    }

    fn start_request(&mut self, request: Request<R>, context: &mut Context<'_>) {
        let mut handling: Handling = match request.kind {
            Kind::Request => {
                handle_request(self.handler.clone(), self.client.clone(), request).boxed()
            }
            _ => {
                let answer = self.server.subscription(&self.client, &request);
                reply(request, answer).boxed()
            }
        };
        match handling.as_mut().poll(context) {
            Poll::Ready(done) => self.done(done),
            Poll::Pending => self.requests.push(handling),
        }
    }

    fn done(&self, done: Done) {
        self.server.count(|report| match done {
            Done::Accepted => report.accepted += 1,
            Done::Rejected => report.rejected += 1,
            Done::Replied => report.replied += 1,
            Done::Refused => report.refused += 1,
            Done::Panicked => report.panicked += 1,
            Done::Failed(_) => {}
        });
        let error = match done {
            Done::Panicked => {
                let why = Close::new(Close::INTERNAL, "the handler of a message panicked");
                // The goodbye goes out in the background.
                self.client.start_disconnect(why);
                String::from("a handler panicked; its client was disconnected")
            }
            Done::Failed(error) => error,
            _ => return,
        };
        tracing::warn!(client = %self.client.id(), %error, "handling failed");
        self.server.watchers.tell(|| Happening::Failed {
            client: self.client.id(),
            error,
        });
    }
}

async fn handle_message<R: Runtime, H: Handler<R>>(
    handler: Arc<H>,
    client: Client<R>,
    mut message: Incoming<R>,
) -> Done {
    // Inside, for a method that panics before it returns its future.
    let handling = AssertUnwindSafe(async { handler.message(&client, &mut message).await });
    match handling.catch_unwind().await {
        Ok(Ok(())) => {
            message.accept();
            Done::Accepted
        }
        Ok(Err(rejection)) => {
            message.reject(rejection);
            Done::Rejected
        }
        Err(_) => Done::Panicked,
    }
}

async fn handle_request<R: Runtime, H: Handler<R>>(
    handler: Arc<H>,
    client: Client<R>,
    mut request: Request<R>,
) -> Done {
    let handling = AssertUnwindSafe(async { handler.request(&client, &mut request).await });
    match handling.catch_unwind().await {
        Ok(Ok(Response::Now(payload))) => reply(request, Ok(payload)).await,
        Ok(Ok(Response::Later)) => Done::Replied,
        Ok(Err(error)) => reply(request, Err(error)).await,
        Err(_) => {
            let error = RemoteError::new(RemoteError::FAILED, "the handler panicked");
            // The connection ends next.
            let _ = request.fail(error).await;
            Done::Panicked
        }
    }
}

async fn reply<R: Runtime>(request: Request<R>, answer: Result<bytes::Bytes, RemoteError>) -> Done {
    let (sent, done) = match answer {
        Ok(payload) => (request.reply(payload).await, Done::Replied),
        Err(error) => (request.fail(error).await, Done::Refused),
    };
    match sent {
        Ok(()) => done,
        Err(error) => Done::Failed(format!("a reply was not sent: {error}")),
    }
}

/// An event that a client publishes.
async fn relay<R: Runtime>(server: Arc<Inner<R>>, client: Client<R>, event: Incoming<R>) -> Done {
    let topic = event.topic.as_deref().unwrap_or_default();
    let relayed = if !server.options.relay {
        Err(String::from("this server relays no events"))
    } else {
        server
            .publish(topic, event.payload.clone(), Some(client.id()))
            .await
            .map_err(|error| error.to_string())
    };
    match relayed {
        Ok(_) => {
            event.accept();
            Done::Accepted
        }
        Err(why) => {
            event.reject(Rejection::new(Rejection::UNSPECIFIED, why));
            Done::Rejected
        }
    }
}
