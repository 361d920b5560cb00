//! Preface and handshake (PROTOCOL.md, sections 2 to 4).

use super::{Connection, Keys, Phase, ResumePoint, Role};
use crate::{
    buffer::RecvBuf,
    config::Config,
    crypto::{Handshake, HandshakeError, Opener, Sealer},
    error::{Close, ConnectionError, Mismatch, Sealed, Violation},
    event::{Event, Opened},
    key::{Key, KeyId},
    time::Time,
    wire::{
        Frame, FrameHeader, FrameType, Hello, MAX_HANDSHAKE, MAX_HELLO, MIN_HANDSHAKE, Mode,
        Preface, Status,
    },
};
use alloc::{boxed::Box, vec::Vec};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

/// What is needed until the connection is open.
pub(super) struct Setup {
    ephemeral: Zeroizing<[u8; 32]>,
    session: [u8; 16],
    handshake: Option<Handshake>,
    peer_preface: Option<Preface>,
    /// The same as it came, with what is reserved: both sides seal these bytes.
    peer_bytes: [u8; Preface::LEN],
    /// The responder's, while it waits for the first record, or to be adopted.
    pub(super) opened: Option<Opened>,
    /// The responder's, while the driver is to say what is to be resumed.
    asked: Option<(Hello, Option<Handshake>)>,
    /// Where the session stands that is resumed.
    pub(super) point: Option<ResumePoint>,
    /// The first record has opened and waits for whoever adopts it: its length.
    pub(super) record: Option<usize>,
}

impl Setup {
    pub(super) fn new(rng: &mut impl TryCryptoRng) -> Result<Setup, ConnectionError> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        let mut session = [0; 16];
        rng.try_fill_bytes(&mut *ephemeral)
            .and_then(|()| rng.try_fill_bytes(&mut session))
            .map_err(|_| ConnectionError::Internal("the random generator failed"))?;
        Ok(Setup {
            ephemeral,
            session,
            handshake: None,
            peer_preface: None,
            peer_bytes: [0; Preface::LEN],
            opened: None,
            asked: None,
            point: None,
            record: None,
        })
    }

    /// For the session that `point` says, and no other.
    pub(super) fn again(
        rng: &mut impl TryCryptoRng,
        point: ResumePoint,
    ) -> Result<Setup, ConnectionError> {
        let mut setup = Setup::new(rng)?;
        setup.session = point.session;
        setup.point = Some(point);
        Ok(setup)
    }
}

/// The first byte of the frame.
const HELLO: u8 = 1;

fn own_preface(config: &Config) -> Preface {
    Preface::new(config.mode(), config.key_id().unwrap_or_default())
}

fn internal(_: HandshakeError) -> ConnectionError {
    ConnectionError::Internal("the handshake could not be set up")
}

fn prefixed(message: &[u8]) -> impl Iterator<Item = u8> {
    // A Noise message made here is far below 64 KiB.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    length
        .to_be_bytes()
        .into_iter()
        .chain(message.iter().copied())
}

impl Connection {
    fn own_hello(&self, session: [u8; 16], point: Option<&ResumePoint>) -> Hello {
        let hello = Hello {
            max_message: self.config.max_message as u64,
            credit_bytes: self.config.window_bytes as u64,
            credit_messages: self.config.window_messages as u64,
            session,
            resumable: self.config.resumption,
            ..Hello::default()
        };
        match point {
            None => hello,
            Some(point) => Hello {
                credit_bytes: point.credit.0,
                credit_messages: point.credit.1,
                next: point.next,
                settled: point.settled,
                resume: true,
                ..hello
            },
        }
    }

    /// The initiator speaks first.
    pub(super) fn start_setup(&mut self) -> Result<(), ConnectionError> {
        if self.role == Role::Responder {
            return Ok(());
        }
        let Some(mut setup) = self.setup.take() else {
            return Ok(());
        };
        let preface = own_preface(&self.config);
        let mut hello = Vec::new();
        self.own_hello(setup.session, setup.point.as_ref())
            .encode(&mut hello);
        self.raw.bytes_mut().extend_from_slice(&preface.encode());
        match self.config.keys.first() {
            Some(key) => {
                let mut handshake = Handshake::new(true, key, &preface.encode(), &setup.ephemeral)
                    .map_err(internal)?;
                let message = handshake.write(&hello).map_err(internal)?;
                self.raw.bytes_mut().extend(prefixed(&message));
                setup.handshake = Some(handshake);
            }
            None => Frame::Hello(&hello).encode(self.raw.bytes_mut()),
        }
        self.setup = Some(setup);
        Ok(())
    }

    /// Takes the peer's preface from `input`, once it is there. `Ok(true)`: go on.
    pub(super) fn take_preface(&mut self, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        let peer = match Preface::decode(input.bytes()) {
            Ok(Some(peer)) => peer,
            Ok(None) => return Ok(false),
            Err(found) => return Err(ConnectionError::Mismatch(Mismatch::Magic { found })),
        };
        let bytes = input.bytes().first_chunk().copied().unwrap_or_default();
        input.consume(Preface::LEN);
        let own = own_preface(&self.config);
        match self.role {
            Role::Initiator => {
                let mismatch = Mismatch::between(&own, &peer);
                match (peer.status, mismatch) {
                    (_, Some(mismatch @ Mismatch::Version { .. })) => {
                        return Err(ConnectionError::Mismatch(mismatch));
                    }
                    // A responder may say these before it has looked at mode and
                    // key, so a difference in those is not why it refused.
                    (Status::Refused | Status::Busy | Status::ShuttingDown, _) => {
                        return Err(ConnectionError::Refused(peer.status));
                    }
                    (_, Some(mismatch)) => return Err(ConnectionError::Mismatch(mismatch)),
                    (Status::Accepted, None) => {}
                    (Status::Handshake, None) => {
                        return Err(ConnectionError::Authentication(Sealed::Handshake));
                    }
                    (status, None) => return Err(ConnectionError::Refused(status)),
                }
            }
            Role::Responder => {
                if peer.status != Status::Accepted {
                    return Err(ConnectionError::Violation(Violation::InitiatorStatus));
                }
                if let Some(mismatch) = self.responder_mismatch(&own, &peer) {
                    let status = match mismatch {
                        Mismatch::Version { .. } => Status::Version,
                        Mismatch::Mode { .. } => Status::Mode,
                        _ => Status::Key,
                    };
                    self.raw
                        .bytes_mut()
                        .extend_from_slice(&Preface { status, ..own }.encode());
                    return Err(ConnectionError::Mismatch(mismatch));
                }
            }
        }
        if let Some(setup) = &mut self.setup {
            setup.peer_preface = Some(peer);
            setup.peer_bytes = bytes;
        }
        self.phase = Phase::Handshake;
        Ok(true)
    }

    /// A responder takes any of its keys.
    fn responder_mismatch(&self, own: &Preface, peer: &Preface) -> Option<Mismatch> {
        match Mismatch::between(own, peer) {
            Some(Mismatch::Key { .. }) if self.key_named_by(peer).is_some() => None,
            mismatch => mismatch,
        }
    }

    fn key_named_by(&self, peer: &Preface) -> Option<&Key> {
        self.config.keys.iter().find(|key| key.id() == peer.key)
    }

    /// The id of the key that the initiator named, if it is one of this side's.
    fn meant_key(&self) -> Option<KeyId> {
        let peer = self.setup.as_ref()?.peer_preface?;
        self.key_named_by(&peer).map(|_| peer.key)
    }

    /// A preface in place of all else, to say why this side does not go on.
    fn say_status(&mut self, status: Status, key: Option<KeyId>) {
        let own = own_preface(&self.config);
        let key = key.unwrap_or(own.key);
        self.raw.clear();
        self.raw
            .bytes_mut()
            .extend_from_slice(&Preface { status, key, ..own }.encode());
    }

    /// Takes HELLO or the Noise message, once it is there. `Ok(true)`: go on.
    pub(super) fn take_handshake(&mut self, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        // Trying may use up the setup, and the refusal needs it.
        let key = self.meant_key();
        let result = match self.config.mode() {
            Mode::Sealed => self.take_noise(input),
            _ => self.take_hello(input),
        };
        if self.role == Role::Responder && result.is_err() {
            // Nothing else has been sent: the status can still tell.
            self.say_status(Status::Handshake, key);
        }
        result
    }

    /// Plain mode.
    fn take_hello(&mut self, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        let violation = |violation| Err(ConnectionError::Violation(violation));
        let header = match FrameHeader::decode(input.bytes(), MAX_HELLO.saturating_add(8)) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            Err(Violation::FrameTooLong { .. }) if Some(&HELLO) == input.bytes().first() => {
                return violation(Violation::HelloTooLong);
            }
            Err(_) => return violation(Violation::HelloMissing),
        };
        if !matches!(header.frame_type, FrameType::Hello | FrameType::Close) {
            return violation(Violation::HelloMissing);
        }
        let end = header.header_len.saturating_add(header.body_len);
        let Some(body) = input.bytes().get(header.header_len..end) else {
            return Ok(false);
        };
        let hello = match Frame::decode(header.frame_type, body) {
            Ok(Frame::Hello(body)) => Hello::decode(body),
            Ok(Frame::Close { code, reason, .. }) => {
                return Err(ConnectionError::ClosedByPeer(Close::new(code, reason)));
            }
            Ok(_) => Err(Violation::HelloMissing),
            Err(violation) => Err(violation),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(broken) => return violation(broken),
        };
        input.consume(end);
        match (self.role, &mut self.setup) {
            (Role::Responder, Some(setup)) if hello.resume && self.config.resumption => {
                setup.asked = Some((hello, None));
                self.ask(hello.session);
            }
            (Role::Responder, _) => self.answer_hello(hello),
            (Role::Initiator, Some(setup)) if setup.session != hello.session => {
                return violation(Violation::HelloSession);
            }
            (Role::Initiator, _) => self.opened(Opened {
                peer: hello,
                handshake_hash: None,
            }),
        }
        Ok(true)
    }

    fn answer_hello(&mut self, hello: Hello) {
        let point = self.setup.as_ref().and_then(|setup| setup.point.as_ref());
        let mut body = Vec::new();
        self.own_hello(hello.session, point).encode(&mut body);
        self.raw
            .bytes_mut()
            .extend_from_slice(&own_preface(&self.config).encode());
        Frame::Hello(&body).encode(self.raw.bytes_mut());
        self.confirmed_as(Opened {
            peer: hello,
            handshake_hash: None,
        });
    }

    /// Sealed mode.
    fn take_noise(&mut self, input: &mut RecvBuf) -> Result<bool, ConnectionError> {
        let Some(length) = Opener::declared(input.bytes()) else {
            return Ok(false);
        };
        if !(MIN_HANDSHAKE..=MAX_HANDSHAKE).contains(&length) {
            return Err(ConnectionError::Violation(Violation::HandshakeLength {
                length,
            }));
        }
        let end = length.saturating_add(Opener::HEADER);
        let Some(message) = input.bytes().get(Opener::HEADER..end) else {
            return Ok(false);
        };
        let Some(setup) = self.setup.take() else {
            return Ok(false);
        };
        match self.role {
            Role::Initiator => {
                let opened = self.finish_initiator(*setup, message)?;
                self.pad_due = true;
                self.opened(opened);
            }
            Role::Responder => self.read_initiator(setup, message)?,
        }
        input.consume(end);
        Ok(true)
    }

    fn finish_initiator(
        &mut self,
        setup: Setup,
        message: &[u8],
    ) -> Result<Opened, ConnectionError> {
        let mut handshake = setup
            .handshake
            .ok_or(ConnectionError::Internal("no handshake under way"))?;
        let payload = handshake
            .read(message)
            .map_err(|_| ConnectionError::Authentication(Sealed::Handshake))?;
        let violation = ConnectionError::Violation;
        let (echo, hello) = payload
            .split_first_chunk::<{ Preface::LEN }>()
            .ok_or(violation(Violation::PrefaceEcho))?;
        if setup.peer_bytes != *echo {
            return Err(violation(Violation::PrefaceEcho));
        }
        let hello = Hello::decode(hello).map_err(violation)?;
        if hello.session != setup.session {
            return Err(violation(Violation::HelloSession));
        }
        let handshake_hash = Some(self.split(handshake)?);
        Ok(Opened {
            peer: hello,
            handshake_hash,
        })
    }

    fn read_initiator(
        &mut self,
        mut setup: Box<Setup>,
        message: &[u8],
    ) -> Result<(), ConnectionError> {
        let peer = setup
            .peer_preface
            .ok_or(ConnectionError::Internal("no preface"))?;
        let key = self
            .key_named_by(&peer)
            .ok_or(ConnectionError::Internal("no key"))?;
        let mut handshake =
            Handshake::new(false, key, &setup.peer_bytes, &setup.ephemeral).map_err(internal)?;
        let payload = handshake
            .read(message)
            .map_err(|_| ConnectionError::Authentication(Sealed::Handshake))?;
        let hello = Hello::decode(&payload).map_err(ConnectionError::Violation)?;
        if hello.resume && self.config.resumption {
            setup.asked = Some((hello, Some(handshake)));
            self.setup = Some(setup);
            self.ask(hello.session);
            return Ok(());
        }
        self.setup = Some(setup);
        self.answer_noise(hello, handshake)
    }

    fn answer_noise(
        &mut self,
        hello: Hello,
        mut handshake: Handshake,
    ) -> Result<(), ConnectionError> {
        let key = self
            .meant_key()
            .ok_or(ConnectionError::Internal("no key"))?;
        let preface = Preface {
            key,
            ..own_preface(&self.config)
        }
        .encode();
        let point = self.setup.as_ref().and_then(|setup| setup.point.as_ref());
        let mut answer = Vec::from(preface);
        self.own_hello(hello.session, point).encode(&mut answer);
        let answer = handshake.write(&answer).map_err(internal)?;
        self.raw.bytes_mut().extend_from_slice(&preface);
        self.raw.bytes_mut().extend(prefixed(&answer));
        let handshake_hash = Some(self.split(handshake)?);
        self.phase = Phase::Confirm;
        if let Some(setup) = &mut self.setup {
            setup.opened = Some(Opened {
                peer: hello,
                handshake_hash,
            });
        }
        Ok(())
    }

    /// The peer asks to resume a session: the driver must know which is meant.
    fn ask(&mut self, session: [u8; 16]) {
        self.phase = Phase::Asked;
        self.events.push_back(Event::ResumeAsked { session });
    }

    /// Answers a peer that asked to resume a session ([`Event::ResumeAsked`]):
    /// with where that stands ([`resume_point`](Self::resume_point) of the
    /// suspended connection), or with `None` where it is not known any more; the
    /// peer's session is then a new one, and this connection it. So it is, too, if
    /// the point is another session's, or one that was sealed with another key.
    /// Does nothing where nobody asked.
    pub fn answer_resume(&mut self, now: Time, point: Option<ResumePoint>) {
        self.advance(now);
        let key = self.meant_key();
        let Some(setup) = &mut self.setup else {
            return;
        };
        let Some((hello, handshake)) = setup.asked.take() else {
            return;
        };
        setup.point = point.filter(|point| {
            point.session == hello.session && (handshake.is_none() || point.key == key)
        });
        let Some(handshake) = handshake else {
            return self.answer_hello(hello);
        };
        if let Err(error) = self.answer_noise(hello, handshake) {
            self.say_status(Status::Handshake, key);
            self.fail(error);
        }
    }

    /// Keys for both directions; returns the handshake hash.
    fn split(&mut self, handshake: Handshake) -> Result<[u8; 32], ConnectionError> {
        let id = self.meant_key().or(self.config.key_id());
        let split = handshake.split().map_err(internal)?;
        let (ours, theirs) = match self.role {
            Role::Initiator => (&split.initiator, &split.responder),
            Role::Responder => (&split.responder, &split.initiator),
        };
        self.keys = Some(Box::new(Keys {
            sealer: Sealer::new(&*self.config.provider, ours),
            opener: Some(Opener::new(&*self.config.provider, theirs)),
            id: id.unwrap_or_default(),
        }));
        Ok(split.hash)
    }

    /// The initiator's first record, of so many bytes, has opened. Whether what is
    /// in it is for this connection.
    pub(super) fn confirmed(&mut self, record: usize) -> bool {
        let Some(setup) = &mut self.setup else {
            return false;
        };
        setup.record = Some(record);
        if let Some(opened) = setup.opened.take() {
            self.confirmed_as(opened);
        }
        self.phase == Phase::Open
    }

    /// The peer means it: the connection is open, or waits for the one that it
    /// resumes.
    fn confirmed_as(&mut self, opened: Opened) {
        match &mut self.setup {
            Some(setup) if setup.point.is_some() => {
                setup.opened = Some(opened);
                self.phase = Phase::Ready;
                self.events.push_back(Event::ResumeReady);
            }
            _ => self.opened(opened),
        }
    }

    /// Ends a connection that the driver does not want, before it is open, and
    /// tells the peer why by the status of the preface. For a listener that has
    /// found out who connects, or has too many handshakes under way. Later it is
    /// the same as [`close`](Self::close).
    pub fn refuse(&mut self, status: Status) {
        let unanswered = matches!(self.phase, Phase::Preface | Phase::Handshake | Phase::Asked);
        if self.role == Role::Responder && unanswered {
            let status = match status {
                Status::Accepted => Status::Refused,
                status => status,
            };
            self.say_status(status, self.meant_key());
            self.end_with(ConnectionError::Refused(status), None);
        } else if self.foreign.is_some() {
            // There is no word for it: the stream just ends.
            self.inbound.freeze();
            self.end_with(ConnectionError::Refused(status), None);
        } else {
            self.close(self.now, Close::new(Close::GOING_AWAY, "refused"));
        }
    }
}
