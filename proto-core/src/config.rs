//! The limits and deadlines of a connection.

use crate::{
    crypto::{ChaChaPoly, CipherProvider},
    key::{Key, KeyId},
    wire::{Mode, Wire, varint},
};
use alloc::{sync::Arc, vec, vec::Vec};
use core::{fmt, time::Duration};

/// How a connection behaves. Built once by [`Config::plain`] or
/// [`Config::sealed`], checked, then shared by `Arc`.
///
/// Every limit is finite, and 0 means 0.
#[derive(Clone)]
pub struct Config {
    pub(crate) wire: Wire,
    pub(crate) keys: Vec<Key>,
    pub(crate) provider: Arc<dyn CipherProvider>,
    pub(crate) max_message: usize,
    pub(crate) window_bytes: usize,
    pub(crate) window_messages: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_messages: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) record_timeout: Duration,
    pub(crate) message_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) silence_timeout: Option<Duration>,
    pub(crate) resumption: bool,
    pub(crate) redeliver: bool,
    pub(crate) resume_timeout: Duration,
}

impl Config {
    /// Starts a configuration without encryption. Who may connect is then up to
    /// the operating system alone.
    pub fn plain() -> ConfigBuilder {
        ConfigBuilder::new(Vec::new())
    }

    /// Starts a configuration that seals everything with `key`, and talks to
    /// nobody who does not hold it.
    pub fn sealed(key: Key) -> ConfigBuilder {
        ConfigBuilder::new(vec![key])
    }

    /// Plain or sealed.
    pub fn mode(&self) -> Mode {
        if self.keys.is_empty() {
            Mode::Plain
        } else {
            Mode::Sealed
        }
    }

    /// How messages travel.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The id of the first key, which an initiator uses.
    pub fn key_id(&self) -> Option<KeyId> {
        self.keys.first().map(Key::id)
    }

    /// The largest message this side accepts, in bytes.
    pub fn max_message(&self) -> usize {
        self.max_message
    }

    /// How long a send may take, from being queued to its outcome.
    pub fn send_timeout(&self) -> Duration {
        self.send_timeout
    }

    /// How long the handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// How long the peer's goodbye is waited for.
    pub fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    /// Whether a connection outlives the loss of its stream.
    pub fn resumption(&self) -> bool {
        self.resumption
    }

    /// How long a connection stays suspended before it ends.
    pub fn resume_timeout(&self) -> Duration {
        self.resume_timeout
    }

    /// Whether the wire can do what the rest asks for.
    fn check_wire(&self) -> Result<(), ConfigError> {
        let (wire, max_message) = (self.wire, self.max_message);
        let max = wire.max_payload();
        match (wire, self.keys.len()) {
            (Wire::Native, _) => return Ok(()),
            (Wire::LegacySealed, 0) => return Err(ConfigError::WireWithoutKey(wire)),
            (Wire::LegacySealed, 1) | (_, 0) => {}
            (Wire::LegacySealed, _) => return Err(ConfigError::WireKeys(wire)),
            _ => return Err(ConfigError::WireNotSealed(wire)),
        }
        if self.resumption {
            return Err(ConfigError::WireResumption(wire));
        }
        if max_message > max {
            return Err(ConfigError::WireTooLarge {
                wire,
                max_message,
                max,
            });
        }
        Ok(())
    }
}

impl Default for Config {
    /// [`Config::plain`] with every default.
    fn default() -> Config {
        Config::plain().config
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("wire", &self.wire)
            .field("mode", &self.mode())
            .field("keys", &self.keys)
            .field("cipher", &self.provider.name())
            .field("max_message", &self.max_message)
            .field("window_bytes", &self.window_bytes)
            .field("window_messages", &self.window_messages)
            .field("queue_bytes", &self.queue_bytes)
            .field("queue_messages", &self.queue_messages)
            .field("send_timeout", &self.send_timeout)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Config`].
///
/// ```
/// use sealpipe_core::{Config, Key};
/// let key = Key::from_hex(&"5a".repeat(32))?;
/// let config = Config::sealed(key).max_message(64 << 10).receive_window(1 << 20, 256).build()?;
/// assert_eq!(config.max_message(), 65_536);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConfigBuilder {
    config: Config,
}

impl ConfigBuilder {
    fn new(keys: Vec<Key>) -> ConfigBuilder {
        ConfigBuilder {
            config: Config {
                wire: Wire::Native,
                keys,
                provider: Arc::new(ChaChaPoly),
                max_message: 4 << 20,
                window_bytes: 16 << 20,
                window_messages: 16_384,
                queue_bytes: 16 << 20,
                queue_messages: 16_384,
                handshake_timeout: Duration::from_secs(5),
                record_timeout: Duration::from_secs(30),
                message_timeout: Duration::from_secs(60),
                send_timeout: Duration::from_secs(30),
                close_timeout: Duration::from_secs(5),
                keepalive: Some(Duration::from_secs(30)),
                silence_timeout: Some(Duration::from_secs(90)),
                resumption: false,
                redeliver: false,
                resume_timeout: Duration::from_secs(30),
            },
        }
    }

    /// A further key that a listener accepts, so that keys can be rotated: give
    /// the listener both, then the clients the new one, then take the old away.
    /// On a plain configuration this makes it a sealed one.
    pub fn also_accept(mut self, key: Key) -> Self {
        self.config.keys.push(key);
        self
    }

    /// Another system's wire in place of sealpipe's own, for peers that have not been
    /// moved yet. See [`Wire`] for what each can carry, and which limit belongs to
    /// which system.
    ///
    /// ```
    /// use sealpipe_core::{Config, Wire};
    /// let bunctl = Config::plain().wire(Wire::Le32).max_message(10 << 20).build()?;
    /// assert_eq!(bunctl.wire(), Wire::Le32);
    /// # Ok::<(), sealpipe_core::ConfigError>(())
    /// ```
    pub fn wire(mut self, wire: Wire) -> Self {
        self.config.wire = wire;
        self
    }

    /// Another implementation of the record cipher. Nothing changes on the wire.
    pub fn cipher(mut self, provider: impl CipherProvider + 'static) -> Self {
        self.config.provider = Arc::new(provider);
        self
    }

    /// The largest message, payload plus topic, that this side sends or accepts,
    /// in bytes. 4 MiB unless set.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self
    }

    /// How much the peer may have sent that the program has not taken (or, at
    /// level *processed*, settled): 16 MiB and 16,384 messages unless set. This
    /// bounds what a connection's incoming messages can take of memory, beside one
    /// that is coming in and 4 KiB: each counts some 100 bytes more than its size,
    /// and one above 1 KiB may share the block that it was read in, of up to four
    /// times its size, if the peer arranges for that.
    pub fn receive_window(mut self, bytes: usize, messages: usize) -> Self {
        self.config.window_bytes = bytes;
        self.config.window_messages = messages;
        self
    }

    /// How much may wait to be sent or, where it is tracked, wait for its
    /// outcome: 16 MiB and 16,384 messages unless set. A message is taken while
    /// less than that waits, so the queue exceeds `bytes` by one message at most.
    /// A full queue hands the message back.
    pub fn send_queue(mut self, bytes: usize, messages: usize) -> Self {
        self.config.queue_bytes = bytes;
        self.config.queue_messages = messages;
        self
    }

    /// How long the handshake may take: 5 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.handshake_timeout = timeout;
        self
    }

    /// How long a frame or record that has begun may take to come in whole: 30 s
    /// unless set.
    pub fn record_timeout(mut self, timeout: Duration) -> Self {
        self.config.record_timeout = timeout;
        self
    }

    /// How long a message that has begun may take to come in whole: 60 s unless
    /// set.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.config.message_timeout = timeout;
        self
    }

    /// How long a message may take from being queued to its outcome, where the
    /// message sets no deadline of its own: 30 s unless set.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.config.send_timeout = timeout;
        self
    }

    /// How long the peer's goodbye is waited for: 5 s unless set.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// After how long without a byte from the peer a PING goes out (30 s unless
    /// set), and after how long the connection ends (90 s unless set). `None`
    /// for never: a peer that is stopped in a debugger then stays connected. A
    /// peer's death is told at once by the system, keepalive or not. Other
    /// [wires](Self::wire) have no PING: there neither happens.
    pub fn keepalive(mut self, ping_after: Option<Duration>, end_after: Option<Duration>) -> Self {
        self.config.keepalive = ping_after;
        self.config.silence_timeout = end_after;
        self
    }

    /// Whether a connection outlives the loss of its stream: it is then suspended
    /// ([`Event::Suspended`](crate::Event::Suspended)), and goes on over another
    /// stream where it was cut, with every message of level *received* or
    /// *processed* delivered once. Takes a driver that brings the other stream
    /// ([`Connection::resume`](crate::Connection::resume),
    /// [`Connection::adopt`](crate::Connection::adopt)), and a peer that has it on
    /// too; with another peer, connections end as ever. Off unless set.
    ///
    /// It costs memory: such messages are kept until they are acknowledged (their
    /// payloads are shared, not copied, and count as queued,
    /// [`send_queue`](Self::send_queue)), and verdicts until the peer says that it
    /// has them.
    pub fn resumption(mut self, on: bool) -> Self {
        self.config.resumption = on;
        self
    }

    /// What an initiator does where the peer does not know the session any more
    /// ([`Event::Restarted`](crate::Event::Restarted)): its process was restarted,
    /// or it has given the session up. `false`, the default: messages without an
    /// outcome get theirs, which is *unknown* where they had been sent. `true`:
    /// those of level *received* and *processed* are sent again, marked as
    /// [`redelivered`](crate::Received::is_redelivered), and those that wait to be
    /// sent go on waiting. Without [`resumption`](Self::resumption) it changes nothing.
    pub fn redeliver(mut self, on: bool) -> Self {
        self.config.redeliver = on;
        self
    }

    /// How long a connection stays suspended before it ends: 30 s unless set.
    pub fn resume_timeout(mut self, timeout: Duration) -> Self {
        self.config.resume_timeout = timeout;
        self
    }

    /// Checks and builds.
    ///
    /// # Errors
    /// [`ConfigError`] says which limit contradicts which.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut config = self.config;
        config.check_wire()?;
        if config.wire != Wire::Native {
            // It has nothing to ask a silent peer with.
            (config.keepalive, config.silence_timeout) = (None, None);
        }
        if config.window_bytes < config.max_message {
            return Err(ConfigError::Window {
                window: config.window_bytes,
                max_message: config.max_message,
            });
        }
        if config.window_messages == 0 {
            return Err(ConfigError::Zero("the receive window, in messages"));
        }
        if config.queue_messages == 0 {
            return Err(ConfigError::Zero("the send queue, in messages"));
        }
        if config.window_bytes as u64 > varint::MAX || config.window_messages as u64 > varint::MAX {
            return Err(ConfigError::TooBig);
        }
        let mut ids: Vec<KeyId> = config.keys.iter().map(Key::id).collect();
        ids.sort_by_key(|id| id.0);
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(ConfigError::KeyTwice);
        }
        match (config.keepalive, config.silence_timeout) {
            (Some(ping), Some(end)) if ping >= end => Err(ConfigError::Keepalive { ping, end }),
            _ => Ok(config),
        }
    }
}

/// Limits that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The largest message would never get credit.
    #[error(
        "the receive window ({window} bytes) is smaller than the largest message ({max_message} bytes)"
    )]
    Window {
        /// The window in bytes.
        window: usize,
        /// The largest message in bytes.
        max_message: usize,
    },
    /// Nothing could ever be sent.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A window does not fit the wire.
    #[error("a receive window must be below 2^62")]
    TooBig,
    /// The same key was given twice.
    #[error("the same key was given twice")]
    KeyTwice,
    /// A key is set, and the wire has no encryption: sealed never falls back to plain.
    #[error(
        "a key is set, and the wire {0} cannot be sealed; use the native wire, or take the key away \
         if plain is what you want"
    )]
    WireNotSealed(Wire),
    /// No key is set for a sealed wire.
    #[error("the wire {0} is sealed and needs a key: start with Config::sealed")]
    WireWithoutKey(Wire),
    /// Several keys are set, and the wire does not say which one a message has.
    #[error("the wire {0} takes one key, for its messages do not say which they are sealed with")]
    WireKeys(Wire),
    /// The wire has nothing to resume a session with.
    #[error("the wire {0} cannot resume a session; turn resumption off, or use the native wire")]
    WireResumption(Wire),
    /// The largest message does not fit the wire.
    #[error(
        "the wire {wire} carries messages of up to {max} bytes, and max_message is {max_message}"
    )]
    WireTooLarge {
        /// The wire.
        wire: Wire,
        /// The largest message in bytes.
        max_message: usize,
        /// What the wire can carry.
        max: usize,
    },
    /// The connection would end before the PING that could save it.
    #[error("keepalive pings after {ping:?}, which is not before the end after {end:?}")]
    Keepalive {
        /// When the PING goes out.
        ping: Duration,
        /// When the connection ends.
        end: Duration,
    },
}
