//! A server for plain threads, and what its clients do: what it has that the others
//! have not is that handlers may block.

mod common;
use common::{Place, place};
use sealpipe_blocking::{
    AckLevel, Backlog, Client, Config, ConnectOptions, Connection, Error, EventError, Handler,
    Happening, Incoming, Message, Outcome, Overflow, ReconnectingClient, Rejection, RemoteError,
    Request, RequestError, Response, SendError, Server, ServerOptions, SubscribeError, Update,
};
use std::{
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

/// Longer than anything here takes; a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(30);

struct Echo;

impl Handler for Echo {
    fn message(&self, _: &Client, message: &mut Incoming) -> Result<(), Rejection> {
        match &message.payload[..] {
            b"no" => Err(Rejection::new(300, "not this one")),
            b"panic" => panic!("as asked for"),
            _ => Ok(()),
        }
    }

    fn request(&self, client: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        match &request.payload[..] {
            b"no" => Err(RemoteError::new(301, "not this either")),
            b"panic" => panic!("as asked for"),
            // Blocks on the very connection that it serves.
            b"back" => {
                let answer = client.request("and you?", LIMIT);
                let failed = |error: RequestError| RemoteError::new(302, error.to_string());
                Ok(answer.map_err(failed)?.into())
            }
            _ => Ok(request.payload.clone().into()),
        }
    }
}

fn connect(place: &Place) -> Connection {
    let client = Connection::connect(&place.endpoint, Config::default()).expect("a connection");
    client.set_read_timeout(Some(LIMIT));
    client.set_write_timeout(Some(LIMIT));
    client
}

fn processed(text: &'static str) -> Message {
    Message::new(text).with_ack(AckLevel::Processed)
}

#[test]
fn messages_and_requests_are_handled() {
    let place = place();
    let server = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = connect(&place);
            thread::spawn(move || {
                assert_eq!(client.send(processed("yes")).unwrap(), Outcome::Processed);
                let error = client.send(processed("no")).unwrap_err();
                assert!(matches!(error, SendError::Rejected(why) if why.code == 300));
                assert_eq!(client.request("hello", LIMIT).unwrap(), "hello");
                let error = client.request("no", LIMIT).unwrap_err();
                assert!(matches!(error, RequestError::Remote(error) if error.code == 301));
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let report = server.stop(LIMIT);
    assert_eq!((report.clients, report.accepted, report.replied), (4, 4, 4));
    assert!(!server.is_running());
}

#[test]
fn a_handler_may_ask_its_own_client() {
    let place = place();
    let _server = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let client = connect(&place);
    thread::scope(|scope| {
        scope.spawn(|| {
            let request = Request::try_from(client.recv().unwrap().unwrap()).unwrap();
            assert_eq!(request.payload, "and you?");
            assert!(!request.is_cancelled() && request.time_left().is_some());
            request.reply("fine").unwrap();
        });
        assert_eq!(client.request("back", LIMIT).unwrap(), "fine");
    });
}

#[test]
fn a_panic_ends_one_connection_and_not_the_server() {
    let place = place();
    let server = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let mut events = server.events();
    let (first, second) = (connect(&place), connect(&place));
    first.send(processed("panic")).unwrap_err();
    assert!(first.recv().unwrap_err().to_string().contains("panicked"));
    let third = connect(&place);
    let error = third.request("panic", LIMIT).unwrap_err();
    let failed = |error: &RemoteError| error.code == RemoteError::FAILED;
    assert!(
        matches!(&error, RequestError::Remote(error) if failed(error)),
        "{error:?}"
    );
    assert_eq!(second.send(processed("fine")).unwrap(), Outcome::Processed);
    assert_eq!(server.stop(LIMIT).panicked, 2);
    assert!(events.any(|event| matches!(event.what, Happening::Failed { .. })));
    assert!(events.any(|event| matches!(event.what, Happening::Stopped(_))));
    assert!(events.next().is_none());
}

/// Hands requests to another thread.
struct Queue(Mutex<mpsc::Sender<Request>>);

impl Handler for Queue {
    fn request(&self, _: &Client, request: &mut Request) -> Result<Response, RemoteError> {
        let _ = self.0.lock().unwrap().send(request.take());
        Ok(Response::Later)
    }
}

#[test]
fn another_thread_may_answer() {
    let place = place();
    let (sender, requests) = mpsc::channel();
    let handler = Queue(Mutex::new(sender));
    let _server = Server::start(&place.endpoint, Config::default(), handler).unwrap();
    let worker = thread::spawn(move || {
        requests.recv_timeout(LIMIT).unwrap().reply("done").unwrap();
        let error = RemoteError::new(700, "no more work");
        requests.recv_timeout(LIMIT).unwrap().fail(error).unwrap();
        // Nobody waits for the third.
        let third = requests.recv_timeout(LIMIT).unwrap();
        third.wait_cancelled();
        assert!(third.is_cancelled());
    });
    let client = connect(&place);
    assert_eq!(client.request("work", LIMIT).unwrap(), "done");
    client.request("work", LIMIT).unwrap_err();
    client.set_write_timeout(Some(Duration::from_millis(30)));
    client.request("work", LIMIT).unwrap_err();
    worker.join().unwrap();
}

#[test]
fn events_are_published_and_taken() {
    let place = place();
    let server = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let client = connect(&place);
    let mut jobs = client.subscribe("jobs/*").unwrap();
    assert_eq!(server.publish("jobs/7", "done").unwrap(), 1);
    assert_eq!(server.publish("other", "").unwrap(), 0);
    assert_eq!(server.publish("jobs/8", "begun").unwrap(), 1);
    let event = jobs.recv().unwrap().unwrap();
    assert_eq!(
        (event.topic(), &event.payload[..]),
        ("jobs/7", &b"done"[..])
    );
    jobs.set_read_timeout(Some(Duration::from_millis(30)));
    jobs.recv().unwrap().unwrap();
    // A call that ends early loses nothing.
    let error = jobs.recv().unwrap_err();
    assert!(matches!(error, EventError::Call(_)), "{error}");
    server.publish("jobs/9", "").unwrap();
    jobs.set_read_timeout(Some(LIMIT));
    assert_eq!(jobs.recv().unwrap().unwrap().topic(), "jobs/9");
    let error = client.subscribe("a//b").unwrap_err();
    assert!(matches!(error, SubscribeError::Pattern(_)), "{error}");
    server.stop(LIMIT);
    assert!(jobs.events().next().is_none());
}

#[test]
fn a_client_connects_again() {
    let place = place();
    let options = ConnectOptions::new(Config::default()).wait_for_server(true);
    let client = ReconnectingClient::new(place.endpoint.clone(), options);
    let first = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let mut events = client.subscribe("**").unwrap();
    assert_eq!(client.send(processed("a")).unwrap(), Outcome::Processed);
    first.stop(LIMIT);
    let second = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    assert_eq!(client.request("b", LIMIT).unwrap(), "b");
    assert_eq!(events.recv().unwrap(), Update::Renewed);
    second.publish("topic", "c").unwrap();
    assert!(matches!(events.recv().unwrap(), Update::Event(event) if event.payload == "c"));
    client.finish().unwrap();
}

#[test]
fn the_calls_of_a_client_that_connects_again_can_be_ended() {
    let place = place();
    let options = ConnectOptions::new(Config::default())
        .wait_for_server(true)
        .timeout(LIMIT);
    let client = ReconnectingClient::new(place.endpoint.clone(), options);
    client.set_read_timeout(Some(Duration::from_millis(10)));
    client.set_write_timeout(Some(Duration::from_millis(10)));
    // There is no server yet.
    let ended = client.recv().unwrap_err();
    assert!(matches!(ended, Error::Timeout { .. }), "{ended:?}");
    let sent = client.send("lost").unwrap_err();
    assert!(matches!(sent, SendError::Unknown(None)), "{sent:?}");
    let refused = client.subscribe("**").unwrap_err();
    assert!(matches!(refused, SubscribeError::Refused(_)), "{refused:?}");

    // A clone has the limits that it was made with, and then its own.
    let other = client.clone();
    assert_eq!(other.write_timeout(), client.write_timeout());
    other.set_read_timeout(None);
    other.set_write_timeout(None);
    let interrupter = other.interrupter();
    let (told, tells) = mpsc::channel();
    let blocked = thread::spawn(move || {
        told.send(other.recv().map(drop)).unwrap();
        other
    });
    interrupter.interrupt();
    let ended = tells.recv_timeout(LIMIT).unwrap();
    assert!(matches!(ended, Err(Error::Interrupted { .. })), "{ended:?}");
    let other = blocked.join().unwrap();
    interrupter.clear();

    // Nothing is lost by it.
    let server = Server::start(&place.endpoint, Config::default(), Echo).unwrap();
    let mut events = other.subscribe("**").unwrap();
    events.set_read_timeout(Some(Duration::from_millis(1)));
    let ended = events.recv().unwrap_err();
    assert!(
        matches!(ended, EventError::Call(Error::Timeout { .. })),
        "{ended:?}"
    );
    events.set_read_timeout(None);
    events.interrupter().interrupt();
    let ended = events.recv().unwrap_err();
    assert!(
        matches!(ended, EventError::Call(Error::Interrupted { .. })),
        "{ended:?}"
    );
    events.interrupter().clear();
    assert_eq!(server.publish("topic", "c").unwrap(), 1);
    assert!(matches!(events.recv().unwrap(), Update::Event(event) if event.payload == "c"));
    assert_eq!(server.clients().len(), 1);
    server.stop(LIMIT);
}

#[test]
fn options_are_kept() {
    let place = place();
    let backlog = Backlog {
        overflow: Overflow::Disconnect,
        ..Default::default()
    };
    let server = ServerOptions::new(Config::default())
        .max_clients(1)
        .stop_message("enough")
        .backlog(backlog)
        .relay(true)
        .start(&place.endpoint, Echo)
        .unwrap();
    let client = connect(&place);
    client.send(processed("")).unwrap();
    let second = connect(&place);
    assert!(
        second
            .recv()
            .unwrap_err()
            .to_string()
            .contains("as many clients")
    );
    assert_eq!(server.clients().len(), 1);
    let event = Message::event("chat", "hello")
        .unwrap()
        .with_ack(AckLevel::Processed);
    assert_eq!(client.send(event).unwrap(), Outcome::Processed);
    client.send(processed("enough")).unwrap();
    assert_eq!(server.stopped().accepted, 3);
}

/// Publishes more than the backlog of its own client takes.
struct Publishes;

const EVENTS: u32 = 100;

impl Handler for Publishes {
    fn request(&self, client: &Client, _: &mut Request) -> Result<Response, RemoteError> {
        for n in 0..EVENTS {
            let reached = client.server().publish("progress", n.to_string());
            assert_eq!(reached.unwrap(), 1);
        }
        Ok("done".into())
    }
}

#[test]
fn a_handler_may_publish_to_its_own_client_more_than_fits() {
    let place = place();
    let backlog = Backlog {
        messages: 4,
        overflow: Overflow::Block,
        ..Backlog::default()
    };
    let server = ServerOptions::new(Config::default()).backlog(backlog);
    let server = server.start(&place.endpoint, Publishes).unwrap();
    let client = connect(&place);
    let mut events = client.subscribe("progress").unwrap();
    events.set_read_timeout(Some(LIMIT));
    thread::scope(|scope| {
        let asks = scope.spawn(|| client.request("go", LIMIT));
        for n in 0..EVENTS {
            let event = events.recv().unwrap().unwrap();
            assert_eq!(event.payload, n.to_string());
        }
        assert_eq!(asks.join().unwrap().unwrap(), "done");
    });
    server.stop(LIMIT);
}
