//! Sockets that a service manager passed: the test plays the manager, and passes them
//! by way of a shell, which knows the process id that they are for.
//!
//! Unix only: nothing of the kind is on Windows.
#![cfg(unix)]

use rustix::io::FdFlags;
use sealpipe_driver::vocabulary::{Config, Endpoint, EndpointError, activated};
use sealpipe_tests::{
    Adapter, Helper,
    api::{Connection, Listener},
    on_adapter, place, role, say, within,
};
use std::{
    fs::File,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::Command,
};

sealpipe_tests::on_every_adapter! {
    a_socket_that_was_passed_is_served,
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    if role == "take" {
        return take();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(within(async {
        on_adapter!(&*arguments[0], serve());
    }));
}

async fn serve<R: Adapter>() {
    let mut passed = activated().unwrap();
    assert_eq!(passed.len(), 1);
    let mut listener = R::listen(passed.remove(0), 1, Config::default()).unwrap();
    let connection = listener.accept().await.unwrap();
    let message = connection.recv().await.unwrap().unwrap();
    say(std::str::from_utf8(&message.payload).unwrap());
    connection.finish().await.unwrap();
}

/// Takes them twice, and says what it gets each time.
fn take() {
    let mut kept = Vec::new();
    for _ in 0..2 {
        match activated() {
            Ok(passed) => {
                say(&format!("took {}", passed.len()));
                kept.extend(passed.into_iter().map(|listener| listener.into_parts().0));
            }
            Err(error @ EndpointError::Activation { .. }) => say(&error.to_string()),
            Err(error) => panic!("{error}"),
        }
    }
    for socket in kept {
        let flags = rustix::io::fcntl_getfd(&socket).unwrap();
        assert_eq!(flags, FdFlags::CLOEXEC, "a child would inherit it");
    }
}

/// Starts a helper that has `socket` as descriptor 3, and is told so for the process
/// `of`: a shell's variable for its own.
fn with(socket: OwnedFd, of: &str, count: &str, role: &str, arguments: &[&str]) -> Helper {
    let mut command = Command::new("sh");
    let script = format!("LISTEN_PID={of} LISTEN_FDS={count} exec \"$0\" \"$@\" 3<&2 2>/dev/null");
    command
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .stderr(socket);
    Helper::start_by(command, role, arguments)
}

async fn a_socket_that_was_passed_is_served<R: Adapter>() {
    within(async {
        let place = place();
        let path = place.directory().join("passed");
        let socket = UnixListener::bind(&path).unwrap();
        let mut server = with(socket.into(), "$$", "1", "serve", &[R::NAME]);
        let endpoint = Endpoint::path(&path);
        // The system takes clients from the start: that is what it is for.
        let client = R::connect(&endpoint, Config::default()).await.unwrap();
        client.send("woken").await.unwrap();
        client.finish().await.unwrap();
        assert_eq!(server.line(), "woken");
        server.end();
        assert!(path.exists(), "it is the manager's, and stays");
    })
    .await;
}

/// What a helper says that tries twice.
fn takes(socket: impl Into<OwnedFd>, of: &str, count: &str) -> [String; 2] {
    let mut helper = with(socket.into(), of, count, "take", &[]);
    let said = [helper.line(), helper.line()];
    helper.end();
    said
}

#[test]
fn what_was_passed_is_taken_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(directory.path().join("passed")).unwrap();
    let [first, second] = takes(socket, "$$", "1");
    assert_eq!(first, "took 1");
    assert!(second.contains("taken already"), "{second}");
}

#[test]
fn what_is_for_another_process_or_nobody_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(directory.path().join("passed")).unwrap();
    let other = std::process::id().to_string();
    for of in [&other, "", "1x"] {
        let said = takes(socket.try_clone().unwrap(), of, "1");
        assert_eq!(said, ["took 0", "took 0"], "LISTEN_PID={of}");
    }
}

#[test]
fn what_is_no_listening_unix_stream_socket_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(directory.path().join("passed")).unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let network = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cases: [(OwnedFd, &str, &str); 7] = [
        (
            File::open("/dev/null").unwrap().into(),
            "1",
            "descriptor 3: no socket",
        ),
        (
            pair.into(),
            "1",
            "descriptor 3: a socket that does not listen",
        ),
        (datagrams.into(), "1", "descriptor 3: no stream socket"),
        (network.into(), "1", "descriptor 3: a socket of the network"),
        (
            socket.try_clone().unwrap().into(),
            "2",
            "descriptor 4: not open",
        ),
        (
            socket.try_clone().unwrap().into(),
            "many",
            "LISTEN_FDS=many: no number",
        ),
        (socket.into(), "-1", "LISTEN_FDS=-1: no number"),
    ];
    for (socket, count, words) in cases {
        // Nothing was taken by the first try: the second finds the same.
        for said in takes(socket, "$$", count) {
            assert!(said.contains(words), "{said}");
            assert!(said.contains("ListenStream="), "{said}");
        }
    }
}
