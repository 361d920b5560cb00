//! PipeCom's way over Windows pipes, with peers made by other means: a plain file for a
//! sender, a pipe of sealpipe-endpoint for a listener.
//!
//! Not shown: PipeCom itself, for there is no Python under Wine; and a listener that says
//! nothing of who owns its pipe, for Wine then knows of no owner at all, where Windows
//! names the user.
#![cfg(windows)]

use sealpipe_blocking::pipecom::{
    Code, Error, ListenOptions, Listener, Outcome, Pipe, SendOptions,
};
use sealpipe_endpoint::{
    Endpoint, ListenOptions as ListenOptionsOfPipe, PipeEvent, PipeInstance, PipeReader,
    PipeWriter, wait_any,
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::windows::io::AsHandle as _,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(30);

fn name(test: &str) -> String {
    format!("pipecom-peers-{}-{test}", std::process::id())
}

fn once() -> SendOptions {
    SendOptions::new().attempts(Some(1)).timeout(Some(DEADLINE))
}

fn listen(name: &str, options: ListenOptions) -> (Listener, Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let listener = options.listen(name, move |text| {
        let _ = tell.send(text.to_owned());
        None
    });
    (listener.unwrap(), told)
}

/// A sender of another make: connects, and writes what is one message.
fn connect(name: &str) -> File {
    let path = Pipe::new(name).unwrap().to_string();
    assert_eq!(path, format!(r"\\.\pipe\{name}"));
    loop {
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(pipe) => return pipe,
            // ERROR_PIPE_BUSY: the instances that wait are taken.
            Err(error) if error.raw_os_error() == Some(231) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What it is answered, until the end.
fn answer(mut pipe: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    match pipe.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

#[test]
fn a_sender_of_another_make_is_answered() {
    let name = name("sender");
    let (listener, told) = listen(&name, ListenOptions::new());
    for (message, text) in [(b"SGk=".as_slice(), "Hi"), (b"Z3LDvMOfZQ==", "grüße")] {
        let mut pipe = connect(&name);
        pipe.write_all(message).unwrap();
        assert_eq!(answer(&pipe), b"ACK");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [text]);
    }
    let mut pipe = connect(&name);
    pipe.write_all(b"UElQRUNPTV9ESUU=").unwrap();
    assert_eq!(answer(&pipe), b"ACK");
    assert_eq!(listener.join().unwrap().messages, 2);
}

#[test]
fn what_is_no_message_is_passed_over() {
    let name = name("hostile");
    let (listener, told) = listen(&name, ListenOptions::new().max_message(100_000));
    let long = b"QUFB".repeat(100_000);
    let bad: [&[u8]; 5] = [b"not base64!", b"SGk=\n", b"SGk", b"/w==", &long];
    for message in bad {
        let mut pipe = connect(&name);
        // The long one may be refused before it is out.
        let _ = pipe.write_all(message);
        assert_eq!(answer(&pipe), b"", "{:?}", &message[..3]);
        once().send(&name, "fine").unwrap();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["fine"]);
    }
    drop(connect(&name));
    // One message a connection: what comes after it has no answer of its own.
    let mut pipe = connect(&name);
    pipe.write_all(b"b25l").unwrap();
    assert_eq!(answer(&pipe), b"ACK");
    pipe.write_all(b"dHdv").unwrap_err();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["one"]);
    listener.stop().unwrap();
}

#[test]
fn those_that_connect_and_say_nothing_hold_up_nobody() {
    let name = name("silent");
    let (listener, told) = listen(&name, ListenOptions::new());
    let silent: Vec<File> = (0..20).map(|_| connect(&name)).collect();
    for _ in 0..5 {
        once().send(&name, "text").unwrap();
    }
    assert_eq!(told.try_iter().count(), 5);
    drop(silent);
    once().send(&name, "text").unwrap();
    listener.stop().unwrap();
}

/// Tries until it would not block.
fn until<H, T>(
    half: &mut H,
    event: fn(&H) -> &PipeEvent,
    mut attempt: impl FnMut(&mut H) -> std::io::Result<T>,
) -> T {
    loop {
        match attempt(half) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let woken = wait_any(&[event(half).as_handle()], Some(DEADLINE)).unwrap();
                woken.expect("it takes too long");
            }
            result => return result.unwrap(),
        }
    }
}

/// A listener of another make: a new pipe for each message, with nobody there in between,
/// each answered so.
fn other(name: &str, answers: &'static [&'static [u8]]) -> thread::JoinHandle<Vec<Vec<u8>>> {
    let endpoint = Endpoint::pipe(&Pipe::new(name).unwrap().to_string()).unwrap();
    let (ready, wait) = mpsc::channel();
    let listening = thread::spawn(move || {
        let answer = |answer: &&[u8]| {
            let options = ListenOptionsOfPipe::new().message_mode(true);
            let (first, _claim) = options.listen(&endpoint).unwrap().into_parts();
            let mut pipe = PipeInstance::new(first).unwrap();
            let _ = ready.send(());
            until(&mut pipe, PipeInstance::event, PipeInstance::try_connect);
            let (mut reader, mut writer) = pipe.into_halves().unwrap();
            let mut message = vec![0; 1 << 20];
            let length = until(&mut reader, PipeReader::event, |reader| {
                reader.try_read(&mut message)
            });
            message.truncate(length);
            writer.try_write(answer).unwrap();
            until(&mut writer, PipeWriter::event, PipeWriter::try_flush);
            message
        };
        answers.iter().map(answer).collect()
    });
    wait.recv().unwrap();
    listening
}

#[test]
fn a_listener_of_another_make_is_sent_to() {
    let name = name("listener");
    let large = "x".repeat(300_000);
    let listening = other(&name, &[b"ACK", b"ACK", b"ACK"]);
    let sending = SendOptions::new();
    for text in ["Hi", "grüße", &large] {
        sending.send(&name, text).unwrap();
    }
    let messages = listening.join().unwrap();
    assert_eq!(messages[0], b"SGk=");
    assert_eq!(messages[1], b"Z3LDvMOfZQ==");
    assert_eq!(messages[2].len(), 400_000);
    let error = once().send(&name, "late").unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::ConnectionFailed, Outcome::NotSent)
    );
}

#[test]
fn an_answer_that_is_no_acknowledgement_is_told() {
    let name = name("answer");
    let listening = other(&name, &[b"NO!", b""]);
    let sending = SendOptions::new();
    for what in ["no acknowledgement", "closed the pipe"] {
        let error = sending.send(&name, "text").unwrap_err();
        assert!(matches!(error, Error::NotAcknowledged { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    listening.join().unwrap();
}
