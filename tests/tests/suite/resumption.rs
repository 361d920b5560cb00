//! A connection that outlives its stream: a go-between cuts that again and again.

use futures_util::{StreamExt, stream};
use sealpipe_driver::{
    Client, Connection, Delivery, Error, Handler, Happening, Incoming, Request, Response, Runtime,
    SendError, Server,
    vocabulary::{
        AckLevel, Config, ConfigBuilder, ConnectionError, Endpoint, Message, Outcome, Rejection,
        RemoteError,
    },
};
use sealpipe_tests::{Place, Random, eventually, modes, place, within};
use sealpipe_tokio::{LocalListener, LocalStream};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

sealpipe_tests::on_every_adapter! {
    ; of futures:
    nothing_is_lost_or_doubled_over_many_streams,
    without_resumption_the_same_cut_is_the_end,
    a_server_that_was_restarted_is_told_from_the_old_one,
    what_was_under_way_goes_to_a_restarted_server_if_asked_for,
    a_server_that_stays_away_ends_the_connection,
    a_server_that_stops_closes_what_is_suspended,
}

const LONG: Duration = Duration::from_secs(20);

/// Passes bytes on between clients and a server, and cuts each stream after some.
struct GoBetween {
    place: Place,
    to: Arc<Mutex<Endpoint>>,
    cut: Arc<Notify>,
    streams: Arc<AtomicUsize>,
    /// How many bytes each stream carries from now on.
    most: Arc<AtomicU64>,
}

impl GoBetween {
    fn new(server: &Place, seed: u64, most: u64) -> GoBetween {
        let place = place();
        let between = GoBetween {
            to: Arc::new(Mutex::new(server.endpoint.clone())),
            cut: Arc::default(),
            streams: Arc::default(),
            most: Arc::new(AtomicU64::new(most)),
            place,
        };
        let mut listener = LocalListener::bind(&between.place.endpoint).expect("a listener");
        let (to, cut) = (between.to.clone(), between.cut.clone());
        let (streams, most) = (between.streams.clone(), between.most.clone());
        let mut random = Random::new(seed);
        tokio::spawn(async move {
            while let Ok(client) = listener.accept().await {
                streams.fetch_add(1, Ordering::SeqCst);
                let bytes = 300 + random.below(most.load(Ordering::SeqCst));
                let to = to.lock().unwrap().clone();
                let Ok(server) = LocalStream::connect(&to).await else {
                    continue;
                };
                // One stream at a time: the client asks again only after the end.
                tokio::select! {
                    () = pass_on(client, server, bytes) => {}
                    () = cut.notified() => {}
                }
            }
        });
        between
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    /// Cuts the stream; the next ones lead to another server.
    fn lead_to(&self, other: &Place) {
        *self.to.lock().unwrap() = other.endpoint.clone();
        self.cut.notify_one();
    }

    /// Streams are whole from the next one on.
    fn stop_cutting(&self) {
        self.most.store(u64::MAX / 2, Ordering::SeqCst);
    }
}

/// Until so many bytes have passed, or either side has ended.
async fn pass_on(client: LocalStream, server: LocalStream, most: u64) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let left = AtomicU64::new(most);
    let forth = pipe(&mut from_client, &mut to_server, &left);
    let back = pipe(&mut from_server, &mut to_client, &left);
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

async fn pipe(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    left: &AtomicU64,
) {
    let mut buffer = [0; 256];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let may = left.load(Ordering::SeqCst).min(n as u64);
        left.fetch_sub(may, Ordering::SeqCst);
        let bytes = &buffer[..may as usize];
        if to.write_all(bytes).await.is_err() || may < n as u64 {
            return;
        }
    }
}

fn resumable(config: ConfigBuilder) -> Config {
    config.resumption(true).build().unwrap()
}

/// Notes what comes, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<R: Runtime> Handler<R> for Notes {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        if text == "wait" {
            self.0.lock().unwrap().push(text);
            return std::future::pending().await;
        }
        let again = if message.is_redelivered() {
            " again"
        } else {
            ""
        };
        self.0.lock().unwrap().push(text + again);
        Ok(())
    }

    async fn request(
        &self,
        _: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        let payload = request.payload.clone();
        self.0
            .lock()
            .unwrap()
            .push(String::from_utf8(payload.to_vec()).unwrap());
        Ok(payload.into())
    }
}

fn processed(text: impl Into<String>) -> Message {
    Message::new(text.into()).with_ack(AckLevel::Processed)
}

async fn nothing_is_lost_or_doubled_over_many_streams<R: Runtime>() {
    const COUNT: usize = 400;
    for (seed, (mode, config)) in modes().into_iter().enumerate() {
        within(async {
            let (place, notes) = (place(), Notes::default());
            let config = resumable(config);
            let server =
                Server::<R>::start(&place.endpoint, config.clone(), notes.clone()).unwrap();
            let between = GoBetween::new(&place, seed as u64 + 7, 4_000);
            let client = Connection::<R>::connect(&between.place.endpoint, config);
            let client = client.await.unwrap();
            let mut events = client.subscribe("count/*").await.unwrap();
            let messages = async {
                stream::iter(0..COUNT)
                    .map(|n| client.send(processed(format!("message {n}"))))
                    .buffered(8)
                    .for_each(|sent| async move {
                        assert_eq!(sent.unwrap(), Outcome::Processed, "{mode}");
                    })
                    .await;
            };
            let requests = async {
                for n in 0..COUNT / 4 {
                    let text = format!("request {n}");
                    let reply = client.request(text.clone(), LONG).await.unwrap();
                    assert_eq!(reply, text, "{mode}");
                }
            };
            let publish = async {
                for n in 0..COUNT / 4 {
                    let topic = format!("count/{n}");
                    assert_eq!(server.publish(&topic, "").await.unwrap(), 1, "{mode}");
                    tokio::task::yield_now().await;
                }
            };
            let take = async {
                for n in 0..COUNT / 4 {
                    let event = events.recv().await.unwrap().expect("an event");
                    assert_eq!(event.topic(), format!("count/{n}"), "{mode}");
                }
            };
            tokio::join!(messages, requests, publish, take);
            between.stop_cutting();
            let taken = notes.taken();
            for (kind, count) in [("message", COUNT), ("request", COUNT / 4)] {
                let of_kind = taken.iter().filter(|text| text.starts_with(kind));
                let wanted = (0..count).map(|n| format!("{kind} {n}"));
                assert!(
                    of_kind.eq(wanted.collect::<Vec<_>>().iter()),
                    "{mode}: {taken:?}"
                );
            }
            assert!(
                between.streams() > 5,
                "{mode}: {} streams",
                between.streams()
            );
            assert_eq!(server.report().clients, 1, "{mode}: it is one connection");
        })
        .await;
    }
}

async fn without_resumption_the_same_cut_is_the_end<R: Runtime>() {
    within(async {
        let (place, notes) = (place(), Notes::default());
        // The server alone does not do.
        let on = resumable(Config::plain());
        let _server = Server::<R>::start(&place.endpoint, on, notes).unwrap();
        let between = GoBetween::new(&place, 1, 1);
        let client = Connection::<R>::connect(&between.place.endpoint, Config::default());
        let client = client.await.unwrap();
        while client.send(processed("message")).await.is_ok() {}
        let end = client.recv().await.unwrap_err();
        assert!(
            matches!(end, Error::Connection(ConnectionError::Lost(_))),
            "{end}"
        );
        assert!(!client.is_suspended());
    })
    .await;
}

/// A client with a message under way, whose handler never ends, and one behind it;
/// the stream is cut then, and leads `to` another place.
async fn orphaned<R: Runtime>(config: &Config, to: &Place) -> (Connection<R>, [Delivery<R>; 2]) {
    let (place, notes) = (place(), Notes::default());
    let server = Server::<R>::start(&place.endpoint, config.clone(), notes.clone()).unwrap();
    let between = GoBetween::new(&place, 2, u64::MAX / 2);
    let client = Connection::<R>::connect(&between.place.endpoint, config.clone());
    let client = client.await.unwrap();
    let sent = ["wait", "behind"].map(|text| client.try_send(processed(text)).unwrap());
    eventually(LONG, "it is taken", || !notes.taken().is_empty()).await;
    between.lead_to(to);
    eventually(LONG, "another stream is tried", || between.streams() > 1).await;
    drop(server);
    (client, sent)
}

async fn a_server_that_was_restarted_is_told_from_the_old_one<R: Runtime>() {
    within(async {
        let (place, notes) = (place(), Notes::default());
        let config = resumable(Config::plain());
        let _server = Server::<R>::start(&place.endpoint, config.clone(), notes.clone()).unwrap();
        let (client, sent) = orphaned::<R>(&config, &place).await;
        for sent in sent {
            let error = sent.await.unwrap_err();
            assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
        }
        // The connection goes on, with the new one.
        client.send(processed("new")).await.unwrap();
        assert_eq!(notes.taken(), ["new"]);
    })
    .await;
}

async fn what_was_under_way_goes_to_a_restarted_server_if_asked_for<R: Runtime>() {
    within(async {
        let (place, notes) = (place(), Notes::default());
        let config = Config::plain().resumption(true).redeliver(true);
        let config = config.build().unwrap();
        let _server = Server::<R>::start(&place.endpoint, config.clone(), notes.clone()).unwrap();
        let (client, [stuck, behind]) = orphaned::<R>(&config, &place).await;
        eventually(LONG, "it comes again", || notes.taken() == ["wait"]).await;
        // Handlers take one message after the other: this one is for the next server.
        drop((stuck, behind));
        assert!(client.is_connected());
    })
    .await;
}

async fn a_server_that_stays_away_ends_the_connection<R: Runtime>() {
    within(async {
        let config = Config::plain().resumption(true);
        let config = config
            .resume_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        let nowhere = place();
        let (client, sent) = orphaned::<R>(&config, &nowhere).await;
        for sent in sent {
            let error = sent.await.unwrap_err();
            assert!(matches!(error, SendError::Unknown(Some(_))), "{error:?}");
        }
        let end = client.recv().await.unwrap_err();
        assert!(
            matches!(end, Error::Connection(ConnectionError::Lost(_))),
            "{end}"
        );
        assert!(!client.is_suspended());
    })
    .await;
}

async fn a_server_that_stops_closes_what_is_suspended<R: Runtime>() {
    within(async {
        let (place, nowhere) = (place(), place());
        let config = resumable(Config::plain());
        let server = Server::<R>::start(&place.endpoint, config.clone(), Notes::default());
        let server = server.unwrap();
        let between = GoBetween::new(&place, 3, u64::MAX / 2);
        let client = Connection::<R>::connect(&between.place.endpoint, config);
        let client = client.await.unwrap();
        client.send(processed("before")).await.unwrap();
        let kept = server.clients().remove(0);
        between.lead_to(&nowhere);
        eventually(LONG, "it is suspended", || !kept.is_connected()).await;
        let mut events = server.events();
        server.stop(LONG).await;
        let reason = loop {
            match events.recv().await.expect("an event").what {
                Happening::Disconnected { reason, .. } => break reason,
                other => assert!(!matches!(other, Happening::Stopped(_)), "{other:?}"),
            }
        };
        assert!(
            matches!(reason, ConnectionError::ClosedLocally(_)),
            "{reason}"
        );
        // Nobody waits for a stream that could no longer come.
        let error = kept.send(processed("after")).await.unwrap_err();
        assert!(matches!(error, SendError::NotTaken { .. }), "{error:?}");
    })
    .await;
}
