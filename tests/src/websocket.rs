//! WebSockets by hand: what honest libraries do not send.

use sealpipe_endpoint::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Opcodes of RFC 6455.
pub mod opcode {
    /// Goes on with what began.
    pub const CONTINUE: u8 = 0;
    /// A message of text.
    pub const TEXT: u8 = 1;
    /// A message of bytes.
    pub const BINARY: u8 = 2;
    /// The goodbye.
    pub const CLOSE: u8 = 8;
    /// To be answered with a pong.
    pub const PING: u8 = 9;
    /// The answer to a ping.
    pub const PONG: u8 = 10;
}

/// The request for a WebSocket, with further lines of its head.
pub fn request(url: &Url, further: &str) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{further}\r\n",
        url.path(),
        url.host(),
        url.port(),
    )
}

/// Connects and sends `text`; says what is answered, up to the empty line.
///
/// # Panics
/// If there is nobody, or the answer does not end.
pub async fn ask(url: &Url, text: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect((url.host(), url.port()))
        .await
        .expect("a server");
    stream.write_all(text.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    (stream, String::from_utf8(answer).expect("text"))
}

/// A WebSocket of a client's.
///
/// # Panics
/// If it does not come about.
pub async fn open(url: &Url) -> TcpStream {
    let (stream, answer) = ask(url, &request(url, "")).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// A frame as clients send it: the first byte as it is, the length and the payload.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    // A mask of zeros changes nothing.
    frame.extend_from_slice(payload);
    frame
}

/// What stands in front of the payload of a frame, mask and all.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..65536 => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// The next frame of a server's: its first byte, and the payload. `None` at the end.
///
/// # Panics
/// If it is cut.
pub async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let length = match stream.read_u8().await.expect("a length") {
        126 => u64::from(stream.read_u16().await.expect("a length")),
        127 => stream.read_u64().await.expect("a length"),
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut payload).await.expect("a payload");
    Some((first, payload))
}
