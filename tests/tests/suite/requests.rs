//! Requests and their replies, in both directions.

use futures_util::future::{join_all, poll_immediate};
use sealpipe_driver::{
    Connection, RequestError, Runtime, SendError,
    vocabulary::{AckLevel, Close, Config, Kind, Message, Outcome, Rejection, RemoteError},
};
use sealpipe_tests::{Asynchronous, connected, modes, next_request, within};
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    ; of futures:
    a_request_gets_its_reply,
    many_requests_are_under_way_at_once_in_both_directions,
    requests_under_way_do_not_keep_a_side_from_answering,
    replies_come_past_messages_that_nobody_takes,
    a_program_that_never_asked_receives_replies_itself,
    an_error_of_the_peers_program_is_told_from_others,
    a_request_without_an_answer_fails,
    a_handler_learns_the_deadline_and_that_nobody_waits,
    a_handler_learns_that_the_deadline_has_passed,
    many_requests_may_be_given_up_at_once,
    a_deadline_ends_a_request,
    a_request_that_was_taken_says_that_the_connection_ended,
    the_end_of_the_connection_ends_requests,
    a_reply_that_is_too_large_is_an_error_on_both_sides,
    abandoned_requests_leave_nothing_behind,
}

const LONG: Duration = Duration::from_secs(20);

async fn pair<R: Runtime>() -> (Connection<R>, Connection<R>) {
    Connection::pair(Config::default()).await.unwrap()
}

async fn a_request_gets_its_reply<R: Asynchronous>() {
    for (mode, config) in modes() {
        within(async {
            let config = config.build().unwrap();
            let (client, server, _place) = connected::<R>(config.clone(), config).await;
            let serve = async {
                let request = next_request(&server).await;
                assert_eq!(request.payload, "how are you?");
                request.reply("well").await.unwrap();
            };
            let (reply, ()) = tokio::join!(client.request("how are you?", LONG), serve);
            assert_eq!(reply.unwrap(), "well", "{mode}");
        })
        .await;
    }
}

/// Answers every request with its own payload, in another order than they came.
async fn echo_backwards<R: Runtime>(connection: &Connection<R>, count: usize) {
    let mut requests = Vec::new();
    for _ in 0..count {
        requests.push(next_request(connection).await);
    }
    while let Some(request) = requests.pop() {
        let payload = request.payload.clone();
        request.reply(payload).await.unwrap();
    }
}

async fn many_requests_are_under_way_at_once_in_both_directions<R: Runtime>() {
    const COUNT: usize = 200;
    within(async {
        let (a, b) = pair::<R>().await;
        let ask = |from: &'static str, connection| {
            let requests = (0..COUNT).map(move |n| {
                let text = format!("{from} {n}");
                async move {
                    let connection: &Connection<R> = connection;
                    let reply = connection.request(text.clone(), LONG).await.unwrap();
                    assert_eq!(reply, text);
                }
            });
            join_all(requests)
        };
        tokio::join!(
            ask("a", &a),
            ask("b", &b),
            echo_backwards(&a, COUNT),
            echo_backwards(&b, COUNT),
        );
    })
    .await;
}

/// As a callback: the answer to a request depends on one the other way.
async fn requests_under_way_do_not_keep_a_side_from_answering<R: Runtime>() {
    const COUNT: usize = 4;
    within(async {
        let config = Config::plain().send_queue(1 << 20, COUNT).build().unwrap();
        let (client, server) = Connection::<R>::pair(config).await.unwrap();
        let serve = async {
            let mut asked = Vec::new();
            for _ in 0..COUNT {
                asked.push(next_request(&server).await);
            }
            assert_eq!(server.request("and you?", LONG).await.unwrap(), "fine");
            for request in asked {
                request.reply("well").await.unwrap();
            }
        };
        let answer = async {
            next_request(&client).await.reply("fine").await.unwrap();
        };
        let ask = join_all((0..COUNT).map(|_| client.request("how are you?", LONG)));
        let (replies, (), ()) = tokio::join!(ask, serve, answer);
        for reply in replies {
            assert_eq!(reply.unwrap(), "well");
        }
    })
    .await;
}

async fn replies_come_past_messages_that_nobody_takes<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let serve = async {
            let request = next_request(&server).await;
            server.send("first").await.unwrap();
            request.reply("reply").await.unwrap();
            server.send("last").await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("", LONG), serve);
        assert_eq!(reply.unwrap(), "reply");
        for text in ["first", "last"] {
            assert_eq!(client.recv().await.unwrap().unwrap().payload, text);
        }
    })
    .await;
}

/// Also after the peer has withdrawn something.
async fn a_program_that_never_asked_receives_replies_itself<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let withdrawn = Message::new("").with_ack(AckLevel::Processed);
        let withdrawn = client.try_send(withdrawn).unwrap();
        let taken = server.recv().await.unwrap().unwrap();
        assert!(!withdrawn.cancel());
        server.ping().await.unwrap();
        let reply = Message::correlated(Kind::Reply, 7, "reply").unwrap();
        client.send(reply).await.unwrap();
        let reply = server.recv().await.unwrap().unwrap();
        assert_eq!(
            (reply.kind, &reply.payload[..]),
            (Kind::Reply, &b"reply"[..])
        );
        taken.accept();
    })
    .await;
}

async fn an_error_of_the_peers_program_is_told_from_others<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let error = RemoteError::new(700, "no such job").with_details("job 7");
        let serve = async {
            let request = next_request(&server).await;
            request.fail(error.clone()).await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("", LONG), serve);
        match reply {
            Err(RequestError::Remote(told)) => assert_eq!(told, error),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn a_request_without_an_answer_fails<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let serve = async {
            drop(server.recv().await.unwrap().unwrap().into_request());
            // Taken for a plain message, and settled as one.
            let message = server.recv().await.unwrap().unwrap();
            assert_eq!(message.kind, Kind::Request);
            message.reject(Rejection::new(900, "not here"));
            server.recv().await.unwrap().unwrap().accept();
        };
        let ask = async {
            let dropped = client.request("", LONG).await.unwrap_err();
            let rejected = client.request("", LONG).await.unwrap_err();
            let accepted = client.request("", Duration::from_millis(50)).await;
            (dropped, rejected, accepted.unwrap_err())
        };
        let ((dropped, rejected, accepted), ()) = tokio::join!(ask, serve);
        let code = |error| match error {
            RequestError::Send(SendError::Rejected(rejection)) => rejection.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(dropped), Rejection::DROPPED);
        assert_eq!(code(rejected), 900);
        assert!(
            matches!(accepted, RequestError::NoReply(None)),
            "{accepted:?}"
        );
    })
    .await;
}

async fn a_handler_learns_the_deadline_and_that_nobody_waits<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let mut asked = Box::pin(client.request("", LONG));
        assert!(poll_immediate(&mut asked).await.is_none());
        let request = next_request(&server).await;
        let left = request.time_left().expect("a deadline");
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
        assert!(!request.is_cancelled());
        drop(asked);
        request.cancelled().await;
        assert!(request.is_cancelled());
        // The answer is not sent any more.
        let before = server.stats().messages_sent;
        request.reply("too late").await.unwrap();
        assert_eq!(server.stats().messages_sent, before);
        // The connection goes on.
        let serve = async {
            let request = next_request(&server).await;
            assert!(!request.is_cancelled());
            request.reply("in time").await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request("", LONG), serve);
        assert_eq!(reply.unwrap(), "in time");
    })
    .await;
}

async fn a_handler_learns_that_the_deadline_has_passed<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let ask = client.request("", Duration::from_millis(30));
        let (error, request) = tokio::join!(ask, server.recv());
        error.unwrap_err();
        let request = request.unwrap().unwrap().into_request().unwrap();
        request.cancelled().await;
        assert!(request.is_cancelled());
        assert_eq!(server.end(), None);
    })
    .await;
}

async fn many_requests_may_be_given_up_at_once<R: Runtime>() {
    const COUNT: usize = 3_000;
    within(async {
        let (client, server) = pair::<R>().await;
        let mut asked: Vec<_> = (0..COUNT)
            .map(|_| Box::pin(client.request("", LONG)))
            .collect();
        for one in &mut asked {
            assert!(poll_immediate(one).await.is_none());
        }
        let mut taken = Vec::new();
        for _ in 0..COUNT {
            taken.push(next_request(&server).await);
        }
        drop(asked);
        for request in &taken {
            request.cancelled().await;
        }
        drop(taken);
        let last = Message::new("last").with_ack(AckLevel::Processed);
        let (sent, last) = tokio::join!(client.send(last), async {
            server.recv().await.unwrap().unwrap().accept();
        });
        assert_eq!((sent.unwrap(), last), (Outcome::Processed, ()));
    })
    .await;
}

async fn a_deadline_ends_a_request<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let ask = client.request("", Duration::from_millis(30));
        let (error, request) = tokio::join!(ask, server.recv());
        let error = error.unwrap_err();
        assert!(
            matches!(error, RequestError::Send(SendError::Unknown(None))),
            "{error:?}"
        );
        // A reply that comes too late is nobody's.
        let request = request.unwrap().unwrap().into_request().unwrap();
        request.reply("late").await.unwrap();
        server.send("next").await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().payload, "next");
    })
    .await;
}

async fn a_request_that_was_taken_says_that_the_connection_ended<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let serve = async {
            server.recv().await.unwrap().unwrap().accept();
            // The verdict has arrived.
            server.ping().await.unwrap();
            server.close(Close::new(Close::GOING_AWAY, "bye")).await;
        };
        let (error, ()) = tokio::join!(client.request("", LONG), serve);
        let error = error.unwrap_err();
        assert!(matches!(error, RequestError::NoReply(Some(_))), "{error:?}");
        assert!(error.to_string().contains("bye"), "{error}");
    })
    .await;
}

async fn the_end_of_the_connection_ends_requests<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let serve = async {
            let request = next_request(&server).await;
            server.close(Close::new(Close::GOING_AWAY, "bye")).await;
            request.cancelled().await;
        };
        let (error, ()) = tokio::join!(client.request("", LONG), serve);
        match error.unwrap_err() {
            RequestError::Send(error) => assert_eq!(error.outcome(), Outcome::Unknown),
            other => panic!("{other:?}"),
        }
        let error = client.request("", LONG).await.unwrap_err();
        match error {
            RequestError::Send(error) => assert_eq!(error.outcome(), Outcome::NotSent),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn a_reply_that_is_too_large_is_an_error_on_both_sides<R: Asynchronous>() {
    within(async {
        let small = Config::plain().max_message(1 << 10).build().unwrap();
        let (client, server, _place) = connected::<R>(small, Config::default()).await;
        let serve = async {
            let request = next_request(&server).await;
            request.reply(vec![0; 2 << 10]).await.unwrap_err()
        };
        let (asked, answered) = tokio::join!(client.request("", LONG), serve);
        assert!(matches!(answered, SendError::NotTaken { .. }), "{answered}");
        match asked.unwrap_err() {
            RequestError::Send(SendError::Rejected(rejection)) => {
                assert!(rejection.reason.contains("2048 bytes"), "{rejection}");
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn abandoned_requests_leave_nothing_behind<R: Runtime>() {
    within(async {
        let (client, server) = pair::<R>().await;
        let serve = async {
            let mut seen = 0;
            while let Some(message) = server.recv().await.unwrap() {
                match message.into_request() {
                    Ok(request) => {
                        seen += 1;
                        request.reply("").await.unwrap();
                    }
                    Err(last) => {
                        last.accept();
                        break;
                    }
                }
            }
            seen
        };
        let ask = async {
            let mut abandoned = 0;
            for _ in 0..5_000 {
                let mut asked = Box::pin(client.request(vec![1; 64], LONG));
                if poll_immediate(&mut asked).await.is_none() {
                    abandoned += 1;
                }
                drop(asked);
                tokio::task::yield_now().await;
            }
            let last = Message::new("last").with_ack(sealpipe_core::AckLevel::Processed);
            client.send(last).await.unwrap();
            abandoned
        };
        let (abandoned, seen) = tokio::join!(ask, serve);
        assert!(abandoned > 0 && seen <= 5_000, "{abandoned} {seen}");
        assert_eq!(client.stats().queued, 0);
    })
    .await;
}
