//! Messages of a program's own types, and those that do not fit.

use sealpipe_driver::{
    Client, Connection, Content, Format, FormatError, Handler, Incoming, Json, Request,
    RequestError, Response, Runtime, SendError, Server,
    vocabulary::{AckLevel, Config, Message, Outcome, Rejection, RemoteError},
};
use sealpipe_tests::{Adapter, api::Connection as _, place, within};
use sealpipe_tokio::Tokio;
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};

sealpipe_tests::on_every_adapter! {
    requests_and_replies_are_values,
    ; of futures:
    values_cross,
    a_message_that_does_not_fit_costs_nothing_but_itself,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Step {
    Run { command: String },
    Wait { seconds: u32 },
}

fn job() -> Job {
    let run = Step::Run {
        command: "make".into(),
    };
    Job {
        name: "grüße \"\n".into(),
        steps: vec![run, Step::Wait { seconds: 3 }],
    }
}

async fn values_cross<R: Runtime>() {
    within(async {
        let (a, b) = Connection::<R>::pair(Config::default()).await.unwrap();
        for count in [0, 1, 10_000] {
            let jobs = vec![job(); count];
            let (sent, received) = tokio::join!(a.send(Json::message(&jobs).unwrap()), b.recv());
            sent.unwrap();
            let message = received.unwrap().unwrap();
            assert_eq!(Json::decode::<Vec<Job>>(&message.payload).unwrap(), jobs);
        }
    })
    .await;
}

/// Tells how many steps a job has.
struct Counts;

impl<R: Runtime> Handler<R> for Counts {
    async fn request(
        &self,
        _: &Client<R>,
        request: &mut Request<R>,
    ) -> Result<Response, RemoteError> {
        let job: Job = Json::decode(&request.payload)?;
        Ok(Json::encode(&job.steps.len())?.into())
    }

    async fn message(&self, _: &Client<R>, message: &mut Incoming<R>) -> Result<(), Rejection> {
        Json::decode::<Job>(&message.payload)?;
        Ok(())
    }
}

async fn requests_and_replies_are_values<A: Adapter>() {
    const LONG: Duration = Duration::from_secs(20);
    within(async {
        let place = place();
        let server = Server::<Tokio>::start(&place.endpoint, Config::default(), Counts).unwrap();
        let client = A::connect(&place.endpoint, Config::default())
            .await
            .unwrap();
        let steps: usize = client.request_json(job(), LONG).await.unwrap();
        assert_eq!(steps, 2);
        match client.request_json::<usize>("job", LONG).await {
            Err(RequestError::Remote(error)) => {
                assert_eq!(error.code, RemoteError::MALFORMED);
                assert!(error.message.contains("Job"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        match client.request_json::<String>(job(), LONG).await {
            Err(RequestError::Format(error)) => assert!(error.to_string().contains("String")),
            other => panic!("{other:?}"),
        }
        let message = Json::message("job").unwrap();
        match client.send(message.with_ack(AckLevel::Processed)).await {
            Err(SendError::Rejected(why)) => assert!(why.reason.contains("Job"), "{why}"),
            other => panic!("{other:?}"),
        }
        server.stop(LONG).await;
    })
    .await;
}

/// Each with what the error has to say.
fn unfit() -> Vec<(String, &'static [&'static str])> {
    let deep = |n| {
        format!(
            r#"{{"name":"a","steps":{}{}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    vec![
        ("".into(), &["as JSON", "line 1, column 0", "EOF"]),
        ("plain text".into(), &["as JSON", "line 1, column 1"]),
        (r#"{"name":"a""#.into(), &["as JSON", "line 1, column 11"]),
        (
            r#"{"name":"a","steps":[]} {}"#.into(),
            &["line 1, column 25", "trailing"],
        ),
        (
            r#"{"name":"a"}"#.into(),
            &["typed::Job", "missing field `steps`"],
        ),
        (
            "{\n \"name\": 7}".into(),
            &["typed::Job at name (line 2, column 10)", "integer `7`"],
        ),
        (
            r#"{"name":"a","steps":[{"do":"wait","seconds":-1}]}"#.into(),
            &["at steps[0]", "`-1`"],
        ),
        (
            r#"{"name":"a","steps":[{"do":"fly"}]}"#.into(),
            &["at steps[0]", "`fly`", "`run`"],
        ),
        ("[]".into(), &["typed::Job"]),
        (deep(10), &["at steps[0]"]),
        // A stack that would not end well.
        (
            format!(r#"{{"name":{}"#, "[".repeat(1_000_000)),
            &["at name"],
        ),
        // What is quoted has an end.
        (
            format!(r#"{{"name":"a","steps":"{}"}}"#, "x".repeat(1 << 20)),
            &["at steps", "xx…"],
        ),
    ]
}

async fn a_message_that_does_not_fit_costs_nothing_but_itself<R: Runtime>() {
    within(async {
        let (a, b) = Connection::<R>::pair(Config::default()).await.unwrap();
        let receiver = async {
            let mut jobs = Vec::new();
            while let Some(message) = b.recv().await.unwrap() {
                match Json::decode::<Job>(&message.payload) {
                    Ok(job) => {
                        jobs.push(job);
                        message.accept();
                    }
                    Err(error) => {
                        // It is all still there.
                        assert!(message.payload.len() == message.size());
                        message.reject(Rejection::new(300, error.to_string()));
                    }
                }
            }
            b.finish().await.unwrap();
            jobs
        };
        let sender = async {
            for (payload, _) in unfit() {
                let error = Json::decode::<Job>(payload.as_bytes()).unwrap_err();
                let bad = Message::new(payload).with_ack(AckLevel::Processed);
                let rejected = a.send(bad).await.unwrap_err().outcome();
                let reason = Rejection::new(300, error.to_string());
                assert_eq!(rejected, Outcome::Rejected(reason));

                let good = Json::message(&job()).unwrap();
                let outcome = a.send(good.with_ack(AckLevel::Processed)).await.unwrap();
                assert_eq!(outcome, Outcome::Processed);
            }
            a.finish().await.unwrap();
        };
        let (jobs, ()) = tokio::join!(receiver, sender);
        assert_eq!(jobs, vec![job(); unfit().len()]);
    })
    .await;
}

#[test]
fn an_error_says_what_and_where() {
    for (payload, parts) in unfit() {
        let error = Json::decode::<Job>(payload.as_bytes()).unwrap_err();
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(text.len() < 600, "{text}");
    }
}

#[test]
fn depth_has_a_limit() {
    let nested = |n| "[".repeat(n) + &"]".repeat(n);
    let decode = |text: String| Json::decode::<serde_json::Value>(text.as_bytes());
    assert!(decode(nested(127)).is_ok());
    for depth in [128, 1_000_000] {
        let error = decode(nested(depth)).unwrap_err();
        assert!(matches!(error, FormatError::Malformed { .. }));
        assert!(error.to_string().contains("recursion limit"), "{error}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    #[derive(Serialize)]
    struct Report {
        counts: BTreeMap<Vec<u8>, u8>,
    }
    let counts = BTreeMap::from([(vec![1], 1)]);
    let text = Json::message(&Report { counts }).unwrap_err().to_string();
    assert!(text.contains("Report at counts"), "{text}");
    assert!(text.contains("key must be a string"), "{text}");

    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let text = Json::encode(&[Refuses]).unwrap_err().to_string();
    assert!(text.contains("at [0]: not today"), "{text}");
}

#[test]
fn content_is_told_apart() {
    for json in ["{}", " [1, 2]\n", "null", "\"a\"", "-1.5e3"] {
        assert_eq!(Content::of(json.as_bytes()), Content::Json(json));
    }
    for text in ["", " ", "hello", "{", "{} {}", "nulls", "{'a': 1}"] {
        assert_eq!(Content::of(text.as_bytes()), Content::Text(text));
    }
    for bytes in [&b"\xff"[..], b"{}\xff", b"\"\xc3\""] {
        assert_eq!(Content::of(bytes), Content::Bytes(bytes));
    }
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    assert_eq!(Content::of(deep.as_bytes()), Content::Json(&deep));
    assert_eq!(format!("{:?}", Content::of(b"secret")), "Text(6 bytes)");
}

/// The same words from the adapter for threads.
#[test]
fn threads_send_values_too() {
    use sealpipe_blocking::{Connection, Format, Json};
    let (a, b) = Connection::pair(Config::default()).unwrap();
    a.send(Json::message(&job()).unwrap()).unwrap();
    let message = b.recv().unwrap().unwrap();
    assert_eq!(Json::decode::<Job>(&message.payload).unwrap(), job());
}
