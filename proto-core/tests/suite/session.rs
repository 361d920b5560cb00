//! What a session keeps for those who ask and answer, with a peer that writes what it
//! likes.

use crate::common;
use bytes::Buf;
use common::raw::{Script, control, frame, hello, whole};
use common::{Pair, builder, config, message, seconds};
use sealpipe_core::service::Pattern;
use sealpipe_core::session::{Backlog, Next, Session, Waiters};
use sealpipe_core::wire::{DataHead, Extension, Frame};
use sealpipe_core::{AckLevel, Close, Kind, Message, Outcome, RecvBuf, Role, SendBuf};

fn reply(seq: u64) -> Vec<u8> {
    let head = DataHead {
        seq,
        kind: Kind::Reply,
        ack: AckLevel::None,
        total: None,
        correlation: Some(1_000),
        topic: None,
        extension: Extension::default(),
    };
    let mut body = Vec::new();
    head.encode(&mut body);
    frame(0x32, &body)
}

/// Or every reply that nobody waits for could leave something behind.
#[test]
fn what_is_done_with_cannot_be_withdrawn() {
    let now = seconds(1);
    let script = Script::open(config(false), Role::Responder, hello([0; 16]));
    let mut session = Session::new(script.side.connection);
    let mut waiters = Waiters::new();
    let mut input = RecvBuf::new();
    let mut feed = |session: &mut Session, bytes: &[u8]| {
        input.fill_from(bytes);
        session.handle_input(now, &mut input, &mut waiters);
        assert_eq!(session.connection().end(), None);
    };
    session.ask(now, Message::request("")).expect("room");
    // It waits for a program that does not take it.
    feed(&mut session, &whole(0, AckLevel::Processed, b"stays"));
    feed(&mut session, &reply(1));
    feed(&mut session, &control(Frame::Cancel { seq: 1 }));
    feed(&mut session, &control(Frame::Cancel { seq: 0 }));
    assert!(session.is_cancelled(0));
    assert!(!session.is_cancelled(1));
}

/// Or a reply would be tried again and again, for ever, in one go.
#[test]
fn room_for_a_reply_is_there_when_it_is_said_to_be() {
    for resumption in [false, true] {
        let builder = builder(false).resumption(resumption);
        let Pair { now, client, .. } = Pair::open(builder.send_queue(1 << 20, 4));
        let mut session = Session::new(client.connection);
        let (mut waiters, mut output) = (Waiters::new(), SendBuf::new());
        let mut sent = 0;
        // The peer acknowledges nothing.
        while let Some(room) = session.poll_reply_room()
            && sent < 100
        {
            room.expect("open");
            let reply = Message::correlated(Kind::Reply, 7, "x").expect("valid");
            session.send_untracked(now, reply).expect("room, it said");
            sent += 1;
            while session.poll_transmit(now, &mut output, &mut waiters) {
                output.advance(output.chunk().len());
            }
        }
        // Only what may have to be sent again stays.
        assert_eq!(sent, if resumption { 4 } else { 100 });
    }
}

/// A program takes an event, perhaps also the message before it, and closes before
/// anything was acknowledged. Says whether everything arrived, and the outcomes.
fn closes_at_once(
    [message_level, event_level]: [AckLevel; 2],
    takes: bool,
    close: fn(&mut sealpipe_core::Connection),
) -> (bool, [Outcome; 2]) {
    let Pair {
        now,
        client: mut publisher,
        server,
        ..
    } = Pair::open(builder(true));
    let (mut session, mut waiters) = (Session::new(server.connection), Waiters::new());
    let (mut input, mut output) = (server.input, SendBuf::new());
    let subscription = session.open_subscription(&Pattern::new("a").unwrap(), Backlog::default());
    let event = Message::event("a", "").unwrap().with_ack(event_level);
    let sent = [message("", message_level), event]
        .map(|message| publisher.connection.send(now, message).expect("room"));
    publisher.connection.finish(now);
    input.fill_from(&publisher.take_output(now));
    session.handle_input(now, &mut input, &mut waiters);
    assert!(matches!(session.next_event(subscription), Next::Event(_)));
    assert!(!takes || matches!(session.poll_recv(), Some(Ok(Some(_)))));
    session.with(&mut waiters, close);
    while session.poll_transmit(now, &mut output, &mut waiters) {
        publisher.feed(now, output.chunk());
        output.advance(output.chunk().len());
    }
    publisher.take(true);
    assert!(publisher.closed().is_some());
    let outcomes = sent.map(|id| publisher.outcome(id).expect("an outcome"));
    (publisher.connection.all_arrived(), outcomes)
}

#[test]
fn what_an_event_was_taken_past_has_not_arrived() {
    use AckLevel::{None, Processed, Received};
    let ways: [fn(&mut sealpipe_core::Connection); 2] = [
        |connection| connection.close(seconds(1), Close::new(Close::GOING_AWAY, "")),
        |connection| connection.abandon(seconds(1)),
    ];
    for close in ways {
        for (level, told) in [
            (Received, Outcome::Received),
            (Processed, Outcome::Processed),
        ] {
            let (all, outcomes) = closes_at_once([Received, level], true, close);
            assert!(all, "{level:?}");
            assert_eq!(outcomes, [Outcome::Received, told.clone()]);
            // It came, and was dropped.
            let (all, outcomes) = closes_at_once([Received, level], false, close);
            assert!(!all, "{level:?}");
            assert_eq!(outcomes[1], told);
            let (all, outcomes) = closes_at_once([Processed, level], false, close);
            assert!(!all, "{level:?}");
            assert_eq!(outcomes, [Outcome::NotSent, told]);
        }
        let (all, outcomes) = closes_at_once([Received, None], false, close);
        assert!(!all);
        assert_eq!(outcomes[0], Outcome::NotSent);
    }
}

/// Who waits for the connection is woken once, when what the handshake had to say is
/// written. An ACK that is due by the time he looks must not send him back to wait.
#[test]
fn an_ack_does_not_keep_the_connection_from_being_there() {
    let now = seconds(1);
    let mut client = common::Side::new(config(false), Role::Initiator, 1, now);
    let server = common::Side::new(config(false), Role::Responder, 2, now);
    let (mut session, mut waiters) = (Session::new(server.connection), Waiters::new());
    let (mut input, mut output) = (RecvBuf::new(), SendBuf::new());
    let mut feed = |session: &mut Session, bytes: &[u8], waiters: &mut Waiters| {
        input.fill_from(bytes);
        session.handle_input(now, &mut input, waiters);
    };
    let mut write = |session: &mut Session, waiters: &mut Waiters| {
        let mut all = Vec::new();
        while session.poll_transmit(now, &mut output, waiters) {
            all.extend_from_slice(output.chunk());
            output.advance(output.chunk().len());
        }
        all
    };
    feed(&mut session, &client.take_output(now), &mut waiters);
    assert!(session.opened().is_some() && session.is_opening());
    client.feed(now, &write(&mut session, &mut waiters));
    assert!(!session.is_opening());
    let sent = client
        .connection
        .send(now, message("at once", AckLevel::Received));
    sent.expect("it is open");
    feed(&mut session, &client.take_output(now), &mut waiters);
    session.handle_idle(&mut waiters);
    assert!(session.wants_transmit(), "it is to be acknowledged");
    assert!(!session.is_opening());
}
