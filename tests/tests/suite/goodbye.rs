//! Who does not read cannot keep a connection for ever by that: neither after a
//! violation nor after a close does the stream stay open for a goodbye that it
//! never takes.
//!
//! Unix only for now: on Windows mio lets a write that is under way go on after the
//! pipe was dropped, and with it stays the handle until the peer reads or ends.
#![cfg(unix)]

use sealpipe_core::wire::Frame;
use sealpipe_driver::vocabulary::{Access, Close, Config, Message, Role};
use sealpipe_tests::{
    Adapter, Hand, Place,
    api::{Connection, Listener},
    place, raw, within,
};
use std::{
    net::Shutdown,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

sealpipe_tests::on_every_adapter! {
    after_it_has_broken_the_protocol,
    after_it_was_closed,
    after_it_was_dropped,
    what_it_said_before_it_left_is_heard_although_a_write_fails,
}

const MAX: usize = 64 << 10;

fn config() -> Config {
    Config::plain()
        .max_message(MAX)
        .receive_window(2 * MAX, 16)
        .close_timeout(Duration::from_millis(300))
        .build()
        .unwrap()
}

/// A client under the test's hand that gives much credit, and the server's end.
async fn generous<R: Adapter>() -> (Place, Hand, R::Connection) {
    let place = place();
    let mut listener = R::bind(&place.endpoint, config()).unwrap();
    let (mut hand, server) = tokio::join!(
        async {
            let stream = raw::connect_patiently(&place.endpoint).await;
            Hand::open(stream, Role::Initiator, config()).await
        },
        listener.accept()
    );
    let mut credit = Vec::new();
    Frame::Credit {
        bytes: 64 << 20,
        messages: 4096,
    }
    .encode(&mut credit);
    hand.write(&credit).await.unwrap();
    // And a message by which to know that the credit was read.
    hand.core
        .send_untracked(hand.now(), Message::new("reads nothing"))
        .unwrap();
    hand.flush().await.unwrap();
    let server = server.unwrap();
    assert!(server.recv().await.unwrap().is_some());
    (place, hand, server)
}

/// The other side closes its end; writing shows that without reading.
async fn is_let_go_of(hand: &mut Hand) {
    let start = Instant::now();
    while hand.write(&[0]).await.is_ok() {
        let open = start.elapsed();
        assert!(open < Duration::from_secs(5), "the stream is still open");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn after_it_has_broken_the_protocol<R: Adapter>() {
    within(async {
        let (_place, mut hand, server) = generous::<R>().await;
        // More than the stream takes: the server's goodbye cannot go out.
        let mut deliveries = Vec::new();
        for _ in 0..32 {
            deliveries.push(server.try_send(vec![7; MAX]).unwrap());
        }
        hand.write(&[0x0f, 0x00]).await.unwrap();
        while server.recv().await.is_ok() {}
        for delivery in deliveries {
            let _ = delivery.await;
        }
        is_let_go_of(&mut hand).await;
    })
    .await;
}

async fn after_it_was_closed<R: Adapter>() {
    within(async {
        let (_place, mut hand, server) = generous::<R>().await;
        let flood = async { while server.send(vec![7; MAX]).await.is_ok() {} };
        let close = async {
            // When the stream is full: no more goes out.
            let mut last = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let sent = server.stats().messages_sent;
                if sent == last && sent > 0 {
                    break;
                }
                last = sent;
            }
            let start = Instant::now();
            server.close(Close::new(300, "enough")).await;
            assert!(start.elapsed() < Duration::from_secs(3));
        };
        tokio::join!(flood, close);
        is_let_go_of(&mut hand).await;
    })
    .await;
}

async fn after_it_was_dropped<R: Adapter>() {
    within(async {
        let (_place, mut hand, server) = generous::<R>().await;
        for _ in 0..32 {
            drop(server.try_send(vec![7; MAX]).unwrap());
        }
        drop(server);
        is_let_go_of(&mut hand).await;
    })
    .await;
}

async fn what_it_said_before_it_left_is_heard_although_a_write_fails<R: Adapter>() {
    within(async {
        for _ in 0..20 {
            let (near, far) = UnixStream::pair().unwrap();
            let end = far.try_clone().unwrap();
            let access = Access::SameUser;
            let (ours, theirs) = tokio::join!(
                R::from_handle(near, Role::Initiator, &access, config()),
                R::from_handle(far, Role::Responder, &access, config()),
            );
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            theirs.send("one").await.unwrap();
            assert_eq!(&ours.recv().await.unwrap().unwrap().payload[..], b"one");
            drop(theirs.try_send("two").unwrap());
            // It reads no more, as if it had gone.
            end.shutdown(Shutdown::Read).unwrap();
            drop(ours.try_send("nobody reads this"));
            let message = ours.recv().await.expect("it came before the end");
            assert_eq!(&message.unwrap().payload[..], b"two");
        }
    })
    .await;
}
