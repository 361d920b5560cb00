//! A peer under the test's hand: the core knows the protocol, the test decides
//! what of it goes over the wire, and what else.

use crate::Raw;
use bytes::Buf;
use sealpipe_core::{
    Config, Connection, ConnectionError, RecvBuf, Role, SendBuf, Time,
    wire::{DataHead, Extension, FrameHeader, FrameType},
};
use sealpipe_tokio::{AckLevel, Kind};
use std::{io, sync::Arc, time::Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A core on a raw stream.
pub struct Hand {
    /// The protocol's state.
    pub core: Connection,
    /// The stream, to write on behind the core's back.
    pub stream: Raw,
    input: RecvBuf,
    output: SendBuf,
    origin: Instant,
}

impl Hand {
    /// A peer that has sent nothing yet.
    ///
    /// # Panics
    /// If the random generator fails.
    pub fn new(stream: Raw, role: Role, config: impl Into<Arc<Config>>) -> Hand {
        Hand {
            core: Connection::new(config.into(), role, &mut getrandom::SysRng, Time::ZERO)
                .expect("randomness"),
            stream,
            input: RecvBuf::new(),
            output: SendBuf::new(),
            origin: Instant::now(),
        }
    }

    /// A peer that has done its handshake.
    ///
    /// # Panics
    /// If that fails.
    pub async fn open(stream: Raw, role: Role, config: impl Into<Arc<Config>>) -> Hand {
        let mut hand = Hand::new(stream, role, config);
        hand.flush().await.expect("the handshake goes out");
        while !hand.core.is_open() {
            assert!(hand.read().await, "no handshake: {:?}", hand.core.end());
            hand.flush().await.expect("the handshake goes out");
        }
        hand
    }

    /// The time that has passed, for the core.
    pub fn now(&self) -> Time {
        Time::from_nanos(self.origin.elapsed().as_nanos().try_into().unwrap_or(0))
    }

    /// What the core would send now. It believes that it went out.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(self.now(), &mut self.output) {
            let chunk = self.output.chunk();
            bytes.extend_from_slice(chunk);
            let n = chunk.len();
            self.output.advance(n);
        }
        bytes
    }

    /// Sends what the core would.
    ///
    /// # Errors
    /// What the system says.
    pub async fn flush(&mut self) -> io::Result<()> {
        let bytes = self.take_output();
        self.stream.write_all(&bytes).await
    }

    /// Sends bytes of the test's own.
    ///
    /// # Errors
    /// What the system says.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads once and lets the core take it in; `false` at the end of the stream.
    pub async fn read(&mut self) -> bool {
        let now = self.now();
        match self.stream.read_buf(&mut self.input.spare()).await {
            Ok(1..) => {
                // Why it ended is asked for by the test.
                let _ = self.core.handle_input(now, &mut self.input);
                self.core.handle_idle();
                true
            }
            _ => {
                self.core.handle_eof(now, &self.input);
                false
            }
        }
    }

    /// Reads on until the connection has ended, and the other side has closed the
    /// stream, too.
    ///
    /// # Panics
    /// If the stream ends and the core does not.
    pub async fn ended(&mut self) -> ConnectionError {
        while self.read().await {}
        self.core.end().cloned().expect("an end")
    }
}

/// Sealed bytes, cut into records (PROTOCOL.md, section 5).
///
/// # Panics
/// If they are not whole records.
pub fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(length) = bytes.first_chunk::<2>() {
        let (record, rest) = bytes.split_at(2 + usize::from(u16::from_be_bytes(*length)) + 16);
        records.push(record.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty());
    records
}

/// A DATA frame by hand: the first of message `seq` if `total` says how long that
/// is to be, and a whole message without it.
pub fn data(seq: u64, total: Option<u64>, payload: &[u8]) -> Vec<u8> {
    let head = DataHead {
        seq,
        kind: Kind::Message,
        ack: AckLevel::None,
        total,
        correlation: None,
        topic: None,
        extension: Extension::default(),
    };
    let mut frame = Vec::new();
    let fin = total.is_none();
    FrameHeader::encode(
        FrameType::Data { first: true, fin },
        head.encoded_len() + payload.len(),
        &mut frame,
    );
    head.encode(&mut frame);
    frame.extend_from_slice(payload);
    frame
}
