//! The first 16 bytes in each direction (PROTOCOL.md, section 2).

use super::{VERSION, varint::Reader};
use crate::key::KeyId;
use core::fmt;

/// Whether the bytes after the preface are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Frames in clear.
    Plain,
    /// Noise handshake, then records.
    Sealed,
    /// A mode of a later version.
    Other(u8),
}

impl Mode {
    const fn to_byte(self) -> u8 {
        match self {
            Mode::Plain => 0,
            Mode::Sealed => 1,
            Mode::Other(byte) => byte,
        }
    }

    const fn from_byte(byte: u8) -> Mode {
        match byte {
            0 => Mode::Plain,
            1 => Mode::Sealed,
            other => Mode::Other(other),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Plain => f.write_str("plain"),
            Mode::Sealed => f.write_str("sealed"),
            Mode::Other(byte) => write!(f, "unknown mode {byte}"),
        }
    }
}

/// Why a responder refuses, told in its preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Not refused.
    Accepted,
    /// This user may not connect.
    Refused,
    /// Too many connections are being set up.
    Busy,
    /// The version is not supported.
    Version,
    /// The mode differs.
    Mode,
    /// No key with this id.
    Key,
    /// The handshake message could not be opened or read.
    Handshake,
    /// Shutting down.
    ShuttingDown,
}

impl Status {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Status::Accepted => 0,
            Status::Refused => 1,
            Status::Busy => 2,
            Status::Version => 3,
            Status::Mode => 4,
            Status::Key => 5,
            Status::Handshake => 6,
            Status::ShuttingDown => 7,
        }
    }

    const fn from_byte(byte: u8) -> Status {
        match byte {
            0 => Status::Accepted,
            2 => Status::Busy,
            3 => Status::Version,
            4 => Status::Mode,
            5 => Status::Key,
            6 => Status::Handshake,
            7 => Status::ShuttingDown,
            _ => Status::Refused,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Accepted => "accepted",
            Status::Refused => "this user may not connect",
            Status::Busy => "too many connections are being set up there, try again later",
            Status::Version => "it does not speak this version of the protocol",
            Status::Mode => "its mode differs",
            Status::Key => "it does not hold this key",
            Status::Handshake => "it could not open or read the handshake",
            Status::ShuttingDown => "it is shutting down",
        })
    }
}

/// The first 16 bytes in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Preface {
    /// The protocol's version, [`VERSION`] here.
    pub version: u8,
    /// Plain or sealed.
    pub mode: Mode,
    /// Why a responder refuses.
    pub status: Status,
    /// Which key is meant; zero in plain mode.
    pub key: KeyId,
}

impl Preface {
    /// How long a preface is, in bytes.
    pub const LEN: usize = 16;
    /// The first four bytes.
    pub const MAGIC: [u8; 4] = [0xf5, 0x49, 0x50, 0x43];

    pub(crate) const fn new(mode: Mode, key: KeyId) -> Preface {
        Preface {
            version: VERSION,
            mode,
            status: Status::Accepted,
            key,
        }
    }

    /// The 16 bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let [a, b, c, d] = Self::MAGIC;
        let [k0, k1, k2, k3, k4, k5, k6, k7] = self.key.0;
        let (mode, status) = (self.mode.to_byte(), self.status.to_byte());
        [
            a,
            b,
            c,
            d,
            self.version,
            mode,
            status,
            0,
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
        ]
    }

    /// Reads a preface from the front of `bytes`; `Ok(None)` if more are needed.
    ///
    /// # Errors
    /// The bytes that came, at most eight, if they do not begin with the magic;
    /// told at the first byte that differs.
    pub fn decode(bytes: &[u8]) -> Result<Option<Preface>, [u8; 8]> {
        if bytes
            .iter()
            .zip(Self::MAGIC)
            .any(|(found, wanted)| *found != wanted)
        {
            let mut found = [0; 8];
            for (to, from) in found.iter_mut().zip(bytes) {
                *to = *from;
            }
            return Err(found);
        }
        Ok(Self::fields(&mut Reader::new(bytes)))
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Preface> {
        let _magic: [u8; 4] = reader.array()?;
        let [version, mode, status, _reserved] = reader.array()?;
        Some(Preface {
            version,
            mode: Mode::from_byte(mode),
            status: Status::from_byte(status),
            key: KeyId(reader.array()?),
        })
    }
}
