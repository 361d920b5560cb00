//! The original, ipcez 0.1.0, at the other end: it is a client, in a process of its own,
//! for it reads its environment.
#![cfg(any(target_os = "linux", windows))]

use sealpipe_driver::{
    ConnectOptions, Error, ListenOptions,
    ipcez::{self, ConnectError, Listener, Socket},
    vocabulary::{Access, Config, ConnectionError, Endpoint, Outcome},
};
use sealpipe_tests::{Asynchronous, Helper, key, role, say, within};
use std::{
    process::{Command, Stdio},
    time::Duration,
};
use tokio::sync::mpsc;

sealpipe_tests::on_every_adapter! {
    ;
    of futures:
    an_originals_send_is_acknowledged,
    who_outlives_its_listener_leaves_the_signals_of_the_next,
    an_original_is_told_that_there_is_something_to_read,
    an_original_that_has_lost_its_place_does_no_harm,
    a_remote_original_sends_and_receives,
    both_sides_can_be_moved_over,
    the_handler_hears_of_the_loss_once,
}

/// What the other process is to do.
#[tokio::test]
async fn helper() {
    match role() {
        Some((role, arguments)) if role == "original" => original(&arguments).await,
        Some((role, arguments)) if role == "env" => {
            let error = ipcez::connect::<sealpipe_tokio::Tokio>(&arguments[0]).await;
            say(&error.unwrap_err().to_string());
        }
        _ => {}
    }
}

/// Sends and hears as it is told: `send TEXT`, `hear`, `wait MILLISECONDS`, `end`. Says
/// what came of it.
async fn original(arguments: &[String]) {
    let [endpoint, steps @ ..] = arguments else {
        panic!("no endpoint")
    };
    let socket = original::socket_init(endpoint).await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut handled = false;
    for step in steps {
        match step.split_once(' ').unwrap_or((step, "")) {
            ("send", text) => {
                let sent = socket.send_message(text.as_bytes()).await;
                say(&format!("sent {}", sent.is_ok()));
            }
            ("wait", time) => {
                tokio::time::sleep(Duration::from_millis(time.parse().unwrap())).await;
            }
            ("hear", _) => {
                if !std::mem::replace(&mut handled, true) {
                    let tell = tell.clone();
                    socket.message_handler(move |message| {
                        let _ = tell.send(message);
                        async {}
                    });
                }
                match told.recv().await.unwrap() {
                    Ok(message) => say(&format!("heard {}", String::from_utf8_lossy(&message))),
                    Err(_) => say("lost"),
                }
            }
            (other, _) => panic!("{other}"),
        }
    }
}

/// Calls the crate so, beside the module.
use ::ipcez as original;

/// An endpoint of a test's own, as clients write it.
struct Place {
    text: String,
    #[cfg(unix)]
    _directory: tempfile::TempDir,
}

impl Place {
    #[cfg(unix)]
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ipcez.sock");
        Place {
            text: path.to_str().unwrap().to_owned(),
            _directory: directory,
        }
    }

    #[cfg(windows)]
    fn new() -> Place {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place {
            text: format!("sealpipe-ipcez-{}-{number}", std::process::id()),
        }
    }

    fn original(&self, steps: &[&str]) -> Helper {
        start_original(&self.text, steps)
    }
}

const OS: &str = if cfg!(windows) { "windows" } else { "linux" };

fn start_original(endpoint: &str, steps: &[&str]) -> Helper {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("target", "local").env("os", OS);
    // It writes what goes wrong there, as it is to.
    command.stderr(Stdio::null());
    let arguments: Vec<&str> = [endpoint].iter().chain(steps).copied().collect();
    Helper::start_by(command, "original", &arguments)
}

/// Whether an original's message came as it was sent; else it is one of lengths. On Windows
/// the original writes the length again whenever the pipe has it wait, and under Wine, where
/// it always has, never anything else: so its `send_message` does not return there, whatever
/// this side does. That the event is set is shown by a test of endpoint's.
fn is_whole(message: &[u8], text: &str) -> bool {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    let whole = message == text.as_bytes();
    assert!(
        whole || (cfg!(windows) && message.starts_with(&length)),
        "{message:?}"
    );
    whole
}

/// An original that writes later than ten milliseconds after it has connected first waits
/// for a byte of its peer's: so each has several attempts.
async fn an_originals_send_is_acknowledged<R: Asynchronous>() {
    within(async {
        let place = Place::new();
        let mut listener = Listener::<R>::bind(&place.text).unwrap();
        loop {
            let original = place.original(&["send hello"]);
            let socket = listener.accept().await.unwrap();
            let attempt = tokio::time::timeout(Duration::from_secs(1), socket.recv()).await;
            let Ok(message) = attempt else { continue };
            if is_whole(&message.unwrap(), "hello") {
                let (_original, said) = original.heard().await;
                assert_eq!(said, "sent true");
            }
            return;
        }
    })
    .await;
}

/// The signals are the endpoint's, and so the next listener's.
async fn who_outlives_its_listener_leaves_the_signals_of_the_next<R: Asynchronous>() {
    within(async {
        let place = Place::new();
        let first = async {
            let mut listener = Listener::<R>::bind(&place.text).unwrap();
            let client = ipcez::connect::<R>(&place.text).await.unwrap();
            (client, listener.accept().await.unwrap())
        };
        let outlives = first.await;
        let listener = loop {
            // The endpoint is given back in the background.
            match Listener::<R>::bind(&place.text) {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        drop(outlives);
        #[cfg(target_os = "linux")]
        {
            let name = place.text.replace(['/', '.'], "_");
            let names = ["data_ready", "data_acked"]
                .map(|what| format!("/dev/shm/sem.ipcez_{name}_{what}"));
            assert!(names.iter().all(|name| std::fs::exists(name).unwrap()));
            drop(listener);
            assert!(!names.iter().any(|name| std::fs::exists(name).unwrap()));
        }
        #[cfg(windows)]
        drop(listener);
    })
    .await;
}

/// Its reader waits for the signal, and only then looks at the stream.
async fn an_original_is_told_that_there_is_something_to_read<R: Asynchronous>() {
    within(async {
        let place = Place::new();
        let mut listener = Listener::<R>::bind(&place.text).unwrap();
        let original = place.original(&["hear"]);
        let socket = listener.accept().await.unwrap();
        socket.send("hello").await.unwrap();
        socket.disconnect().await;
        // What it reads may be out of order by then; see the next test.
        let (_original, said) = original.heard().await;
        assert!(said == "heard hello" || said == "lost", "{said}");
    })
    .await;
}

/// The original's look whether its peer lives takes a byte out of the stream, and holds up
/// what is to be written until there is one.
async fn an_original_that_has_lost_its_place_does_no_harm<R: Asynchronous>() {
    within(async {
        let place = Place::new();
        let mut listener = Listener::<R>::bind(&place.text).unwrap();
        let original = place.original(&["wait 50", "send late", "hear"]);
        let socket = listener.accept().await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(500), socket.recv()).await;
        assert!(early.is_err(), "it does not hang any more: {early:?}");
        socket.send("a byte of this lets it go on").await.unwrap();
        let original = match is_whole(&socket.recv().await.unwrap(), "late") {
            true => {
                let (original, said) = original.heard().await;
                assert_eq!(said, "sent true");
                original
            }
            false => original,
        };
        // Whatever becomes of these there: here they are whole, until it gives up.
        for n in 0..20 {
            if let Err(error) = socket.send(format!("message {n}")).await {
                let outcome = error.outcome();
                assert!(
                    matches!(outcome, Outcome::NotSent | Outcome::Unknown),
                    "{error}"
                );
            }
        }
        drop(original);
        let end = loop {
            if let Err(end) = socket.recv().await {
                break end;
            }
        };
        assert!(matches!(end, Error::Connection(_)), "{end}");
        // The next one is served.
        let _next = place.original(&["hear"]);
        listener.accept().await.unwrap();
    })
    .await;
}

async fn a_remote_original_sends_and_receives<R: Asynchronous>() {
    within(async {
        let options = ListenOptions::new(ipcez::config()).access(Access::Anyone);
        let mut listener = Listener::<R>::bind_with("ws://127.0.0.1:0/", &options).unwrap();
        let url = listener.address().to_string();
        let mut original = start_original(&url, &["send to you", "hear", "hear"]);
        let socket = listener.accept().await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), "to you");
        socket.send("and back").await.unwrap();
        socket.disconnect().await;
        // Of the end it makes messages with nothing in them, for ever.
        for expected in ["sent true", "heard and back", "heard"] {
            let said;
            (original, said) = original.heard().await;
            assert_eq!(said.trim_end(), expected);
        }
    })
    .await;
}

async fn both_sides_can_be_moved_over<R: Asynchronous>() {
    let (one, other) = (Place::new(), Place::new());
    let configs = [
        (one.text.as_str(), ipcez::config()),
        (other.text.as_str(), Config::default()),
        ("ws://127.0.0.1:0/", Config::sealed(key(9)).build().unwrap()),
        ("ws://localhost:0/", ipcez::config()),
    ];
    for (endpoint, config) in configs {
        within(async {
            let anyone = Access::Anyone;
            let mut options = ListenOptions::new(config.clone());
            let mut connecting = ConnectOptions::<R>::new(config);
            if endpoint.starts_with("ws://localhost") {
                options = options.access(anyone.clone());
                connecting = connecting.server(anyone);
            }
            let mut listener = Listener::<R>::bind_with(endpoint, &options).unwrap();
            let address = match endpoint.starts_with("ws") {
                true => listener.address().to_string(),
                false => endpoint.to_owned(),
            };
            let (client, server) = tokio::join!(
                ipcez::connect_with(&address, &connecting),
                listener.accept()
            );
            let (client, server) = (client.unwrap(), server.unwrap());
            let (tell, mut told) = mpsc::unbounded_channel();
            server.on_message(move |message| {
                let _ = tell.send(message);
                async {}
            });
            for text in ["one", "two", ""] {
                client.send(text).await.unwrap();
                assert_eq!(told.recv().await.unwrap().unwrap(), text);
            }
            server.send("back").await.unwrap();
            assert_eq!(client.recv().await.unwrap(), "back");
            client.disconnect().await;
            assert!(matches!(told.recv().await, Some(Err(Error::Connection(_)))));
            assert!(told.recv().await.is_none(), "it is told once");
            client.send("too late").await.unwrap_err();
            assert!(matches!(
                client.recv().await,
                Err(Error::Connection(
                    ConnectionError::Finished | ConnectionError::ClosedLocally(_)
                ))
            ));
        })
        .await;
    }
}

async fn the_handler_hears_of_the_loss_once<R: Asynchronous>() {
    within(async {
        let place = Place::new();
        let mut listener = Listener::<R>::bind(&place.text).unwrap();
        let (client, server) = tokio::join!(ipcez::connect::<R>(&place.text), listener.accept());
        let (tell, mut told) = mpsc::unbounded_channel();
        client.unwrap().on_message(move |message| {
            let _ = tell.send(message.map_err(|error| error.to_string()));
            async {}
        });
        drop(server);
        told.recv().await.unwrap().unwrap_err();
        assert!(told.recv().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn what_is_open_to_anybody_is_to_be_asked_for() {
    within(async {
        type Tokio = sealpipe_tokio::Tokio;
        // Not of this machine: it is refused before anything is sent.
        let error = ipcez::connect::<Tokio>("ws://192.0.2.1/")
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ConnectError::Connection(Error::WebSocket(_))),
            "{error}"
        );
        let error = Listener::<Tokio>::bind("ws://127.0.0.1:0/").unwrap_err();
        assert!(error.to_string().contains("Access::Anyone"), "{error}");
        let _: Option<Socket<Tokio>> = None;
    })
    .await;
}

#[test]
fn what_the_environment_says_wrong_is_told_on_standard_error() {
    let other = if cfg!(windows) { "linux" } else { "windows" };
    for (name, value, hint) in [
        ("target", "moon", "`local` or `remote`"),
        ("os", "plan9", "`linux` or `windows`"),
        ("os", other, "unset `os`"),
        ("target", "remote", "ws://"),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "helper", "--nocapture", "--test-threads=1"])
            .env("SEALPIPE_TEST_ROLE", "env")
            .env("SEALPIPE_TEST_ARGUMENTS", "nowhere")
            .env_remove("target")
            .env_remove("os")
            .env(name, value);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let told: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("sealpipe: "))
            .collect();
        assert_eq!(told.len(), 1, "{said}");
        assert!(told[0].contains(hint) && told[0].contains(value), "{said}");
    }
}

#[test]
fn nothing_is_left_of_the_signals() {
    #[cfg(target_os = "linux")]
    {
        let place = Place::new();
        let left = || {
            let name = format!("sem.ipcez_{}", place.text.replace(['/', '.'], "_"));
            let entries = std::fs::read_dir("/dev/shm").unwrap();
            let is_ours =
                |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&name);
            entries
                .filter(|entry| is_ours(entry.as_ref().unwrap()))
                .count()
        };
        let signals = sealpipe_endpoint::IpcezSignals::claim(&place.text).unwrap();
        signals.acked();
        assert_eq!(left(), 2);
        signals.unlink();
        assert_eq!(left(), 0);
    }
    let impossible = sealpipe_endpoint::IpcezSignals::claim("a\0b");
    assert!(impossible.is_err());
    assert!(Endpoint::url("ws://a\0b").is_err());
}
