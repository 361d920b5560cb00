//! One endpoint string and one handler, with threads.

use sealpipe_blocking::{
    Config, ConnectOptions, Error, Key, ListenOptions,
    ipcez::{self, Listener},
};
use std::{sync::mpsc, time::Duration};

/// An endpoint of the test's own, as one writes it.
#[cfg(unix)]
fn place() -> (String, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ipcez.sock");
    (path.to_str().unwrap().to_owned(), directory)
}

#[cfg(windows)]
fn place() -> (String, ()) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("sealpipe-blocking-ipcez-{}-{number}", std::process::id());
    (name, ())
}

#[test]
fn the_handler_has_every_message_and_once_the_end() {
    let sealed = Config::sealed(Key::from_bytes([7; 32])).build().unwrap();
    for config in [ipcez::config(), Config::default(), sealed] {
        let (endpoint, _directory) = place();
        let options = ListenOptions::new(config.clone());
        let mut listener = Listener::bind_with(&endpoint, &options).unwrap();
        let (tell, told) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let socket = listener.accept().unwrap();
            let handler = socket.on_message(move |message| tell.send(message).unwrap());
            socket.send("welcome").unwrap();
            handler.unwrap().join().unwrap();
        });
        let client = ipcez::connect_with(&endpoint, &ConnectOptions::new(config)).unwrap();
        assert_eq!(client.recv().unwrap(), "welcome");
        for text in ["one", "", "three"] {
            client.send(text).unwrap();
            let message = told.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(message.unwrap(), text);
        }
        client.disconnect();
        let end = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(end, Err(Error::Connection(_))), "{end:?}");
        server.join().unwrap();
        told.recv().unwrap_err();
        client.send("too late").unwrap_err();
    }
}

#[test]
fn one_string_is_enough() {
    let (endpoint, _directory) = place();
    let mut listener = Listener::bind(&endpoint).unwrap();
    assert!(listener.address().to_string().contains("ipcez"));
    let client = std::thread::spawn(move || {
        let socket = ipcez::connect(&endpoint).unwrap();
        socket.send("hello").unwrap();
        socket.recv().unwrap_err();
    });
    let socket = listener.accept().unwrap();
    assert_eq!(socket.recv().unwrap(), "hello");
    socket.disconnect();
    client.join().unwrap();
}
