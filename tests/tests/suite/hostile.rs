//! Peers that mean harm, behind a valid handshake: nothing of theirs is
//! delivered, both ends get a clear error, and others are served.

use sealpipe_core::{Lost, Sealed, Violation, wire::Frame};
use sealpipe_driver::{
    Error,
    vocabulary::{AckLevel, Config, ConnectionError, Message, Role},
};
use sealpipe_tests::{
    Adapter, Hand, Place,
    api::{Connection, Listener},
    data, key, modes, place, raw, records, within,
};
use std::time::{Duration, Instant};

sealpipe_tests::on_every_adapter! {
    a_declared_length_over_the_limit,
    what_breaks_the_protocol,
    records_that_were_tampered_with,
    records_replayed_and_reflected,
    truncated_records_and_messages,
    a_first_message_played_again_gains_nothing,
    a_hundred_silent_peers_delay_nobody,
}

const MAX: usize = 64 << 10;

fn config(sealed: bool) -> Config {
    let builder = if sealed {
        Config::sealed(key(7))
    } else {
        Config::plain()
    };
    builder
        .max_message(MAX)
        .receive_window(2 * MAX, 16)
        .record_timeout(Duration::from_millis(300))
        .message_timeout(Duration::from_millis(600))
        .close_timeout(Duration::from_millis(300))
        .build()
        .unwrap()
}

/// A listener, and a hostile client's hand with the server's end of it.
async fn attacked<R: Adapter>(sealed: bool) -> (Place, R::Listener, Hand, R::Connection) {
    let place = place();
    let mut listener = R::bind(&place.endpoint, config(sealed)).unwrap();
    let (hand, server) = tokio::join!(
        async {
            let stream = raw::connect_patiently(&place.endpoint).await;
            Hand::open(stream, Role::Initiator, config(sealed)).await
        },
        listener.accept()
    );
    (place, listener, hand, server.unwrap())
}

/// One good message, then what `attack` does: the server must deliver the good
/// one, end with the error that is returned, and go on serving others.
async fn attack<R: Adapter, F>(
    sealed: bool,
    attack: impl FnOnce(Hand) -> F,
) -> (ConnectionError, Hand)
where
    F: Future<Output = Hand>,
{
    let (place, mut listener, mut hand, server) = attacked::<R>(sealed).await;
    hand.core
        .send_untracked(hand.now(), Message::new("good"))
        .unwrap();
    hand.flush().await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().payload, "good");
    let hand = attack(hand).await;
    let error = match server.recv().await {
        Err(Error::Connection(error)) => error,
        other => panic!("delivered, or another error: {other:?}"),
    };
    assert!(!server.is_connected());
    assert_eq!(server.end(), Some(error.clone()));
    assert_eq!(server.stats().messages_received, 1);
    let (client, other) = tokio::join!(
        R::connect(&place.endpoint, config(sealed)),
        listener.accept()
    );
    let (client, other) = (client.unwrap(), other.unwrap());
    let (sent, received) = tokio::join!(
        client.send(Message::new("others").with_ack(AckLevel::Received)),
        other.recv()
    );
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap().payload, "others");
    (error, hand)
}

/// Plain bytes of the attacker's own; what the attacker is told at last.
async fn plain<R: Adapter>(bytes: Vec<u8>) -> (ConnectionError, ConnectionError) {
    let (error, mut hand) = attack::<R, _>(false, async |mut hand: Hand| {
        hand.write(&bytes).await.unwrap();
        hand
    })
    .await;
    (error, hand.ended().await)
}

fn frame(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

async fn a_declared_length_over_the_limit<R: Adapter>() {
    within(async {
        let too_large = Violation::MessageTooLarge {
            size: MAX as u64 + 1,
            max: MAX as u64,
        };
        let (server, client) = plain::<R>(data(1, Some(MAX as u64 + 1), &[7; 1024])).await;
        assert_eq!(server, ConnectionError::Violation(too_large));
        let ConnectionError::ClosedByPeer(close) = client else {
            panic!("{client}");
        };
        assert_eq!(close.code, 3);
        assert!(close.reason.contains("65537 bytes"), "{close}");
        // The largest that the wire can say.
        let (server, _) = plain::<R>(data(1, Some((1 << 62) - 1), &[7; 1024])).await;
        assert!(matches!(
            server,
            ConnectionError::Violation(Violation::MessageTooLarge { .. })
        ));
        // A frame longer than any, of which nothing more comes.
        let (server, client) = plain::<R>(vec![0x32, 0x80, 0x04, 0x00, 0x01]).await;
        assert!(matches!(
            server,
            ConnectionError::Violation(Violation::FrameTooLong { .. })
        ));
        assert!(matches!(client, ConnectionError::ClosedByPeer(close) if close.code == 2));
    })
    .await;
}

async fn what_breaks_the_protocol<R: Adapter>() {
    let begun = || data(1, Some(4096), &[7; 1024]);
    let twice = [begun(), data(2, None, b"inside")].concat();
    let tiny = data(1, Some(4096), &[7; 1023]);
    let stray = vec![0x22, 0x01, 0x07];
    let sum = [begun(), vec![0x22, 0x01, 0x07]].concat();
    let flood = frame(Frame::Pad).repeat(1_200);
    let credit: Vec<u8> = (1..20).flat_map(|seq| data(seq, None, b"")).collect();
    let cases: Vec<(Vec<u8>, Violation, u64)> = vec![
        (frame(Frame::Hello(&[])), Violation::HelloTwice, 2),
        (vec![0x0f, 0x00], Violation::UnknownFrame { byte: 0x0f }, 2),
        (
            data(5, None, b"hello"),
            Violation::MessageNumber {
                found: 5,
                expected: 1,
            },
            2,
        ),
        (twice, Violation::FirstInsideMessage, 2),
        (tiny, Violation::TinyFragment, 2),
        (stray, Violation::FragmentWithoutFirst, 2),
        (sum, Violation::FragmentLength, 2),
        (
            frame(Frame::Ack {
                next: 9,
                settled: 0,
            }),
            Violation::Ack,
            2,
        ),
        (
            frame(Frame::Credit {
                bytes: 1,
                messages: 1,
            }),
            Violation::CreditTakenBack,
            2,
        ),
        (
            frame(Frame::Result {
                seq: 0,
                code: 0,
                reason: "",
            }),
            Violation::Result,
            2,
        ),
        (frame(Frame::Pong([1; 8])), Violation::Pong, 2),
        (frame(Frame::Cancel { seq: 1 }), Violation::Cancel, 2),
        (frame(Frame::Finish { end: 9 }), Violation::Finish, 2),
        (flood, Violation::Flood, 7),
    ];
    within(async {
        for (bytes, violation, code) in cases {
            let (server, client) = plain::<R>(bytes).await;
            assert_eq!(server, ConnectionError::Violation(violation.clone()));
            assert!(
                matches!(&client, ConnectionError::ClosedByPeer(close) if close.code == code),
                "{violation}: {client}"
            );
        }
        // The window has room for 16: what came before is delivered, the rest is not.
        let (_place, _listener, mut hand, server) = attacked::<R>(false).await;
        let credit = [data(0, None, b""), credit].concat();
        hand.write(&credit).await.unwrap();
        let mut delivered = 0;
        let error = loop {
            match server.recv().await {
                Ok(message) => delivered += u32::from(message.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(delivered, 16);
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Violation(Violation::NoCredit))
        );
    })
    .await;
}

/// Two sealed messages in two records, made by the attacker's own core.
fn two_records(hand: &mut Hand) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in ["first", "second"] {
        hand.core
            .send_untracked(hand.now(), Message::new(text))
            .unwrap();
        all.extend(records(&hand.take_output()));
    }
    assert_eq!(all.len(), 2);
    all
}

async fn records_that_were_tampered_with<R: Adapter>() {
    type Tamper = fn(&mut Hand) -> Vec<u8>;
    let tampers: [(&str, Tamper); 7] = [
        ("flipped", |hand| {
            let mut bytes = two_records(hand).concat();
            bytes[5] ^= 0x10;
            bytes
        }),
        ("its tag flipped", |hand| {
            let mut bytes = two_records(hand).remove(0);
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }),
        ("reordered", |hand| {
            let mut records = two_records(hand);
            records.swap(0, 1);
            records.concat()
        }),
        ("left out", |hand| two_records(hand).remove(1)),
        ("shortened, length and all", |hand| {
            let mut bytes = two_records(hand).remove(0);
            bytes[1] -= 1;
            bytes.remove(2);
            bytes
        }),
        ("of another connection's key", |_| {
            [&[0, 9][..], &[0x55; 25]].concat()
        }),
        ("lengthened", |hand| {
            let mut bytes = two_records(hand).concat();
            bytes[1] += 1;
            bytes
        }),
    ];
    within(async {
        for (name, tamper) in tampers {
            let (server, mut hand) = attack::<R, _>(true, async |mut hand: Hand| {
                let bytes = tamper(&mut hand);
                hand.write(&bytes).await.unwrap();
                hand
            })
            .await;
            assert_eq!(
                server,
                ConnectionError::Authentication(Sealed::Record),
                "{name}"
            );
            let client = hand.ended().await;
            assert!(
                matches!(&client, ConnectionError::ClosedByPeer(close) if close.code == 5),
                "{name}: {client}"
            );
        }
        let (server, _) = attack::<R, _>(true, async |mut hand: Hand| {
            hand.write(&[0, 0]).await.unwrap();
            hand
        })
        .await;
        assert_eq!(server, ConnectionError::Violation(Violation::EmptyRecord));
    })
    .await;
}

async fn records_replayed_and_reflected<R: Adapter>() {
    within(async {
        // Replayed: the message is delivered once.
        let (_place, _listener, mut hand, server) = attacked::<R>(true).await;
        hand.core
            .send_untracked(hand.now(), Message::new("once"))
            .unwrap();
        let bytes = hand.take_output();
        hand.write(&bytes).await.unwrap();
        hand.write(&bytes).await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap().payload, "once");
        let error = server.recv().await.unwrap_err();
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Authentication(Sealed::Record))
        );
        // Reflected: the server's own record comes back to it.
        let (_place, _listener, mut hand, server) = attacked::<R>(true).await;
        server.send("reflected").await.unwrap();
        let mut bytes = vec![0; 1024];
        let n = tokio::io::AsyncReadExt::read(&mut hand.stream, &mut bytes)
            .await
            .unwrap();
        hand.write(&bytes[..n]).await.unwrap();
        let error = server.recv().await.unwrap_err();
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Authentication(Sealed::Record))
        );
        assert_eq!(server.stats().messages_received, 0);
    })
    .await;
}

async fn truncated_records_and_messages<R: Adapter>() {
    within(async {
        // The stream ends inside a record.
        let (_place, _listener, mut hand, server) = attacked::<R>(true).await;
        let bytes = two_records(&mut hand).remove(0);
        hand.write(&bytes[..bytes.len() - 1]).await.unwrap();
        drop(hand);
        let error = server.recv().await.unwrap_err();
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Lost(Lost::Truncated))
        );
        // Inside a message.
        let (_place, _listener, mut hand, server) = attacked::<R>(false).await;
        hand.write(&data(0, Some(4096), &[7; 2048])).await.unwrap();
        drop(hand);
        let error = server.recv().await.unwrap_err();
        assert_eq!(
            error.connection(),
            Some(&ConnectionError::Lost(Lost::Truncated))
        );
        // Neither ends, nor goes on: their deadlines do it, whoever waits.
        for (bytes, timeout) in [
            (
                &data(0, None, b"hello")[..5],
                sealpipe_core::Timeout::Record,
            ),
            (
                &data(0, Some(4096), &[7; 2048])[..],
                sealpipe_core::Timeout::Message,
            ),
        ] {
            let (_place, _listener, mut hand, server) = attacked::<R>(false).await;
            let start = Instant::now();
            hand.write(bytes).await.unwrap();
            let error = server.recv().await.unwrap_err();
            assert_eq!(error.connection(), Some(&ConnectionError::Timeout(timeout)));
            assert!(start.elapsed() >= Duration::from_millis(300));
            assert!(start.elapsed() < Duration::from_secs(4));
            let client = hand.ended().await;
            assert!(matches!(client, ConnectionError::ClosedByPeer(close) if close.code == 4));
        }
    })
    .await;
}

async fn a_first_message_played_again_gains_nothing<R: Adapter>() {
    within(async {
        let place = place();
        let mut listener = R::bind(&place.endpoint, config(true)).unwrap();
        let stream = raw::connect_patiently(&place.endpoint).await;
        let mut hand = Hand::new(stream, Role::Initiator, config(true));
        hand.core
            .send_untracked(hand.now(), Message::new("pay 100"))
            .unwrap();
        let opening = hand.take_output();
        hand.write(&opening).await.unwrap();
        assert!(hand.read().await);
        let record = hand.take_output();
        hand.write(&record).await.unwrap();
        let server = listener.accept().await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap().payload, "pay 100");
        // All of it again, by one who has recorded it.
        let mut replay = raw::connect_patiently(&place.endpoint).await;
        tokio::io::AsyncWriteExt::write_all(&mut replay, &[opening, record].concat())
            .await
            .unwrap();
        raw::read_to_end(&mut replay, Duration::from_secs(4)).await;
        // It never became a connection: the next is another client's.
        let (client, next) =
            tokio::join!(R::connect(&place.endpoint, config(true)), listener.accept());
        let (client, next) = (client.unwrap(), next.unwrap());
        client.send("mine").await.unwrap();
        assert_eq!(next.recv().await.unwrap().unwrap().payload, "mine");
    })
    .await;
}

async fn a_hundred_silent_peers_delay_nobody<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let mut silent = Vec::new();
            for _ in 0..100 {
                silent.push(raw::connect_patiently(&place.endpoint).await);
            }
            let start = Instant::now();
            let (client, server) = tokio::join!(
                R::connect(&place.endpoint, config.clone()),
                listener.accept()
            );
            let took = start.elapsed();
            let (client, server) = (client.unwrap(), server.unwrap());
            client.send("through").await.unwrap();
            assert_eq!(server.recv().await.unwrap().unwrap().payload, "through");
            println!("{name}: connected in {took:?} beside 100 silent peers");
            // Their deadline is 5 s: whoever waited for one of them took that long.
            assert!(took < Duration::from_secs(3), "{took:?}");
        })
        .await;
    }
}
