//! What holds for any bytes, however they are cut.

use crate::common;

use common::raw::{Script, control, first, frame, hello, more, whole};
use common::{Rng, Side, builder, key, seconds};
use core::time::Duration;
use proptest::collection::vec;
use proptest::prelude::*;
use sealpipe_core::wire::varint::{self, Reader};
use sealpipe_core::wire::{
    DataHead, Extension, Frame, FrameHeader, FrameType, Hello, MAX_FRAME_PLAIN, Mode, Preface,
    Status,
};
use sealpipe_core::{
    AckLevel, Config, ConnectionError, Event, Key, KeyId, Kind, Message, Mismatch, Received, Role,
};

fn number() -> impl Strategy<Value = u64> {
    // All four lengths, and their edges.
    prop_oneof![
        0..=0x40u64,
        0x3f00..=0x4100u64,
        0x3fff_ff00..=0x4000_0100u64,
        0..=varint::MAX
    ]
}

fn ack() -> impl Strategy<Value = AckLevel> {
    prop_oneof![
        Just(AckLevel::None),
        Just(AckLevel::Received),
        Just(AckLevel::Processed)
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Message),
        Just(Kind::Request),
        Just(Kind::Reply),
        Just(Kind::Error),
        Just(Kind::Event),
        Just(Kind::Subscribe),
        Just(Kind::Unsubscribe),
    ]
}

proptest! {
    #[test]
    fn varints_come_back(value in number(), rest in vec(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        varint::encode(value, &mut bytes);
        prop_assert_eq!(bytes.len(), varint::encoded_len(value));
        for n in 0..bytes.len() {
            prop_assert_eq!(Reader::new(&bytes[..n]).varint(), None);
        }
        bytes.extend_from_slice(&rest);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.varint(), Some(value));
        prop_assert_eq!(reader.rest(), &rest[..]);
    }

    #[test]
    fn prefaces_come_back(version: u8, mode: u8, status in 0..8u8, id: [u8; 8]) {
        let bytes = [&Preface::MAGIC[..], &[version, mode, status, 0], &id].concat();
        for n in 0..16 {
            prop_assert_eq!(Preface::decode(&bytes[..n]), Ok(None));
        }
        let preface = Preface::decode(&bytes).expect("the magic").expect("whole");
        prop_assert_eq!((preface.version, preface.key), (version, KeyId(id)));
        prop_assert_eq!(&preface.encode()[..], &bytes[..]);
        prop_assert_eq!(preface.status == Status::Accepted, status == 0);
        prop_assert_eq!(preface.mode == Mode::Sealed, mode == 1);
    }

    #[test]
    fn hellos_come_back(minor in number(), max_message in number(), credit_messages in 1..varint::MAX,
                        session: [u8; 16], next in number(), settled in number(), resume: bool, resumable: bool, more in number()) {
        let credit_bytes = max_message.saturating_add(more).min(varint::MAX);
        let hello = Hello { minor, max_message, credit_bytes, credit_messages, session, next, settled, resume, resumable };
        let mut body = Vec::new();
        hello.encode(&mut body);
        prop_assert_eq!(Hello::decode(&body), Ok(hello));
        for n in 0..body.len() {
            // Shorter is at most a HELLO without its last items.
            let short = Hello::decode(&body[..n]);
            prop_assert!(short.is_err() || n > 30);
        }
    }

    #[test]
    fn control_frames_come_back(a in number(), b in number(), data: [u8; 8], reason in "\\PC{0,60}") {
        let frames = [
            Frame::Pad,
            Frame::Ack { next: a, settled: b },
            Frame::Result { seq: a, code: b, reason: &reason },
            Frame::Credit { bytes: a, messages: b },
            Frame::Ping(data),
            Frame::Pong(data),
            Frame::Cancel { seq: a },
            Frame::Close { code: a, delivered: b, reason: &reason },
            Frame::Finish { end: a },
        ];
        for frame in frames {
            let bytes = control(frame);
            let header = FrameHeader::decode(&bytes, MAX_FRAME_PLAIN).expect("known").expect("whole");
            prop_assert_eq!(header.header_len + header.body_len, bytes.len());
            prop_assert_eq!(Frame::decode(header.frame_type, &bytes[header.header_len..]), Ok(frame));
        }
    }

    #[test]
    fn message_heads_come_back(seq in number(), kind in kind(), ack in ack(), total in proptest::option::of(number()),
                               correlation in number(), topic in "[a-zé]{1,120}", payload in vec(any::<u8>(), 0..20),
                               millis in proptest::option::of(1u64..1 << 30), missed in 0u64..1 << 30, redelivered: bool) {
        let extension = Extension::default().with_missed(missed);
        let left = millis.map(core::time::Duration::from_millis);
        let extension = left.map_or(extension, |left| extension.with_time_left(left));
        let extension = if redelivered { extension.with_redelivered() } else { extension };
        prop_assert_eq!((extension.time_left(), extension.missed()), (left, missed));
        prop_assert_eq!(extension.is_redelivered(), redelivered);
        let head = DataHead {
            seq, kind, ack, total,
            correlation: kind.has_correlation().then_some(correlation),
            topic: kind.has_topic().then_some(topic.as_str()),
            extension,
        };
        let mut body = Vec::new();
        head.encode(&mut body);
        prop_assert_eq!(body.len(), head.encoded_len());
        let length = body.len();
        body.extend_from_slice(&payload);
        prop_assert_eq!(DataHead::decode(total.is_none(), &body), Ok((head, length)));
    }

    #[test]
    fn decoders_take_any_bytes(bytes in vec(any::<u8>(), 0..600), fin: bool) {
        let _ = Preface::decode(&bytes);
        let _ = Hello::decode(&bytes);
        let _ = DataHead::decode(fin, &bytes);
        if let Ok(Some(header)) = FrameHeader::decode(&bytes, MAX_FRAME_PLAIN) {
            prop_assert!(header.header_len + header.body_len <= MAX_FRAME_PLAIN);
            prop_assert!(header.header_len <= 9 && header.header_len <= bytes.len());
        }
        for byte in 0..=255 {
            if let Ok(Some(header)) = FrameHeader::decode(&[byte, 0], MAX_FRAME_PLAIN)
                && let Ok(frame) = Frame::decode(header.frame_type, &bytes)
            {
                let again = control(frame);
                let header = FrameHeader::decode(&again, usize::MAX).expect("known").expect("whole");
                prop_assert_eq!(Frame::decode(header.frame_type, &again[header.header_len..]), Ok(frame));
            }
        }
    }

    #[test]
    fn any_bytes_from_a_stranger_end_without_harm(bytes in vec(any::<u8>(), 0..3_000), sealed: bool, preface: bool) {
        for role in [Role::Initiator, Role::Responder] {
            let mut side = Side::new(common::config(sealed), role, 3, seconds(1));
            if preface {
                let mode = if sealed { Mode::Sealed } else { Mode::Plain };
                side.feed(seconds(1), &common::raw::preface(mode, &key()).encode());
            }
            side.feed(seconds(1), &bytes);
            side.take_output(seconds(1));
            side.eof(seconds(1));
            side.take(true);
            prop_assert!(side.closed().is_some());
            prop_assert!(side.received.is_empty());
        }
    }

    #[test]
    fn any_bytes_after_the_handshake_end_without_harm(bytes in vec(any::<u8>(), 0..3_000), sealed: bool) {
        let mut script = Script::open(common::config(sealed), Role::Responder, hello([0; 16]));
        // In sealed mode they are under the right key: the frames are the attack.
        for chunk in bytes.chunks(700) {
            script.write(chunk);
        }
        script.side.take_output(script.now);
        script.side.eof(script.now);
        script.side.take(true);
        prop_assert!(script.side.closed().is_some());
    }

    /// Programs build messages from anything; what is accepted is what arrives.
    #[test]
    fn messages_are_checked_when_they_are_made(kind in kind(), correlation: u64, topic in "\\PC{0,100}",
                                               payload in vec(any::<u8>(), 0..50), ack in ack()) {
        let fits = correlation <= varint::MAX;
        let named = (1..=255).contains(&topic.len());
        let made = Message::correlated(kind, correlation, payload.clone());
        prop_assert_eq!(made.is_ok(), fits && kind.has_correlation() && !kind.has_topic());
        let made = Message::subscription(kind, correlation, topic.as_str());
        prop_assert_eq!(made.is_ok(), fits && named && kind.has_correlation() && kind.has_topic());
        let made = Message::event(topic.as_str(), payload.clone());
        prop_assert_eq!(made.is_ok(), named);
        if let Ok(message) = made {
            prop_assert_eq!(message.size(), payload.len() + topic.len());
            let message = message.with_ack(ack);
            prop_assert_eq!((message.ack(), message.kind()), (ack, Kind::Event));
        }
    }

    #[test]
    fn configurations_are_checked_when_they_are_built(max: usize, window: usize, messages: usize, queue: usize,
                                                      ping in proptest::option::of(any::<u64>()),
                                                      end in proptest::option::of(any::<u64>())) {
        let duration = |nanos: Option<u64>| nanos.map(Duration::from_nanos);
        let built = Config::plain()
            .max_message(max)
            .receive_window(window, messages)
            .send_queue(queue, queue)
            .keepalive(duration(ping), duration(end))
            .build();
        let late = ping.zip(end).is_some_and(|(ping, end)| ping >= end);
        let big = window as u64 > varint::MAX || messages as u64 > varint::MAX;
        let valid = window >= max && messages > 0 && queue > 0 && !late && !big;
        prop_assert_eq!(built.is_ok(), valid);
    }

    #[test]
    fn keys_come_back_from_their_digits(bytes: [u8; 32]) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = Key::from_bytes(bytes);
        prop_assert!(Key::from_hex(&digits).as_ref() == Ok(&key));
        prop_assert!(Key::from_hex(&digits.to_uppercase()).as_ref() == Ok(&key));
        prop_assert!(Key::from_hex(&digits[1..]).is_err());
        let shown = format!("{key:?}");
        prop_assert!(!shown.contains(&digits[..16]));
    }
}

/// A valid stream of frames that says something of everything, and then, half the
/// time, breaks the protocol.
fn stream(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng(seed);
    let mut frames = Vec::new();
    let mut seq = 0;
    for _ in 0..rng.range(1, 14) {
        let ack = rng.pick(&[AckLevel::None, AckLevel::Received, AckLevel::Processed]);
        match rng.below(10) {
            0 => frames.push(control(Frame::Ping(rng.next().to_be_bytes()))),
            1 => frames.push(frame(0, &vec![0; rng.below(300)])),
            2 if seq > 0 => frames.push(control(Frame::Cancel { seq: seq - 1 })),
            3 => {
                // Begun and withdrawn, with something between.
                let n = rng.range(1_024, 50_000);
                frames.push(first(seq, ack, n as u64 + 5, &vec![seq as u8; n]));
                frames.push(control(Frame::Ping([1; 8])));
                frames.push(control(Frame::Cancel { seq }));
                seq += 1;
            }
            4 | 5 => {
                let (a, b, c) = (
                    rng.range(1_024, 60_000),
                    rng.range(1_024, 40_000),
                    rng.range(1, 30_000),
                );
                frames.push(first(seq, ack, (a + b + c) as u64, &vec![seq as u8; a]));
                frames.push(more(false, &vec![0xbb; b]));
                frames.push(control(Frame::Pad));
                frames.push(more(true, &vec![0xcc; c]));
                seq += 1;
            }
            _ => {
                let n = rng.pick(&[0, 1, 10, 700, 1_100, 17_000, 40_000]);
                frames.push(whole(seq, ack, &vec![seq as u8; n]));
                seq += 1;
            }
        }
    }
    match rng.below(6) {
        0 => frames.push(control(Frame::Close {
            code: 700,
            delivered: 0,
            reason: "so long",
        })),
        1 => frames.push(control(Frame::Finish { end: seq })),
        2 => frames.push(frame(0x0f, b"?")),
        3 => frames.push(whole(seq + 1, AckLevel::None, b"?")),
        _ => {}
    }
    frames
}

/// What a side made of bytes: its events, its messages, its end.
fn taken(
    config: Config,
    pieces: &[&[u8]],
    wire: &dyn Fn(&mut Script) -> Vec<u8>,
) -> (Vec<Event>, Vec<Received>, Option<ConnectionError>) {
    let mut script = Script::open(config.into(), Role::Responder, hello([0; 16]));
    let bytes = wire(&mut script);
    let (mut at, mut pieces) = (0, pieces.iter().map(|piece| piece.len()).cycle());
    while at < bytes.len() {
        let n = pieces.next().unwrap_or(1).max(1).min(bytes.len() - at);
        script.side.feed(script.now, &bytes[at..at + n]);
        at += n;
    }
    script.side.take(true);
    let end = script.side.connection.end().cloned();
    (script.side.events, script.side.received, end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However a stream is cut, it means the same.
    #[test]
    fn cutting_changes_nothing(seed: u64, sealed: bool, pieces in vec(1..9_000usize, 1..6), small: bool) {
        let config = || builder(sealed).build().expect("valid");
        let frames = stream(seed);
        let wire = |script: &mut Script| -> Vec<u8> {
            frames.iter().flat_map(|frame| {
                // One frame a record, or some together where they fit.
                script.wrap(frame)
            }).collect()
        };
        let room = vec![0; 1 << 24];
        let whole: Vec<&[u8]> = vec![&room];
        let sizes: Vec<usize> = if small { pieces.iter().map(|n| n % 40 + 1).collect() } else { pieces };
        let cut: Vec<&[u8]> = sizes.iter().map(|n| &room[..*n]).collect();
        let expected = taken(config(), &whole, &wire);
        prop_assert!(!expected.1.is_empty() || expected.0.len() + frames.len() > 0);
        prop_assert_eq!(taken(config(), &cut, &wire), expected);
    }
}

/// The one thing that depends on the cut: how much of what is no preface is shown.
#[test]
fn cutting_what_is_no_preface_shows_less_of_it() {
    let mut shown = Vec::new();
    for n in [1, 4, 30] {
        let mut side = Side::new(common::config(false), Role::Responder, 1, seconds(1));
        for chunk in b"GET / HTTP/1.1\r\n".chunks(n) {
            side.feed(seconds(1), chunk);
        }
        match side.connection.end() {
            Some(ConnectionError::Mismatch(Mismatch::Magic { found })) => shown.push(*found),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shown, [*b"G\0\0\0\0\0\0\0", *b"GET \0\0\0\0", *b"GET / HT"]);
    // The types of frames have no room for another meaning.
    assert_eq!(
        FrameHeader::decode(&[2, 0], 10)
            .expect("known")
            .expect("whole")
            .frame_type,
        FrameType::Data {
            first: false,
            fin: false
        }
    );
}
