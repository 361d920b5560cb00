//! What a peer on another system's wire can make this side hold: what it sent, up to
//! the limits, and never what it only declared.

use sealpipe_tests::{heap, place, raw, within};
use sealpipe_tokio::{
    Config, ConfigBuilder, Connection, ConnectionError, Error, Listener, Violation, Wire,
};
use std::future::Future;
use tokio::io::{AsyncWrite, AsyncWriteExt};

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(within(test));
}

/// All in one test: they share the counter.
#[test]
fn a_peer_cannot_make_this_side_grow() {
    run(lengths_that_are_only_declared());
    for wire in [Wire::Le32, Wire::Base64Lines] {
        run(messages_that_nobody_takes(wire));
    }
    run(a_line_without_end());
}

/// A peer, and the connection to it.
async fn accepted(builder: ConfigBuilder) -> (raw::Raw, Connection) {
    let place = place();
    let mut listener = Listener::bind(&place.endpoint, builder.build().unwrap()).unwrap();
    let peer = raw::connect_patiently(&place.endpoint).await;
    (peer, listener.accept().await.unwrap())
}

async fn lengths_that_are_only_declared() {
    const CLIENTS: usize = 100;
    // mio keeps buffers of its own for a pipe, here for both ends of it.
    const EACH: usize = if cfg!(windows) { 40 * KIB } else { 12 * KIB };
    let place = place();
    let config = Config::plain().wire(Wire::Le32).max_message(64 * MIB);
    let config = config.receive_window(64 * MIB, 100).build().unwrap();
    let mut listener = Listener::bind(&place.endpoint, config).unwrap();
    let (peak, clients) = heap::peak(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut peer = raw::connect_patiently(&place.endpoint).await;
            let server = listener.accept().await.unwrap();
            let length = u32::try_from(64 * MIB).unwrap().to_le_bytes();
            peer.write_all(&length).await.unwrap();
            peer.write_all(&[7; 1_000]).await.unwrap();
            // Once it has been read, all that it will make of it is there.
            while tokio::time::timeout(std::time::Duration::from_millis(1), server.recv())
                .await
                .is_ok()
            {}
            clients.push((peer, server));
        }
        clients
    })
    .await;
    assert!(peak < CLIENTS * EACH, "{peak} bytes for {CLIENTS} clients");
    drop(clients);
}

/// Writes for ever; the other side stops it.
async fn flood(peer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    while peer.write_all(bytes).await.is_ok() {}
}

async fn messages_that_nobody_takes(wire: Wire) {
    const MESSAGE: usize = 3 << 10;
    const WINDOW: usize = MIB;
    let builder = Config::plain().wire(wire).max_message(64 * KIB);
    let (mut peer, server) = accepted(builder.receive_window(WINDOW, 100_000)).await;
    let mut message = Vec::new();
    match wire {
        Wire::Le32 => {
            message.extend(u32::try_from(MESSAGE).unwrap().to_le_bytes());
            message.extend([7; MESSAGE]);
        }
        _ => {
            sealpipe_core::wire::foreign::base64::encode(&[7; MESSAGE], &mut message);
            message.push(b'\n');
        }
    }
    let batch = message.repeat(20);
    let flooding = tokio::spawn(async move { flood(&mut peer, &batch).await });
    let (peak, ()) = heap::peak(async {
        // The peer writes until the window and the system's buffers are full; from then
        // on nothing moves.
        while server.stats().waiting * MESSAGE < WINDOW {
            tokio::task::yield_now().await;
        }
        let waiting = server.stats().waiting;
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.stats().waiting, waiting);
    })
    .await;
    assert!(peak < WINDOW + 512 * KIB, "{wire}: {peak} bytes");
    // And it goes on where it stopped.
    for _ in 0..2_000 {
        assert_eq!(
            server.recv().await.unwrap().unwrap().payload,
            [7; MESSAGE][..]
        );
    }
    assert!(!flooding.is_finished());
    flooding.abort();
}

async fn a_line_without_end() {
    let builder = Config::plain().wire(Wire::Base64Lines).max_message(MIB);
    let (mut peer, server) = accepted(builder).await;
    let batch = [b'A'; 16 << 10];
    let (peak, error) = heap::peak(async {
        tokio::select! {
            () = flood(&mut peer, &batch) => server.recv().await,
            message = server.recv() => message,
        }
    })
    .await;
    // While it grows, it may be there twice.
    assert!(peak < 4 * MIB, "{peak} bytes");
    let max = (MIB).div_ceil(3) * 4;
    let Err(Error::Connection(error)) = error else {
        panic!("there is no message");
    };
    let too_long = ConnectionError::Violation(Violation::LineTooLong { max });
    assert_eq!(error, too_long);
}
