//! Two sides whose stream is cut and replaced by another.

use super::{Pair, Rng, Side, builder, seconds};
use sealpipe_core::{
    Config, ConfigBuilder, Event, RecvBuf, ResumeError, ResumePoint, Role, SendBuf,
};
use std::sync::Arc;

/// Plain, and sealed.
pub const MODES: [bool; 2] = [false, true];

/// A configuration with resumption.
pub fn on(sealed: bool) -> Arc<Config> {
    Arc::new(builder(sealed).resumption(true).build().expect("valid"))
}

/// A pair that can lose its stream.
pub struct Lossy {
    pub pair: Pair,
    /// The server's end of the stream that is to come.
    pub fresh: Option<Side>,
    pub server_config: Arc<Config>,
    seed: u64,
}

impl Lossy {
    pub fn new(client: Arc<Config>, server: Arc<Config>) -> Lossy {
        Lossy {
            pair: Pair::new(client, server.clone()),
            fresh: None,
            server_config: server,
            seed: 100,
        }
    }

    /// Both with resumption, and open.
    pub fn open(builder: ConfigBuilder) -> Lossy {
        let config = Arc::new(builder.resumption(true).build().expect("valid"));
        let mut lossy = Lossy::new(config.clone(), config);
        lossy.pair.run();
        assert!(lossy.pair.client.connection.is_open());
        lossy
    }

    /// The stream ends, and with it what was on its way.
    pub fn cut(&mut self) {
        let now = self.pair.now;
        for side in [&mut self.pair.client, &mut self.pair.server] {
            side.eof(now);
            side.take(false);
            new_stream(side);
        }
    }

    /// The client begins with another stream, the server accepts it.
    pub fn reconnect(&mut self) {
        self.seed += 1;
        let now = self.pair.now;
        new_stream(&mut self.pair.client);
        let resumed = self.pair.client.connection.resume(&mut Rng(self.seed), now);
        resumed.expect("suspended");
        self.fresh = Some(Side::new(
            self.server_config.clone(),
            Role::Responder,
            self.seed + 1_000,
            now,
        ));
    }

    /// Moves bytes over the new stream, at most `most` of them, until there are
    /// none; the server knows the session, or not. How many there were.
    pub fn run(&mut self, known: bool, most: usize) -> usize {
        let mut moved = 0;
        loop {
            let asked = self.forth(known, most - moved);
            let answered = self.back(most - moved - asked);
            moved += asked + answered;
            let more = self.pair.client.connection.wants_transmit();
            if moved == most || asked + answered == 0 && !more {
                return moved;
            }
        }
    }

    /// The client writes, the server reads.
    pub fn forth(&mut self, known: bool, most: usize) -> usize {
        let now = self.pair.now;
        let mut bytes = self.pair.client.take_output(now);
        bytes.truncate(most);
        match &mut self.fresh {
            Some(fresh) => fresh.feed(now, &bytes),
            None => self.pair.server.feed(now, &bytes),
        }
        self.answer(known);
        self.pair.look(Role::Responder);
        bytes.len()
    }

    /// The server writes, the client reads.
    pub fn back(&mut self, most: usize) -> usize {
        let now = self.pair.now;
        let server = self.fresh.as_mut().unwrap_or(&mut self.pair.server);
        let mut bytes = server.take_output(now);
        bytes.truncate(most);
        self.pair.client.feed(now, &bytes);
        self.pair.look(Role::Initiator);
        bytes.len()
    }

    /// What a server's driver does.
    pub fn answer(&mut self, known: bool) {
        let now = self.pair.now;
        while let Some(event) = self.fresh.as_mut().and_then(|f| f.connection.poll_event()) {
            let Some(fresh) = &mut self.fresh else { return };
            match event {
                Event::ResumeAsked { .. } => {
                    let point = self.pair.server.connection.resume_point();
                    let point = point.filter(|_| known);
                    fresh.connection.answer_resume(now, point);
                }
                Event::ResumeReady => self.adopt().expect("nothing has happened since"),
                Event::Open(opened) => {
                    // Another process of the server's.
                    let mut fresh = self.fresh.take().expect("it is open");
                    fresh.events.push(Event::Open(opened));
                    self.pair.server = fresh;
                }
                Event::Closed(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn adopt(&mut self) -> Result<(), ResumeError> {
        let now = self.pair.now;
        let mut fresh = self.fresh.take().expect("a new stream");
        let server = &mut self.pair.server;
        server.connection.adopt(now, &mut fresh.connection)?;
        (server.input, server.output) = (fresh.input, fresh.output);
        let _ = server.connection.handle_input(now, &mut server.input);
        Ok(())
    }

    /// Resumes to the end.
    pub fn resume(&mut self) {
        self.reconnect();
        self.run(true, usize::MAX);
        assert!(self.pair.client.connection.is_open());
        assert!(self.pair.server.connection.is_open());
    }

    /// The server was restarted.
    pub fn restart(&mut self) {
        self.reconnect();
        self.run(false, usize::MAX);
        assert!(self.pair.client.connection.is_open());
        assert!(self.pair.server.connection.is_open());
    }

    pub fn point(&self) -> ResumePoint {
        let point = self.pair.server.connection.resume_point();
        point.expect("suspended")
    }
}

/// Buffers belong to a stream.
pub fn new_stream(side: &mut Side) {
    side.input = RecvBuf::new();
    side.output = SendBuf::new();
}

/// How often a side was told that its session went on.
pub fn resumptions(side: &Side) -> usize {
    let resumed = |event: &&Event| matches!(event, Event::Resumed(_));
    side.events.iter().filter(resumed).count()
}

/// Later than any resume timeout.
pub fn much_later() -> core::time::Duration {
    core::time::Duration::from_nanos(seconds(3_600).as_nanos())
}
