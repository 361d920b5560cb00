//! A task of the program's that blocks the thread of its handlers holds up those, and no
//! connection. In a process of its own: that thread is one for all.

use sealpipe_driver::{Runtime, vocabulary::Config};
use sealpipe_smol::{Connection, Listener, Smol, block_on};
use sealpipe_tests::place;
use std::{sync::mpsc, thread, time::Duration};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_task_that_blocks_holds_up_no_connection() {
    for idle in [false, true] {
        let place = place();
        let mut listener = Listener::bind(&place.endpoint, Config::default()).expect("it is free");
        let endpoint = place.endpoint.clone();
        let connecting = thread::spawn(move || {
            block_on(Connection::connect(&endpoint, Config::default())).expect("it listens")
        });
        let server = block_on(listener.accept()).expect("a client");
        let client = connecting.join().expect("it connects");
        if idle {
            // By then the background looks after both.
            thread::sleep(Duration::from_millis(150));
        }

        let (blocks, blocked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        <Smol as Runtime>::spawn(async move {
            blocks.send(()).expect("the test waits");
            let _ = released.recv();
        });
        blocked.recv_timeout(SOON).expect("the task runs");

        let (came, message) = mpsc::channel();
        let receiving = thread::spawn(move || {
            came.send(block_on(client.recv())).expect("the test waits");
            client
        });
        block_on(server.send("hello")).expect("the peer takes it");
        let message = message.recv_timeout(SOON).expect("nobody is held up");
        let message = message.expect("it stands").expect("a message");
        assert_eq!(message.payload, "hello", "idle: {idle}");
        drop(release);
        drop(receiving.join().expect("it has received"));
    }
}
