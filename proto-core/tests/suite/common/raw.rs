//! A peer made of a script: it writes what it is told, valid or not, and reads
//! what comes back frame by frame. In sealed mode it has its own Noise.

use super::{Side, key};
use bytes::{BufMut, BytesMut};
use sealpipe_core::wire::{
    DataHead, Extension, Frame, FrameHeader, FrameType, Hello, MAX_FRAME_PLAIN, Mode, Preface,
    Status, VERSION,
};
use sealpipe_core::{
    AckLevel, ChaChaPoly, CipherProvider, Config, Key, Kind, RecordCipher, Role, Time,
};
use snow::{
    Builder, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use std::sync::Arc;

/// snow's own algorithms, with a fixed ephemeral secret.
struct Fixed([u8; 32]);

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Fixed(self.0)))
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Random for Fixed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        dest.copy_from_slice(&self.0[..dest.len()]);
        Ok(())
    }
}

/// One side of `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`, with a fixed ephemeral
/// secret.
pub fn noise(
    initiator: bool,
    key: &[u8; 32],
    prologue: &[u8],
    ephemeral: [u8; 32],
) -> HandshakeState {
    let params = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s"
        .parse()
        .expect("a pattern");
    let builder = Builder::with_resolver(params, Box::new(Fixed(ephemeral)))
        .psk(0, key)
        .and_then(|builder| builder.prologue(prologue))
        .expect("valid parameters");
    let state = if initiator {
        builder.build_initiator()
    } else {
        builder.build_responder()
    };
    state.expect("valid parameters")
}

/// Seals or opens one direction, by PROTOCOL.md section 5.
pub struct Records {
    pub cipher: Box<dyn RecordCipher>,
    pub counter: u64,
}

impl Records {
    pub fn new(key: &[u8; 32]) -> Records {
        Records {
            cipher: ChaChaPoly.cipher(key),
            counter: 0,
        }
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        nonce
    }

    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let header = (plaintext.len() as u16).to_be_bytes();
        let mut data = plaintext.to_vec();
        let nonce = self.nonce();
        let tag = self
            .cipher
            .seal(&nonce, &header, &mut data)
            .expect("short enough");
        [&header[..], &data, &tag].concat()
    }

    /// The plaintext of the record at the front of `bytes`, and the record's
    /// length.
    pub fn open(&mut self, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let header = bytes.first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*header));
        let mut data = bytes.get(2..2 + length + 16)?.to_vec();
        let nonce = self.nonce();
        self.cipher.open(&nonce, header, &mut data).ok()?;
        data.truncate(length);
        Some((data, 2 + length + 16))
    }
}

/// A frame as the scripted peer reads it, DATA with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Data {
        first: bool,
        fin: bool,
        body: Vec<u8>,
    },
    Ack {
        next: u64,
        settled: u64,
    },
    Result {
        seq: u64,
        code: u64,
        reason: String,
    },
    Credit {
        bytes: u64,
        messages: u64,
    },
    Ping([u8; 8]),
    Pong([u8; 8]),
    Cancel {
        seq: u64,
    },
    Close {
        code: u64,
        delivered: u64,
        reason: String,
    },
    Finish {
        end: u64,
    },
    Pad,
    Hello(Hello),
}

/// Cuts plain bytes into frames; all of them must be whole.
pub fn frames(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let header = FrameHeader::decode(bytes, MAX_FRAME_PLAIN)
            .expect("a known frame")
            .expect("a whole header");
        let body = &bytes[header.header_len..header.header_len + header.body_len];
        bytes = &bytes[header.header_len + header.body_len..];
        if let FrameType::Data { first, fin } = header.frame_type {
            seen.push(Seen::Data {
                first,
                fin,
                body: body.to_vec(),
            });
            continue;
        }
        seen.push(
            match Frame::decode(header.frame_type, body).expect("a valid frame") {
                Frame::Ack { next, settled } => Seen::Ack { next, settled },
                Frame::Result { seq, code, reason } => Seen::Result {
                    seq,
                    code,
                    reason: reason.into(),
                },
                Frame::Credit { bytes, messages } => Seen::Credit { bytes, messages },
                Frame::Ping(data) => Seen::Ping(data),
                Frame::Pong(data) => Seen::Pong(data),
                Frame::Cancel { seq } => Seen::Cancel { seq },
                Frame::Close {
                    code,
                    delivered,
                    reason,
                } => Seen::Close {
                    code,
                    delivered,
                    reason: reason.into(),
                },
                Frame::Finish { end } => Seen::Finish { end },
                Frame::Pad => Seen::Pad,
                Frame::Hello(body) => Seen::Hello(Hello::decode(body).expect("a valid HELLO")),
                other => panic!("a frame that the tests do not know: {other:?}"),
            },
        );
    }
    seen
}

/// The body of a DATA frame with FIRST.
pub fn data_body(seq: u64, ack: AckLevel, total: Option<u64>, payload: &[u8]) -> Vec<u8> {
    let head = DataHead {
        seq,
        kind: Kind::Message,
        ack,
        total,
        correlation: None,
        topic: None,
        extension: Extension::default(),
    };
    let mut body = Vec::new();
    head.encode(&mut body);
    body.extend_from_slice(payload);
    body
}

/// Any frame from its type byte and body.
pub fn frame(byte: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![byte];
    sealpipe_core::wire::varint::encode(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}

/// A whole message in one frame.
pub fn whole(seq: u64, ack: AckLevel, payload: &[u8]) -> Vec<u8> {
    frame(0x32, &data_body(seq, ack, None, payload))
}

/// The first fragment of a longer message.
pub fn first(seq: u64, ack: AckLevel, total: u64, payload: &[u8]) -> Vec<u8> {
    frame(0x12, &data_body(seq, ack, Some(total), payload))
}

/// A further fragment.
pub fn more(fin: bool, payload: &[u8]) -> Vec<u8> {
    frame(if fin { 0x22 } else { 0x02 }, payload)
}

/// A control frame.
pub fn control(frame: Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out);
    out
}

/// HELLO as the scripted peer says it unless told otherwise.
pub fn hello(session: [u8; 16]) -> Hello {
    Hello {
        max_message: 1 << 20,
        credit_bytes: 1 << 20,
        credit_messages: 1_000,
        session,
        ..Hello::default()
    }
}

pub fn hello_body(hello: &Hello) -> Vec<u8> {
    let mut body = Vec::new();
    hello.encode(&mut body);
    body
}

pub fn preface(mode: Mode, key: &Key) -> Preface {
    let id = if mode == Mode::Sealed {
        key.id()
    } else {
        Default::default()
    };
    Preface {
        version: VERSION,
        mode,
        status: Status::Accepted,
        key: id,
    }
}

/// The bytes of the tests' key, which `Key` does not give out.
pub const KEY: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

/// The scripted peer and the real side that it talks to, open.
pub struct Script {
    pub side: Side,
    pub now: Time,
    /// Sealed mode: what the script seals with, and opens with.
    pub tx: Option<Records>,
    pub rx: Option<Records>,
    /// What the real side said of itself.
    pub peer: Hello,
}

impl Script {
    /// The real side is of `role`; the script has done its half of the
    /// handshake with `own` as its HELLO (the session is filled in).
    pub fn open(config: Arc<Config>, role: Role, own: Hello) -> Script {
        let now = super::seconds(1);
        let mut side = Side::new(config.clone(), role, 9, now);
        let sealed = config.mode() == Mode::Sealed;
        let own_preface = preface(config.mode(), &key()).encode();
        let (mut tx, mut rx) = (None, None);
        let peer;
        match (role, sealed) {
            (Role::Responder, false) => {
                let own = Hello {
                    session: [5; 16],
                    ..own
                };
                side.feed(
                    now,
                    &[&own_preface[..], &control(Frame::Hello(&hello_body(&own)))].concat(),
                );
                let answer = side.take_output(now);
                peer = one_hello(&answer[Preface::LEN..]);
            }
            (Role::Initiator, false) => {
                let asked = side.take_output(now);
                peer = one_hello(&asked[Preface::LEN..]);
                let own = Hello {
                    session: peer.session,
                    ..own
                };
                side.feed(
                    now,
                    &[&own_preface[..], &control(Frame::Hello(&hello_body(&own)))].concat(),
                );
            }
            (Role::Responder, true) => {
                let own = Hello {
                    session: [5; 16],
                    ..own
                };
                let mut state = noise(true, &KEY, &own_preface, [3; 32]);
                let message = write_noise(&mut state, &hello_body(&own));
                side.feed(now, &[&own_preface[..], &message].concat());
                let answer = side.take_output(now);
                assert_eq!(answer[..16], own_preface);
                let payload = read_noise(&mut state, &answer[16..]);
                assert_eq!(payload[..16], own_preface);
                peer = Hello::decode(&payload[16..]).expect("a valid HELLO");
                let (initiator, responder) = state.dangerously_get_raw_split();
                let mut records = Records::new(&initiator);
                side.feed(now, &records.seal(&control(Frame::Pad)));
                (tx, rx) = (Some(records), Some(Records::new(&responder)));
            }
            (Role::Initiator, true) => {
                let asked = side.take_output(now);
                let mut state = noise(false, &KEY, &asked[..16], [3; 32]);
                peer = Hello::decode(&read_noise(&mut state, &asked[16..])).expect("a valid HELLO");
                let own = Hello {
                    session: peer.session,
                    ..own
                };
                let payload = [&own_preface[..], &hello_body(&own)].concat();
                let message = write_noise(&mut state, &payload);
                side.feed(now, &[&own_preface[..], &message].concat());
                let (initiator, responder) = state.dangerously_get_raw_split();
                (tx, rx) = (
                    Some(Records::new(&responder)),
                    Some(Records::new(&initiator)),
                );
            }
        }
        assert!(side.connection.is_open(), "{:?}", side.connection);
        side.take(true);
        side.events.clear();
        let mut script = Script {
            side,
            now,
            tx,
            rx,
            peer,
        };
        if (role, sealed) == (Role::Initiator, true) {
            assert_eq!(script.read(), [Seen::Pad], "the initiator confirms at once");
        }
        script
    }

    /// What `bytes` of frames look like on the stream: one record in sealed mode.
    pub fn wrap(&mut self, bytes: &[u8]) -> Vec<u8> {
        match &mut self.tx {
            Some(records) => records.seal(bytes),
            None => bytes.to_vec(),
        }
    }

    /// Writes frames, in sealed mode as few records as hold them.
    pub fn write(&mut self, bytes: &[u8]) {
        let size = if self.tx.is_some() {
            65_535
        } else {
            usize::MAX
        };
        for chunk in bytes.chunks(size) {
            let bytes = self.wrap(chunk);
            self.side.feed(self.now, &bytes);
        }
    }

    /// Writes frames; the real side then has nothing more to read for now.
    pub fn write_idle(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.side.connection.handle_idle();
    }

    /// What the real side has to say.
    pub fn read(&mut self) -> Vec<Seen> {
        let bytes = self.side.take_output(self.now);
        match &mut self.rx {
            None => frames(&bytes),
            Some(records) => {
                let (mut seen, mut rest) = (Vec::new(), &bytes[..]);
                while !rest.is_empty() {
                    let (plaintext, length) = records.open(rest).expect("a record that opens");
                    assert!(!plaintext.is_empty());
                    seen.extend(frames(&plaintext));
                    rest = &rest[length..];
                }
                seen
            }
        }
    }

    /// Time passes on the real side.
    pub fn sleep_until(&mut self, at: Time) {
        self.now = self.now.max(at);
        self.side.connection.handle_timeout(self.now);
    }
}

pub fn write_noise(state: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; payload.len() + 48];
    let length = state
        .write_message(payload, &mut message)
        .expect("this side's turn");
    assert_eq!(length, message.len());
    [&(length as u16).to_be_bytes()[..], &message].concat()
}

pub fn read_noise(state: &mut HandshakeState, bytes: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    assert_eq!(
        bytes.len(),
        2 + length,
        "a handshake message and nothing else"
    );
    let mut payload = vec![0; 1_024];
    let n = state
        .read_message(&bytes[2..], &mut payload)
        .expect("a message that opens");
    payload.truncate(n);
    payload
}

fn one_hello(bytes: &[u8]) -> Hello {
    match &frames(bytes)[..] {
        [Seen::Hello(hello)] => *hello,
        other => panic!("not one HELLO: {other:?}"),
    }
}

/// A buffer of frames put together.
pub fn join<const N: usize>(parts: [Vec<u8>; N]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for part in parts {
        out.put_slice(&part);
    }
    out.to_vec()
}
