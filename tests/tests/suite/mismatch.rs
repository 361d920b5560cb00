//! Peers that do not fit: each gets its own clear error, at both ends where there
//! are two, within its deadline, and the listener goes on serving others.

use sealpipe_core::{Lost, Sealed, Timeout, Violation, wire::Mode};
use sealpipe_driver::{
    Error,
    vocabulary::{Access, Config, ConnectionError, Mismatch, Role, Status},
};
use sealpipe_tests::{
    Adapter, Hand, Place,
    api::{Connection, Listener},
    eventually, key, modes, place, raw, within,
};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

sealpipe_tests::on_every_adapter! {
    wrong_key,
    plain_against_sealed_either_way,
    other_version,
    not_sealpipe_at_all,
    silence_at_any_point_ends_at_the_deadline,
    a_peer_that_dies_in_each_state,
    an_initiator_that_dies_before_its_first_record,
    a_handshake_that_was_changed_on_its_way,
    a_refusal_is_told_by_its_status,
    the_listener_goes_on_serving_others,
    keys_are_rotated_under_way,
}

/// Short, so that what waits for it is done soon.
const HANDSHAKE: Duration = Duration::from_millis(300);
/// Long against everything but what hangs, on a loaded machine too.
const SOON: Duration = Duration::from_secs(4);

const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const NOISE: &[u8] = &[
    0x8e, 0x11, 0x42, 0xfe, 0x00, 0x9d, 0x77, 0x3c, 0x51, 0xaa, 0x06, 0xf0, 0xd3, 0x2b, 0x90, 0x1e,
    0x4c,
];
const MAGIC: [u8; 4] = [0xf5, 0x49, 0x50, 0x43];

fn preface(version: u8, mode: u8, status: u8) -> [u8; 16] {
    let mut preface = [0; 16];
    preface[..4].copy_from_slice(&MAGIC);
    preface[4..7].copy_from_slice(&[version, mode, status]);
    preface
}

fn why<C>(result: Result<C, Error>) -> ConnectionError {
    match result {
        Ok(_) => panic!("it connected"),
        Err(error) => error
            .connection()
            .unwrap_or_else(|| panic!("{error}"))
            .clone(),
    }
}

/// What both see when `client` connects to `server`.
async fn both<R: Adapter>(client: Config, server: Config) -> (ConnectionError, ConnectionError) {
    let place = place();
    let mut listener = raw::Listener::bind(&place.endpoint);
    let start = Instant::now();
    let (client, server) = tokio::join!(R::connect(&place.endpoint, client), async {
        R::over(listener.accept().await, Role::Responder, server).await
    });
    assert!(start.elapsed() < SOON);
    (why(client), why(server))
}

/// What a server sees whose client sends `bytes`, and what it answers. With
/// `dies`, the client ends after them; else it is silent.
async fn server_sees<R: Adapter>(
    config: Config,
    bytes: &[u8],
    dies: bool,
) -> (ConnectionError, Vec<u8>) {
    let place = place();
    let mut listener = raw::Listener::bind(&place.endpoint);
    let start = Instant::now();
    let client = async {
        let mut client = raw::connect_patiently(&place.endpoint).await;
        client.write_all(bytes).await.unwrap();
        if dies {
            return Vec::new();
        }
        raw::read_to_end(&mut client, SOON).await
    };
    let (answer, error) = tokio::join!(client, async {
        why(R::over(listener.accept().await, Role::Responder, config).await)
    });
    assert!(start.elapsed() < SOON);
    (error, answer)
}

/// What a client sees whose server sends `bytes`, then is silent or dies.
async fn client_sees<R: Adapter>(config: Config, bytes: &[u8], dies: bool) -> ConnectionError {
    let place = place();
    let mut listener = raw::Listener::bind(&place.endpoint);
    let start = Instant::now();
    let server = async {
        let mut server = listener.accept().await;
        // The client's bytes first: an end with unread bytes is a reset.
        let mut buffer = [0; 4096];
        let _ = tokio::io::AsyncReadExt::read(&mut server, &mut buffer).await;
        server.write_all(bytes).await.unwrap();
        if !dies {
            raw::read_to_end(&mut server, SOON).await;
        }
    };
    let ((), error) = tokio::join!(server, async {
        why(R::connect(&place.endpoint, config).await)
    });
    assert!(start.elapsed() < SOON);
    error
}

fn plain() -> Config {
    Config::plain()
        .handshake_timeout(HANDSHAKE)
        .build()
        .unwrap()
}

fn sealed(number: u8) -> Config {
    Config::sealed(key(number))
        .handshake_timeout(HANDSHAKE)
        .build()
        .unwrap()
}

fn own_modes() -> [Config; 2] {
    [plain(), sealed(7)]
}

async fn wrong_key<R: Adapter>() {
    within(async {
        let (client, server) = both::<R>(sealed(1), sealed(2)).await;
        let (a, b) = (key(1).id(), key(2).id());
        assert_eq!(
            client,
            ConnectionError::Mismatch(Mismatch::Key { own: a, peer: b })
        );
        assert_eq!(
            server,
            ConnectionError::Mismatch(Mismatch::Key { own: b, peer: a })
        );
        let text = client.to_string();
        assert!(
            text.contains(&a.to_string()) && text.contains(&b.to_string()),
            "{text}"
        );
        assert!(!text.contains("0101010101"), "the key itself: {text}");
    })
    .await;
}

async fn plain_against_sealed_either_way<R: Adapter>() {
    within(async {
        let differs = |own, peer| ConnectionError::Mismatch(Mismatch::Mode { own, peer });
        let (client, server) = both::<R>(plain(), sealed(1)).await;
        assert_eq!(client, differs(Mode::Plain, Mode::Sealed));
        assert_eq!(server, differs(Mode::Sealed, Mode::Plain));
        let (client, server) = both::<R>(sealed(1), plain()).await;
        assert_eq!(client, differs(Mode::Sealed, Mode::Plain));
        assert_eq!(server, differs(Mode::Plain, Mode::Sealed));
        assert_eq!(
            client.to_string(),
            "the peer is set to plain and this side to sealed; give both the same key, or neither one"
        );
    })
    .await;
}

async fn other_version<R: Adapter>() {
    within(async {
        let differs = |peer| ConnectionError::Mismatch(Mismatch::Version { own: 1, peer });
        for config in own_modes() {
            let (error, answer) = server_sees::<R>(config.clone(), &preface(9, 0, 0), false).await;
            assert_eq!(error, differs(9));
            assert_eq!(answer.len(), 16);
            assert_eq!((&answer[..5], answer[6]), (&preface(1, 0, 0)[..5], 3));
            let error = client_sees::<R>(config, &preface(2, 0, 3), true).await;
            assert_eq!(error, differs(2));
            assert!(error.to_string().contains("version 2"), "{error}");
        }
    })
    .await;
}

async fn not_sealpipe_at_all<R: Adapter>() {
    within(async {
        for config in own_modes() {
            for (bytes, shown) in [(HTTP, "\"GET / HT\""), (NOISE, "8e1142fe009d773c")] {
                let (error, answer) = server_sees::<R>(config.clone(), bytes, false).await;
                assert!(
                    matches!(error, ConnectionError::Mismatch(Mismatch::Magic { .. })),
                    "{error}"
                );
                assert!(error.to_string().contains(shown), "{error}");
                assert!(answer.is_empty());
                let error = client_sees::<R>(config.clone(), bytes, true).await;
                assert!(
                    matches!(error, ConnectionError::Mismatch(Mismatch::Magic { .. })),
                    "{error}"
                );
            }
        }
    })
    .await;
}

async fn silence_at_any_point_ends_at_the_deadline<R: Adapter>() {
    within(async {
        let silent = ConnectionError::Timeout(Timeout::Handshake);
        for (config, mode) in own_modes().into_iter().zip([0, 1]) {
            let whole = preface(1, mode, 0);
            for said in [0, 7, 16] {
                let start = Instant::now();
                let (error, _) = server_sees::<R>(config.clone(), &whole[..said], false).await;
                if said == 16 && mode == 1 {
                    // No key of that name: told at once.
                    assert!(matches!(
                        error,
                        ConnectionError::Mismatch(Mismatch::Key { .. })
                    ));
                    continue;
                }
                assert_eq!(error, silent, "after {said} bytes");
                assert!(start.elapsed() >= HANDSHAKE);
                if said == 16 && mode == 1 {
                    continue;
                }
                let error = client_sees::<R>(config.clone(), &whole[..said.min(7)], false).await;
                assert_eq!(error, silent, "after {said} bytes");
            }
        }
    })
    .await;
}

async fn a_peer_that_dies_in_each_state<R: Adapter>() {
    let lost = |lost| ConnectionError::Lost(lost);
    within(async {
        for (name, builder) in modes() {
            let config = builder.handshake_timeout(HANDSHAKE).build().unwrap();
            // All that an initiator says before it hears anything.
            let first = {
                let (a, _b) = tokio::io::duplex(1);
                Hand::new(Box::new(a), Role::Initiator, config.clone()).take_output()
            };
            for (said, wanted) in [
                (0, Lost::Silent),
                (7, Lost::Preface),
                (16, Lost::Handshake),
                (17, Lost::Handshake),
                (40, Lost::Handshake),
                (first.len() - 1, Lost::Handshake),
            ] {
                let (error, _) = server_sees::<R>(config.clone(), &first[..said], true).await;
                assert_eq!(error, lost(wanted), "{name}, after {said} bytes");
            }
            // And all that a responder says until it hears more.
            let answer = {
                let (a, _b) = tokio::io::duplex(1);
                let mut responder = Hand::new(Box::new(a), Role::Responder, config.clone());
                let mut input = sealpipe_core::RecvBuf::new();
                input.fill_from(&first);
                responder
                    .core
                    .handle_input(responder.now(), &mut input)
                    .unwrap();
                responder.take_output()
            };
            for (said, wanted) in [
                (0, Lost::Silent),
                (7, Lost::Preface),
                (16, Lost::Handshake),
                (17, Lost::Handshake),
                (40, Lost::Handshake),
            ] {
                let error = client_sees::<R>(config.clone(), &answer[..said], true).await;
                assert_eq!(error, lost(wanted), "{name}, after {said} bytes");
            }
        }
    })
    .await;
}

async fn an_initiator_that_dies_before_its_first_record<R: Adapter>() {
    within(async {
        let place = place();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let client = async {
            let stream = raw::connect_patiently(&place.endpoint).await;
            let mut hand = Hand::new(stream, Role::Initiator, sealed(7));
            hand.flush().await.unwrap();
            while !hand.core.is_open() {
                assert!(hand.read().await);
            }
            // It knows the keys now, and the listener does not know that it does.
        };
        let ((), server) = tokio::join!(client, async {
            R::over(listener.accept().await, Role::Responder, sealed(7)).await
        });
        assert_eq!(why(server), ConnectionError::Lost(Lost::Handshake));
    })
    .await;
}

async fn a_handshake_that_was_changed_on_its_way<R: Adapter>() {
    let changed = ConnectionError::Authentication(Sealed::Handshake);
    within(async {
        // The initiator's message, with one bit flipped: both are told.
        let place = place();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let client = async {
            let stream = raw::connect_patiently(&place.endpoint).await;
            let mut hand = Hand::new(stream, Role::Initiator, sealed(7));
            let mut bytes = hand.take_output();
            *bytes.last_mut().unwrap() ^= 1;
            hand.write(&bytes).await.unwrap();
            hand.ended().await
        };
        let (client, server) = tokio::join!(client, async {
            R::over(listener.accept().await, Role::Responder, sealed(7)).await
        });
        assert_eq!(client, changed);
        assert_eq!(why(server), changed);
        // The responder's.
        let server = async {
            let mut hand = Hand::new(listener.accept().await, Role::Responder, sealed(7));
            assert!(hand.read().await);
            let mut bytes = hand.take_output();
            *bytes.last_mut().unwrap() ^= 1;
            hand.write(&bytes).await.unwrap();
            while hand.read().await {}
        };
        let ((), client) = tokio::join!(server, R::connect(&place.endpoint, sealed(7)));
        assert_eq!(why(client), changed);
        // A length that no handshake message has, told before any more comes.
        let id = key(7).id();
        let mut bytes = preface(1, 1, 0);
        bytes[8..].copy_from_slice(&id.0);
        for (length, found) in [([0, 47], 47), ([4, 1], 1025), ([0xff, 0xff], 65_535)] {
            let bytes = [&bytes[..], &length].concat();
            let (error, answer) = server_sees::<R>(sealed(7), &bytes, false).await;
            assert_eq!(
                error,
                ConnectionError::Violation(Violation::HandshakeLength { length: found })
            );
            assert_eq!(answer[6], 6);
        }
    })
    .await;
}

async fn a_refusal_is_told_by_its_status<R: Adapter>() {
    within(async {
        for (status, wanted) in [
            (1, Status::Refused),
            (7, Status::ShuttingDown),
            (99, Status::Refused),
        ] {
            let error = client_sees::<R>(plain(), &preface(1, 0, status), true).await;
            assert_eq!(error, ConnectionError::Refused(wanted));
        }
        // A busy server is asked again, and what it said is in the error at last.
        let place = place();
        let mut listener = raw::Listener::bind(&place.endpoint);
        let server = tokio::spawn(async move {
            loop {
                let mut client = listener.accept().await;
                client.write_all(&preface(1, 0, 2)).await.unwrap();
                raw::read_to_end(&mut client, SOON).await;
            }
        });
        let limit = Duration::from_millis(500);
        let error = R::connect_within(limit, false, &place.endpoint, plain())
            .await
            .unwrap_err();
        server.abort();
        let Error::Timeout {
            last: Some(last), ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(
            last.connection(),
            Some(&ConnectionError::Refused(Status::Busy))
        );
    })
    .await;
}

async fn serves<R: Adapter>(place: &Place, listener: &mut R::Listener, config: Config) {
    let (client, server) = tokio::join!(R::connect(&place.endpoint, config), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap());
    let (sent, received) = tokio::join!(client.send("still here"), server.recv());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap().payload, "still here");
}

async fn the_listener_goes_on_serving_others<R: Adapter>() {
    within(async {
        for (config, other) in [(plain(), sealed(3)), (sealed(7), sealed(3))] {
            let place = place();
            let mut listener = R::bind(&place.endpoint, config.clone()).unwrap();
            let mut misfits = Vec::new();
            for bytes in [
                HTTP,
                NOISE,
                &MAGIC,
                &preface(3, 0, 0),
                &preface(1, 0, 0),
                b"",
            ] {
                let mut stream = raw::connect_patiently(&place.endpoint).await;
                stream.write_all(bytes).await.unwrap();
                misfits.push(stream);
                serves::<R>(&place, &mut listener, config.clone()).await;
            }
            let error = R::connect(&place.endpoint, other).await;
            assert!(matches!(why(error), ConnectionError::Mismatch(_)));
            serves::<R>(&place, &mut listener, config.clone()).await;
            // Each is let go of by its deadline, told or not.
            for mut stream in misfits {
                raw::read_to_end(&mut stream, SOON).await;
            }
            serves::<R>(&place, &mut listener, config.clone()).await;
        }
    })
    .await;
}

async fn keys_are_rotated_under_way<R: Adapter>() {
    within(async {
        let (old, new, both) = (
            sealed(1),
            sealed(2),
            Config::sealed(key(2)).also_accept(key(1)).build().unwrap(),
        );
        let place = place();
        let mut listener = R::bind(&place.endpoint, both.clone()).unwrap();
        for client in [old.clone(), new.clone(), both] {
            serves::<R>(&place, &mut listener, client).await;
        }
        let error = why(R::connect(&place.endpoint, sealed(3)).await);
        assert_eq!(
            error,
            ConnectionError::Mismatch(Mismatch::Key {
                own: key(3).id(),
                peer: key(2).id()
            })
        );
        drop(listener);
        // It is let go of in the background.
        let mut again = None;
        eventually(SOON, "nobody listens any more", || {
            if sealpipe_endpoint::connect(&place.endpoint, &Access::SameUser).is_err() {
                again = R::bind(&place.endpoint, new.clone()).ok();
            }
            again.is_some()
        })
        .await;
        let mut listener = again.unwrap();
        serves::<R>(&place, &mut listener, new).await;
        assert!(matches!(
            why(R::connect(&place.endpoint, old).await),
            ConnectionError::Mismatch(Mismatch::Key { .. })
        ));
    })
    .await;
}
