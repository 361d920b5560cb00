//! `kill -9` in the middle of 100,000 messages with processed acks: what the
//! survivor says of each message is true.
//!
//! The server prints each message before it accepts it. So of the client's
//! account: processed ⊆ printed ⊆ processed ∪ unknown, and nothing that was not
//! sent was printed.

use sealpipe_driver::{
    Error,
    vocabulary::{AckLevel, Endpoint, Message, Outcome},
};
use sealpipe_tests::{
    Adapter, Helper,
    api::{Connection, Listener, Permit},
    mode, on_adapter, place, role, say, within,
};
use std::{
    collections::{BTreeSet, VecDeque},
    io::Write,
};

sealpipe_tests::on_every_adapter! {
    the_server_in_plain_mode,
    the_server_in_sealed_mode,
    the_client_in_plain_mode,
    the_client_in_sealed_mode,
}

const MESSAGES: u32 = 100_000;
/// It is killed after so many, one way and the other. Wine takes milliseconds for each.
const FAR: usize = if cfg!(windows) { 4_000 } else { 20_000 };
/// So many wait for their outcome at any time.
const UNDER_WAY: usize = 500;

fn payload(n: u32) -> Vec<u8> {
    // Now and then a large one, so that a kill can come in the middle of it.
    let mut payload = n.to_be_bytes().to_vec();
    let size = if n % 1000 == 999 { 300_000 } else { 20 };
    payload.resize(size, n as u8);
    payload
}

/// What became of the messages, as the client was told.
#[derive(Default)]
struct Account {
    processed: BTreeSet<u32>,
    unknown: BTreeSet<u32>,
    not_sent: BTreeSet<u32>,
}

impl Account {
    fn note(&mut self, n: u32, outcome: Outcome) {
        let set = match outcome {
            Outcome::Processed => &mut self.processed,
            Outcome::Unknown => &mut self.unknown,
            Outcome::NotSent => &mut self.not_sent,
            other => panic!("{other}"),
        };
        assert!(set.insert(n), "a second outcome");
    }
}

/// Sends until all is sent or the connection ends, and tells what becomes of each.
async fn send_all<C: Connection>(connection: &C, mut note: impl FnMut(u32, Outcome)) {
    let mut under_way = VecDeque::new();
    for n in 0..MESSAGES {
        while under_way.len() >= UNDER_WAY {
            let (n, delivery): (u32, C::Delivery) = under_way.pop_front().unwrap();
            note(n, delivery.await.unwrap_or_else(|error| error.outcome()));
        }
        let message = Message::new(payload(n)).with_ack(AckLevel::Processed);
        let Ok(permit) = connection.reserve().await else {
            // It has ended, and nothing more can be sent.
            (n..MESSAGES).for_each(|n| note(n, Outcome::NotSent));
            break;
        };
        match permit.send(message) {
            Ok(delivery) => under_way.push_back((n, delivery)),
            Err(error) => note(n, error.outcome()),
        }
    }
    for (n, delivery) in under_way {
        note(n, delivery.await.unwrap_or_else(|error| error.outcome()));
    }
}

/// Takes messages until the end, and prints each before it is accepted.
async fn print_all<C: Connection>(connection: &C, mut print: impl FnMut(u32)) -> Result<(), Error> {
    let mut expected = 0;
    while let Some(message) = connection.recv().await? {
        let n = u32::from_be_bytes(message.payload[..4].try_into().unwrap());
        assert_eq!(n, expected, "lost, doubled or out of order");
        assert!(message.payload == payload(n), "cut");
        expected += 1;
        print(n);
        message.accept();
    }
    Ok(())
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = role == "server";
        on_adapter!(
            &*arguments[2],
            help(server, arguments[0].parse().unwrap(), &arguments[1])
        );
    });
}

async fn help<R: Adapter>(server: bool, endpoint: Endpoint, mode_name: &str) {
    let config = mode(mode_name).build().unwrap();
    // Each line is written at once: what is in a buffer of this process dies with it.
    let tell = |line: String| {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(line.as_bytes()).unwrap();
        stdout.flush().unwrap();
    };
    if server {
        let mut listener = R::bind(&endpoint, config).unwrap();
        say("listening");
        let connection = listener.accept().await.unwrap();
        let _ = print_all(&connection, |n| tell(format!("@@{n}\n"))).await;
    } else {
        let connection = R::connect(&endpoint, config).await.unwrap();
        send_all(&connection, |n, outcome| tell(format!("@@{n} {outcome}\n"))).await;
    }
}

fn check(adapter: &str, name: &str, account: &Account, printed: &BTreeSet<u32>) {
    println!(
        "{adapter}, {name}: {} printed; {} processed, {} unknown, {} not sent",
        printed.len(),
        account.processed.len(),
        account.unknown.len(),
        account.not_sent.len(),
    );
    let lied: Vec<_> = account.processed.difference(printed).collect();
    assert!(lied.is_empty(), "processed and not printed: {lied:?}");
    let lied: Vec<_> = account.not_sent.intersection(printed).collect();
    assert!(lied.is_empty(), "not sent and printed: {lied:?}");
    let lied: Vec<_> = printed
        .iter()
        .filter(|n| !account.processed.contains(n) && !account.unknown.contains(n))
        .collect();
    assert!(
        lied.is_empty(),
        "printed, neither processed nor unknown: {lied:?}"
    );
}

async fn the_server_is_killed<R: Adapter>(name: &str, after: usize) {
    within(async {
        let place = place();
        let mut server = Helper::at(&place.endpoint, "server", &[name, R::NAME]);
        assert_eq!(server.line(), "listening");
        let config = mode(name).build().unwrap();
        let client = R::connect(&place.endpoint, config).await.unwrap();
        // The printed ones are read by a thread of their own, which also kills.
        let printing = std::thread::spawn(move || {
            let mut printed = BTreeSet::new();
            while printed.len() < after {
                printed.insert(server.line().parse().unwrap());
            }
            server.kill();
            while let Some(line) = server.next_line() {
                printed.insert(line.parse().unwrap());
            }
            printed
        });
        let mut account = Account::default();
        send_all(&client, |n, outcome| account.note(n, outcome)).await;
        let printed = printing.join().unwrap();
        let accounted = account.processed.len() + account.unknown.len() + account.not_sent.len();
        assert_eq!(accounted, MESSAGES as usize, "each has one outcome");
        assert!(!account.not_sent.is_empty(), "it was killed too late");
        assert!(!account.processed.is_empty(), "it was killed too early");
        check(R::NAME, name, &account, &printed);
    })
    .await;
}

async fn the_client_is_killed<R: Adapter>(name: &str, after: usize) {
    within(async {
        let place = place();
        let config = mode(name).build().unwrap();
        let mut listener = R::bind(&place.endpoint, config).unwrap();
        let mut client = Helper::at(&place.endpoint, "client", &[name, R::NAME]);
        let server = listener.accept().await.unwrap();
        let telling = std::thread::spawn(move || {
            let mut account = Account::default();
            let mut note = |line: String| {
                let (n, outcome) = line.split_once(' ').unwrap();
                let outcome = match outcome {
                    "processed" => Outcome::Processed,
                    "not sent" => Outcome::NotSent,
                    "unknown" => Outcome::Unknown,
                    other => panic!("{other}"),
                };
                account.note(n.parse().unwrap(), outcome);
            };
            for _ in 0..after {
                note(client.line());
            }
            client.kill();
            while let Some(line) = client.next_line() {
                note(line);
            }
            account
        });
        let mut printed = BTreeSet::new();
        let end = print_all(&server, |n| {
            printed.insert(n);
        })
        .await;
        assert!(end.is_err(), "it was killed too late");
        let mut account = telling.join().unwrap();
        // Of those that it could tell nothing of any more, each was under way or
        // never sent. Whatever was printed has no gap, and goes no further than
        // what can have been under way.
        let last = account.processed.len() + UNDER_WAY + 1;
        for n in 0..MESSAGES {
            if !account.processed.contains(&n) && (n as usize) < last {
                account.unknown.insert(n);
            }
        }
        check(R::NAME, name, &account, &printed);
    })
    .await;
}

async fn the_server_in_plain_mode<R: Adapter>() {
    the_server_is_killed::<R>("plain", FAR).await;
    the_server_is_killed::<R>("plain", 1_003).await;
}

async fn the_server_in_sealed_mode<R: Adapter>() {
    the_server_is_killed::<R>("sealed", FAR).await;
    the_server_is_killed::<R>("sealed", 1_003).await;
}

async fn the_client_in_plain_mode<R: Adapter>() {
    the_client_is_killed::<R>("plain", FAR).await;
}

async fn the_client_in_sealed_mode<R: Adapter>() {
    the_client_is_killed::<R>("sealed", FAR).await;
}
