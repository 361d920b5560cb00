//! Subscriptions: who gets which events, and what becomes of slow subscribers.

use futures_util::future::poll_immediate;
use sealpipe_driver::{
    Client, Connection, Handler, Incoming, RequestError, Runtime, Server, ServerOptions,
    SubscribeError, Subscription,
    vocabulary::{
        AckLevel, Backlog, Close, Config, Message, Outcome, Overflow, Rejection, RemoteError,
    },
};
use sealpipe_tests::{Place, eventually, modes, next_request, place, within};
use std::{sync::Arc, time::Duration};

sealpipe_tests::on_every_adapter! {
    ; of futures:
    events_reach_those_who_asked_for_them,
    one_connection_may_have_several_subscriptions,
    patterns_and_topics_are_checked,
    a_dropped_subscription_is_taken_back,
    a_client_may_have_so_many_subscriptions,
    clients_publish_to_each_other_if_the_server_relays,
    a_slow_subscriber_misses_events_and_learns_how_many,
    a_slow_subscriber_may_hold_up_its_publisher_and_nobody_else,
    a_slow_subscriber_may_be_disconnected,
    messages_and_replies_come_past_events_that_nobody_takes,
    what_an_event_passed_over_has_not_arrived,
    the_end_of_the_server_ends_subscriptions,
}

const LONG: Duration = Duration::from_secs(20);

struct Accepts;

impl<R: Runtime> Handler<R> for Accepts {
    async fn message(&self, _: &Client<R>, _: &mut Incoming<R>) -> Result<(), Rejection> {
        Ok(())
    }
}

fn server<R: Runtime>(place: &Place) -> Server<R> {
    Server::start(&place.endpoint, Config::default(), Accepts).expect("a server")
}

async fn connect<R: Runtime>(place: &Place) -> Connection<R> {
    Connection::connect(&place.endpoint, Config::default())
        .await
        .expect("a connection")
}

async fn next<R: Runtime>(subscription: &mut Subscription<R>) -> (String, String) {
    let event = subscription.recv().await.unwrap().expect("an event");
    let text = String::from_utf8(event.payload.to_vec()).unwrap();
    (event.topic().to_owned(), text)
}

fn pair(topic: &str, text: &str) -> (String, String) {
    (topic.to_owned(), text.to_owned())
}

async fn events_reach_those_who_asked_for_them<R: Runtime>() {
    for (mode, config) in modes() {
        within(async {
            let place = place();
            let config = Arc::new(config.build().unwrap());
            let server = Server::<R>::start(&place.endpoint, config.clone(), Accepts).unwrap();
            let one = Connection::<R>::connect(&place.endpoint, config.clone())
                .await
                .unwrap();
            let two = Connection::<R>::connect(&place.endpoint, config.clone())
                .await
                .unwrap();
            let mut jobs = one.subscribe("jobs/*").await.unwrap();
            let mut all = two.subscribe("**").await.unwrap();
            assert_eq!(server.publish("jobs/7", "done").await.unwrap(), 2, "{mode}");
            assert_eq!(server.publish("jobs/7/log", "line").await.unwrap(), 1);
            assert_eq!(server.publish("jobs/8", "begun").await.unwrap(), 2);
            assert_eq!(next(&mut jobs).await, pair("jobs/7", "done"));
            assert_eq!(next(&mut jobs).await, pair("jobs/8", "begun"));
            assert_eq!(next(&mut all).await, pair("jobs/7", "done"));
            assert_eq!(next(&mut all).await, pair("jobs/7/log", "line"));
            assert_eq!(next(&mut all).await, pair("jobs/8", "begun"));
        })
        .await;
    }
}

async fn one_connection_may_have_several_subscriptions<R: Runtime>() {
    within(async {
        let place = place();
        let server = server::<R>(&place);
        let client = connect::<R>(&place).await;
        let mut a = client.subscribe("a/**").await.unwrap();
        let mut b = client.subscribe("b").await.unwrap();
        let mut again = client.subscribe("a/**").await.unwrap();
        // One event a connection, however many of its patterns match.
        assert_eq!(server.publish("a/x", "1").await.unwrap(), 1);
        assert_eq!(server.publish("b", "2").await.unwrap(), 1);
        assert_eq!(next(&mut b).await, pair("b", "2"));
        assert_eq!(next(&mut a).await, pair("a/x", "1"));
        assert_eq!(next(&mut again).await, pair("a/x", "1"));
        // The other one still wants them.
        drop(again);
        client
            .send(Message::new("").with_ack(AckLevel::Processed))
            .await
            .unwrap();
        assert_eq!(server.publish("a", "3").await.unwrap(), 1);
        assert_eq!(next(&mut a).await, pair("a", "3"));
    })
    .await;
}

async fn patterns_and_topics_are_checked<R: Runtime>() {
    within(async {
        let place = place();
        let server = server::<R>(&place);
        let client = connect::<R>(&place).await;
        let deep = ["a"; 33].join("/");
        for bad in ["", "a//b", "a/b*", &"x".repeat(256), &deep] {
            let error = client.subscribe(bad).await.unwrap_err();
            assert!(
                matches!(error, SubscribeError::Pattern(_)),
                "{bad}: {error}"
            );
        }
        for bad in ["", "/a", "a/*", "**"] {
            server.publish(bad, "").await.unwrap_err();
        }
        // A peer that does not check is told.
        let bad = Message::subscription(sealpipe_core::Kind::Subscribe, 7, deep).unwrap();
        client
            .send(bad.with_ack(AckLevel::Processed))
            .await
            .unwrap();
        let answer = client.recv().await.unwrap().unwrap();
        let error = RemoteError::decode(&answer.payload);
        assert_eq!(error.code, RemoteError::NO_TOPIC, "{error}");
    })
    .await;
}

async fn a_dropped_subscription_is_taken_back<R: Runtime>() {
    within(async {
        let place = place();
        let server = server::<R>(&place);
        let client = connect::<R>(&place).await;
        let subscription = client.subscribe("topic").await.unwrap();
        assert_eq!(server.publish("topic", "").await.unwrap(), 1);
        drop(subscription);
        // In order behind it.
        client
            .send(Message::new("").with_ack(AckLevel::Processed))
            .await
            .unwrap();
        assert_eq!(server.publish("topic", "").await.unwrap(), 0);
        // So is one that was dropped while the server was being asked.
        let mut asking = Box::pin(client.subscribe("other"));
        // It may even be there at once.
        drop(poll_immediate(&mut asking).await);
        drop(asking);
        client
            .send(Message::new("").with_ack(AckLevel::Processed))
            .await
            .unwrap();
        assert_eq!(server.publish("other", "").await.unwrap(), 0);
        // And one that comes again is there.
        let mut again = client.subscribe("topic").await.unwrap();
        assert_eq!(server.publish("topic", "again").await.unwrap(), 1);
        assert_eq!(next(&mut again).await, pair("topic", "again"));
    })
    .await;
}

async fn a_client_may_have_so_many_subscriptions<R: Runtime>() {
    within(async {
        let place = place();
        let options = ServerOptions::<R>::new(Config::default()).max_subscriptions(2);
        let _server = options.start(&place.endpoint, Accepts).unwrap();
        let client = connect::<R>(&place).await;
        let _a = client.subscribe("a").await.unwrap();
        let b = client.subscribe("b").await.unwrap();
        match client.subscribe("c").await.unwrap_err() {
            SubscribeError::Refused(RequestError::Remote(error)) => {
                assert_eq!(error.code, RemoteError::NO_TOPIC, "{error}");
            }
            other => panic!("{other:?}"),
        }
        // What it has it may ask for again.
        drop(client.subscribe("a").await.unwrap());
        drop(b);
        drop(client.subscribe("c").await.unwrap());
    })
    .await;
}

async fn clients_publish_to_each_other_if_the_server_relays<R: Runtime>() {
    within(async {
        let place = place();
        let relaying = ServerOptions::<R>::new(Config::default()).relay(true);
        let server = relaying.start(&place.endpoint, Accepts).unwrap();
        let (one, two) = (connect::<R>(&place).await, connect::<R>(&place).await);
        let mut own = one.subscribe("**").await.unwrap();
        let mut others = two.subscribe("**").await.unwrap();
        let event = |topic| {
            Message::event(topic, "hello")
                .unwrap()
                .with_ack(AckLevel::Processed)
        };
        assert_eq!(one.send(event("chat")).await.unwrap(), Outcome::Processed);
        assert_eq!(next(&mut others).await, pair("chat", "hello"));
        one.send(event("a/*")).await.unwrap_err();
        // Not to the one who published it.
        server.publish("last", "").await.unwrap();
        assert_eq!(next(&mut own).await, pair("last", ""));
        server.stop(LONG).await;
        let _server = self::server::<R>(&place);
        let client = connect::<R>(&place).await;
        let error = client.send(event("chat")).await.unwrap_err();
        assert!(error.to_string().contains("relays no events"), "{error}");
    })
    .await;
}

/// A server with that backlog, and clients whose windows hold little.
async fn slow<R: Runtime>(overflow: Overflow) -> (Server<R>, Connection<R>, Place) {
    let place = place();
    let backlog = Backlog {
        messages: 10,
        bytes: 1 << 20,
        overflow,
    };
    let small = Config::plain().send_queue(4 << 10, 4).build().unwrap();
    let options = ServerOptions::<R>::new(small).backlog(backlog);
    let server = options.start(&place.endpoint, Accepts).unwrap();
    let window = Config::plain()
        .max_message(1 << 10)
        .receive_window(2 << 10, 4);
    let client = Connection::connect(&place.endpoint, window.build().unwrap());
    let client = client.await.expect("a connection");
    (server, client, place)
}

/// Keeps no more than one event on this side.
fn tight() -> Backlog {
    Backlog {
        messages: 1,
        ..Backlog::default()
    }
}

async fn a_slow_subscriber_misses_events_and_learns_how_many<R: Runtime>() {
    const COUNT: u64 = 500;
    within(async {
        let (server, client, _place) = slow::<R>(Overflow::DropOldest).await;
        let mut slow = client.subscribe_with("count", tight()).await.unwrap();
        for n in 0..COUNT {
            assert_eq!(server.publish("count", n.to_string()).await.unwrap(), 1);
        }
        let (mut next, mut missed, mut taken) = (0, 0, 0);
        while next < COUNT {
            let event = slow.recv().await.unwrap().expect("an event");
            let number: u64 = std::str::from_utf8(&event.payload)
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(number, next + event.missed(), "just those that were missed");
            (next, missed, taken) = (number + 1, missed + event.missed(), taken + 1);
        }
        assert_eq!(missed + taken, COUNT);
        assert!(missed > 0 && taken >= 10, "{missed} {taken}");
    })
    .await;
}

async fn a_slow_subscriber_may_hold_up_its_publisher_and_nobody_else<R: Runtime>() {
    const COUNT: usize = 200;
    within(async {
        let (server, client, place) = slow::<R>(Overflow::Block).await;
        let mut slow = client.subscribe_with("count", tight()).await.unwrap();
        let fast = connect::<R>(&place).await;
        let mut fast = fast.subscribe("count").await.unwrap();
        let publish = async {
            for n in 0..COUNT {
                assert_eq!(server.publish("count", n.to_string()).await.unwrap(), 2);
            }
        };
        let take = async {
            // The fast one gets each event although the slow one has not the room.
            for n in 0..20 {
                assert_eq!(next(&mut fast).await.1, n.to_string());
            }
            for n in 0..COUNT {
                assert_eq!(next(&mut slow).await.1, n.to_string(), "none is lost");
            }
        };
        tokio::join!(publish, take);
    })
    .await;
}

async fn a_slow_subscriber_may_be_disconnected<R: Runtime>() {
    within(async {
        let (server, client, _place) = slow::<R>(Overflow::Disconnect).await;
        let mut slow = client.subscribe_with("count", tight()).await.unwrap();
        while server.publish("count", vec![7; 500]).await.unwrap() == 1 {
            tokio::task::yield_now().await;
        }
        let error = loop {
            match slow.recv().await {
                Ok(event) => assert!(event.is_some()),
                Err(error) => break error,
            }
        };
        assert!(
            error.to_string().contains("as fast as they come"),
            "{error}"
        );
        eventually(LONG, "it is off the books", || server.clients().is_empty()).await;
        assert_eq!(server.publish("count", "").await.unwrap(), 0);
    })
    .await;
}

/// Whatever the event's own level is.
async fn what_an_event_passed_over_has_not_arrived<R: Runtime>() {
    for (level, takes) in [AckLevel::None, AckLevel::Received, AckLevel::Processed]
        .into_iter()
        .flat_map(|level| [(level, false), (level, true)])
    {
        within(async {
            let (publisher, subscriber) = Connection::<R>::pair(Config::default()).await.unwrap();
            let serve = async {
                let asked = next_request(&publisher).await;
                asked.reply("").await.unwrap();
            };
            let (subscription, ()) = tokio::join!(subscriber.subscribe("**"), serve);
            let mut subscription = subscription.unwrap();
            let message = Message::new("a message").with_ack(AckLevel::Received);
            publisher.send(message).await.unwrap();
            let event = Message::event("a", "an event").unwrap().with_ack(level);
            publisher.send(event).await.unwrap();
            assert_eq!(next(&mut subscription).await, pair("a", "an event"));
            if takes {
                subscriber.recv().await.unwrap().unwrap().accept();
            }
            subscriber.close(Close::new(Close::GOING_AWAY, "")).await;
            let finished = publisher.finish().await;
            assert_eq!(finished.is_ok(), takes, "{level:?}: {finished:?}");
        })
        .await;
    }
}

async fn messages_and_replies_come_past_events_that_nobody_takes<R: Runtime>() {
    within(async {
        let place = place();
        let server = server::<R>(&place);
        let client = connect::<R>(&place).await;
        let ends = Backlog {
            messages: 5,
            overflow: Overflow::Disconnect,
            ..Backlog::default()
        };
        let mut forgets = client.subscribe("**").await.unwrap();
        let mut ends = client.subscribe_with("**", ends).await.unwrap();
        for n in 0..50 {
            server.publish("n", n.to_string()).await.unwrap();
        }
        server.clients()[0].send("a message").await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().payload, "a message");
        client.request("", LONG).await.unwrap_err();
        for n in 0..50 {
            assert_eq!(next(&mut forgets).await.1, n.to_string());
        }
        for n in 0..5 {
            assert_eq!(next(&mut ends).await.1, n.to_string());
        }
        let error = ends.recv().await.unwrap_err();
        assert!(matches!(error, SubscribeError::Overrun), "{error}");
        assert!(client.is_connected());
    })
    .await;
}

async fn the_end_of_the_server_ends_subscriptions<R: Runtime>() {
    within(async {
        let place = place();
        let server = server::<R>(&place);
        let client = connect::<R>(&place).await;
        let mut subscription = client.subscribe("**").await.unwrap();
        server.publish("last", "words").await.unwrap();
        server.stop(LONG).await;
        assert_eq!(next(&mut subscription).await, pair("last", "words"));
        assert!(subscription.recv().await.unwrap().is_none());
    })
    .await;
}
