//! Pipes that keep messages apart.
#![cfg(windows)]

use std::io::{ErrorKind, Result};
use std::os::windows::io::AsHandle as _;
use std::time::Duration;

use sealpipe_endpoint::{
    Access, Endpoint, ListenOptions, PipeEvent, PipeInstance, PipeReader, PipeWriter, connect,
    pipe_halves, wait_any,
};

/// How long anything may take that is going to happen.
const DEADLINE: Duration = Duration::from_secs(20);

type Halves = (PipeReader, PipeWriter);

/// The two ends of a connection: the server's, the client's.
fn pair(test: &str) -> (Halves, Halves) {
    let name = format!("test-{}-messages-{test}", std::process::id());
    let endpoint = Endpoint::name(&name).unwrap();
    let options = ListenOptions::new().message_mode(true);
    let (server, _claim) = options.listen(&endpoint).unwrap().into_parts();
    let client = connect(&endpoint, &Access::SameUser).unwrap().stream;
    let mut server = PipeInstance::new(server).unwrap();
    server.try_connect().unwrap();
    (server.into_halves().unwrap(), pipe_halves(client).unwrap())
}

/// Waits until it would not block.
fn until<H, T>(
    half: &mut H,
    event: fn(&H) -> &PipeEvent,
    mut attempt: impl FnMut(&mut H) -> Result<T>,
) -> Result<T> {
    loop {
        match attempt(half) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let woken = wait_any(&[event(half).as_handle()], Some(DEADLINE));
                woken.unwrap().expect("it takes too long");
            }
            result => return result,
        }
    }
}

fn message(reader: &mut PipeReader, max: usize) -> Result<Option<Vec<u8>>> {
    until(reader, PipeReader::event, |reader| {
        reader.try_read_message(max)
    })
}

#[test]
fn each_write_is_a_message() {
    let ((mut reader, _), (other_reader, mut writer)) = pair("apart");
    let would_block = reader.try_read_message(10).unwrap_err();
    assert_eq!(would_block.kind(), ErrorKind::WouldBlock);
    for text in [b"one".as_slice(), b"", b"three"] {
        writer.try_write_message(text.to_vec()).unwrap();
    }
    for text in [b"one".as_slice(), b"", b"three"] {
        assert_eq!(message(&mut reader, 5).unwrap().unwrap(), text);
    }
    drop((other_reader, writer));
    assert_eq!(message(&mut reader, 5).unwrap(), None);
}

#[test]
fn a_message_larger_than_what_the_pipe_buffers_is_one() {
    let ((mut reader, _), (_other_reader, mut writer)) = pair("large");
    let large: Vec<u8> = (0..1_000_000_u32).map(|byte| byte as u8).collect();
    writer.try_write_message(large.clone()).unwrap();
    assert_eq!(message(&mut reader, large.len()).unwrap().unwrap(), large);
    until(&mut writer, PipeWriter::event, PipeWriter::try_flush).unwrap();
}

#[test]
fn a_message_above_the_limit_is_told() {
    let ((mut reader, _), (_other_reader, mut writer)) = pair("limit");
    writer.try_write_message(vec![7; 101]).unwrap();
    let error = message(&mut reader, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}
