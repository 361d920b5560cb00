//! A client that connects again: what is sent once more, what is not, what lasts.

use futures_util::{FutureExt, future::poll_immediate};
use sealpipe_driver::{
    Change, Client, ConnectOptions, Handler, Incoming, Listener, ReconnectingClient, Request,
    RequestError, Response, Runtime, SendError, Server, Update,
    vocabulary::{AckLevel, Close, Config, ErrorKind, Message, Outcome, Rejection, RemoteError},
};
use sealpipe_tests::{Place, place, within};
use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

sealpipe_tests::on_every_adapter! {
    ; of futures:
    it_connects_when_first_used_and_after_a_loss,
    a_client_without_a_server_says_so,
    connecting_takes_of_a_requests_time,
    what_was_surely_not_delivered_is_sent_again,
    what_may_have_been_delivered_is_not_sent_again,
    a_subscription_outlasts_its_connection,
    messages_come_over_whichever_connection,
    changes_are_told_one_after_the_other,
    a_server_that_only_finishes_is_not_left,
    many_uses_at_once_share_one_connection,
    a_future_that_is_put_aside_while_it_connects_holds_up_nobody,
    nothing_is_sent_over_a_connection_that_was_finished,
    connecting_takes_of_a_messages_own_time,
}

const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Counts(Arc<AtomicU64>);

impl<R: Runtime> Handler<R> for Counts {
    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        if message.payload == "never" {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn request(
        &self,
        _: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        Ok(request.payload.clone().into())
    }
}

fn server<R: Runtime>(place: &Place, counts: &Counts) -> Server<R> {
    Server::start(&place.endpoint, Config::default(), counts.clone()).expect("a server")
}

fn client<R: Runtime>(place: &Place) -> ReconnectingClient<R> {
    let options = ConnectOptions::new(Config::default()).wait_for_server(true);
    ReconnectingClient::new(place.endpoint.clone(), options)
}

fn processed(text: &'static str) -> Message {
    Message::new(text).with_ack(AckLevel::Processed)
}

async fn it_connects_when_first_used_and_after_a_loss<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let changes = Arc::new(Mutex::new(Vec::new()));
        let client = client::<R>(&place).with_observer({
            let changes = changes.clone();
            move |change: &Change| {
                let text = match change {
                    Change::Connected(count) => format!("connected {count}"),
                    Change::Ended(_) => String::from("ended"),
                    other => panic!("{other:?}"),
                };
                changes.lock().unwrap().push(text);
            }
        });
        let first = server::<R>(&place, &counts);
        assert!(first.clients().is_empty());
        assert_eq!(
            client.send(processed("a")).await.unwrap(),
            Outcome::Processed
        );
        first.stop(LONG).await;
        let second = server::<R>(&place, &counts);
        assert_eq!(
            client.send(processed("b")).await.unwrap(),
            Outcome::Processed
        );
        assert_eq!(client.request("c", LONG).await.unwrap(), "c");
        client.finish().await.unwrap();
        assert_eq!(
            client.send(processed("d")).await.unwrap(),
            Outcome::Processed
        );
        assert_eq!(second.stop(LONG).await.clients, 2);
        assert_eq!(counts.0.load(Ordering::SeqCst), 3);
        let changes = changes.lock().unwrap();
        // An end that was asked for is none to be told of.
        assert_eq!(
            *changes,
            ["connected 1", "ended", "connected 2", "connected 3"]
        );
    })
    .await;
}

async fn a_client_without_a_server_says_so<R: Runtime>() {
    within(async {
        let place = place();
        let options = ConnectOptions::<R>::new(Config::default());
        let client = ReconnectingClient::new(place.endpoint.clone(), options);
        let error = client.send("").await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        match error {
            SendError::NotConnected(error) => match *error {
                sealpipe_driver::Error::Endpoint(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        let error = client.request("", LONG).await.unwrap_err();
        assert!(
            matches!(error, RequestError::Send(SendError::NotConnected(_))),
            "{error:?}"
        );
    })
    .await;
}

async fn connecting_takes_of_a_requests_time<R: Runtime>() {
    within(async {
        let place = place();
        let client = client::<R>(&place);
        let asked = client.request("", Duration::from_millis(30)).await;
        match asked.unwrap_err() {
            RequestError::Send(SendError::NotSent(None)) => {}
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn what_was_surely_not_delivered_is_sent_again<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let first = server::<R>(&place, &counts);
        client.send(processed("a")).await.unwrap();
        // Its handler keeps the ones behind it from being taken.
        let stuck = tokio::spawn({
            let client = client.clone();
            async move { client.send(processed("never")).await }
        });
        while counts.0.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        let behind: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.send(processed("behind")).await })
            })
            .collect();
        first.stop(Duration::from_millis(20)).await;
        stuck.await.unwrap().unwrap_err();
        let second = server::<R>(&place, &counts);
        let mut again = 0;
        for one in behind {
            match one.await.unwrap() {
                Ok(Outcome::Processed) => again += 1,
                // One may wait for the stuck handler: it was taken, and rejected.
                Err(error) => assert!(!matches!(error.outcome(), Outcome::NotSent), "{error:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(again >= 2, "{again}");
        assert_eq!(second.stop(LONG).await.accepted, again);
    })
    .await;
}

async fn what_may_have_been_delivered_is_not_sent_again<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let server = server::<R>(&place, &counts);
        let sent = tokio::spawn({
            let client = client.clone();
            async move { client.send(processed("never")).await }
        });
        while counts.0.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let why = Close::new(Close::INTERNAL, "cut");
        server.clients()[0].disconnect(why).await;
        let error = sent.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        client.send(processed("next")).await.unwrap();
        assert_eq!(counts.0.load(Ordering::SeqCst), 2, "only once each");
    })
    .await;
}

async fn a_subscription_outlasts_its_connection<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let first = server::<R>(&place, &counts);
        let mut events = client.subscribe("topic/*").await.unwrap();
        first.publish("topic/1", "before").await.unwrap();
        let Update::Event(event) = events.recv().await.unwrap() else {
            panic!("no event");
        };
        assert_eq!(event.payload, "before");
        first.stop(LONG).await;
        let second = server::<R>(&place, &counts);
        assert_eq!(events.recv().await.unwrap(), Update::Renewed);
        assert_eq!(second.publish("topic/2", "after").await.unwrap(), 1);
        let Update::Event(event) = events.recv().await.unwrap() else {
            panic!("no event");
        };
        assert_eq!(
            (event.topic(), &event.payload[..]),
            ("topic/2", &b"after"[..])
        );
    })
    .await;
}

async fn messages_come_over_whichever_connection<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        for text in ["first", "second"] {
            let server = server::<R>(&place, &counts);
            let push = async {
                let client = loop {
                    if let Some(client) = server.clients().pop() {
                        break client;
                    }
                    tokio::task::yield_now().await;
                };
                client.send(processed(text)).await.unwrap();
            };
            let take = async {
                let message = client.recv().await.unwrap();
                assert_eq!(message.payload, text);
                message.accept();
            };
            tokio::join!(push, take);
            server.stop(LONG).await;
        }
    })
    .await;
}

async fn many_uses_at_once_share_one_connection<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let server = server::<R>(&place, &counts);
        let uses = (0..50).map(|_| client.send(processed("")));
        for sent in futures_util::future::join_all(uses).await {
            assert_eq!(sent.unwrap(), Outcome::Processed);
        }
        assert_eq!(server.stop(LONG).await.clients, 1);
    })
    .await;
}

async fn changes_are_told_one_after_the_other<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let other = Arc::new(Mutex::new(None::<ReconnectingClient<R>>));
        let overtakes = Arc::new(Mutex::new(None));
        let client = client::<R>(&place).with_observer({
            let (other, overtakes) = (other.clone(), overtakes.clone());
            move |change: &Change| {
                if matches!(change, Change::Ended(_))
                    && let Some(other) = other.lock().unwrap().take()
                {
                    // Another use, which would get on if anybody could already connect.
                    let mut using = async move { other.connection().await.map(drop) }.boxed();
                    assert!((&mut using).now_or_never().is_none());
                    *overtakes.lock().unwrap() = Some(using);
                }
            }
        });
        *other.lock().unwrap() = Some(client.clone());
        let first = server::<R>(&place, &counts);
        client.send(processed("a")).await.unwrap();
        first.stop(LONG).await;
        let _second = server::<R>(&place, &counts);
        // The other waits for this one.
        client.send(processed("b")).await.unwrap();
        let using = overtakes.lock().unwrap().take().expect("an end was told");
        using.await.unwrap();
    })
    .await;
}

async fn a_server_that_only_finishes_is_not_left<R: Runtime>() {
    within(async {
        let place = place();
        let mut listener = Listener::<R>::bind(&place.endpoint, Config::default()).unwrap();
        let client = client::<R>(&place);
        let (first, server) = tokio::join!(client.connection(), listener.accept());
        let (first, server) = (first.unwrap(), server.unwrap());
        let receiving = async {
            let message = client.recv().await.unwrap();
            assert_eq!(message.payload, "over the next");
        };
        let rest = async {
            let mut finish = pin!(server.finish());
            assert!(poll_immediate(&mut finish).await.is_none());
            // The client has read the end of what comes.
            server.ping().await.unwrap();
            server.ping().await.unwrap();
            let take = async {
                let message = server.recv().await.unwrap().unwrap();
                message.accept();
            };
            let (sent, ()) = tokio::join!(client.send(processed("still")), take);
            assert_eq!(sent.unwrap(), Outcome::Processed);
            assert!(first.is_connected());
            server.close(Close::new(Close::GOING_AWAY, "")).await;
            let next = listener.accept().await.unwrap();
            next.send("over the next").await.unwrap();
            next
        };
        tokio::join!(receiving, rest);
    })
    .await;
}

async fn a_future_that_is_put_aside_while_it_connects_holds_up_nobody<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let mut connects = pin!(client.recv());
        let mut waits = pin!(client.recv());
        assert!(poll_immediate(&mut connects).await.is_none());
        assert!(poll_immediate(&mut waits).await.is_none());
        let server = server::<R>(&place, &counts);
        let sent = client.send(processed("a")).await.unwrap();
        assert_eq!(sent, Outcome::Processed);
        assert_eq!(server.stop(LONG).await.clients, 1);
    })
    .await;
}

async fn nothing_is_sent_over_a_connection_that_was_finished<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let server = server::<R>(&place, &counts);
        let client = client::<R>(&place);
        let first = client.connection().await.unwrap();
        // It is begun, and its end not waited for; on a busy machine it may be there already.
        let _ = poll_immediate(pin!(first.finish())).await;
        let sent = client.send(processed("a")).await.unwrap();
        assert_eq!(sent, Outcome::Processed);
        assert_eq!(client.request("b", LONG).await.unwrap(), "b");
        first.finish().await.unwrap();
        assert_eq!(server.stop(LONG).await.clients, 2);
    })
    .await;
}

async fn connecting_takes_of_a_messages_own_time<R: Runtime>() {
    within(async {
        let (place, counts) = (place(), Counts::default());
        let client = client::<R>(&place);
        let short = Message::new("late").with_deadline(Duration::from_millis(20));
        let error = client.send(short).await.unwrap_err();
        assert!(matches!(error, SendError::NotSent(None)), "{error:?}");
        let server = server::<R>(&place, &counts);
        let message = processed("a").with_deadline(LONG);
        assert_eq!(client.send(message).await.unwrap(), Outcome::Processed);
        server.stop(LONG).await;
        assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    })
    .await;
}
