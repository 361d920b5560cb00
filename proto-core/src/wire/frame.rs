//! Frames (PROTOCOL.md, section 6).

use super::{
    Extension, MAX_EXTENSION, MAX_REASON, MAX_TOPIC,
    varint::{self, Reader},
};
use crate::{
    error::Violation,
    message::{AckLevel, Kind},
};
use bytes::{BufMut, BytesMut};

/// The fields before the payload in a DATA frame with FIRST are at most this
/// long, in bytes, with every varint in its longest form.
pub const MAX_DATA_HEAD: usize = 8 + 1 + 8 + 8 + 8 + MAX_TOPIC + 8 + MAX_EXTENSION;

const FIRST: u8 = 0x10;
const FIN: u8 = 0x20;
/// DATA that is a message, in one piece.
const MESSAGE: u8 = 2 | FIRST | FIN;
const CORRELATION: u8 = 0x20;
const TOPIC: u8 = 0x40;
const EXTENSION: u8 = 0x80;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are PROTOCOL.md's")]
#[non_exhaustive]
pub enum FrameType {
    Pad,
    Hello,
    Data { first: bool, fin: bool },
    Ack,
    Result,
    Credit,
    Ping,
    Pong,
    Cancel,
    Close,
    Finish,
}

impl FrameType {
    #[inline]
    fn to_byte(self) -> u8 {
        match self {
            FrameType::Pad => 0,
            FrameType::Hello => 1,
            FrameType::Data { first, fin } => {
                2 | if first { FIRST } else { 0 } | if fin { FIN } else { 0 }
            }
            FrameType::Ack => 3,
            FrameType::Result => 4,
            FrameType::Credit => 5,
            FrameType::Ping => 6,
            FrameType::Pong => 7,
            FrameType::Cancel => 8,
            FrameType::Close => 9,
            FrameType::Finish => 10,
        }
    }

    #[inline]
    fn from_byte(byte: u8) -> Option<FrameType> {
        Some(match byte {
            0 => FrameType::Pad,
            1 => FrameType::Hello,
            _ if byte & !(FIRST | FIN) == 2 => FrameType::Data {
                first: byte & FIRST != 0,
                fin: byte & FIN != 0,
            },
            3 => FrameType::Ack,
            4 => FrameType::Result,
            5 => FrameType::Credit,
            6 => FrameType::Ping,
            7 => FrameType::Pong,
            8 => FrameType::Cancel,
            9 => FrameType::Close,
            10 => FrameType::Finish,
            _ => return None,
        })
    }
}

/// The first bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub frame_type: FrameType,
    /// Length of the header itself, in bytes.
    pub header_len: usize,
    /// Length of the body, in bytes.
    pub body_len: usize,
}

impl FrameHeader {
    /// Reads a header from the front of `bytes`; `Ok(None)` if more are needed.
    ///
    /// # Errors
    /// A [`Violation`] for a type or flag that is not known, and for a frame
    /// (header and body) above `max_frame` bytes.
    #[inline(always)]
    pub fn decode(bytes: &[u8], max_frame: usize) -> Result<Option<FrameHeader>, Violation> {
        let mut reader = Reader::new(bytes);
        let Some(byte) = reader.u8() else {
            return Ok(None);
        };
        let frame_type = FrameType::from_byte(byte).ok_or(Violation::UnknownFrame { byte })?;
        let Some(length) = reader.varint() else {
            return Ok(None);
        };
        let header_len = bytes.len().saturating_sub(reader.rest().len());
        let body_len = usize::try_from(length).unwrap_or(usize::MAX);
        if body_len.saturating_add(header_len) > max_frame {
            return Err(Violation::FrameTooLong {
                length,
                max: max_frame,
            });
        }
        Ok(Some(FrameHeader {
            frame_type,
            header_len,
            body_len,
        }))
    }

    /// Length of the whole frame, in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.header_len.saturating_add(self.body_len)
    }

    /// Whether the frame is a message, in one piece.
    #[inline]
    pub(crate) fn is_message(&self) -> bool {
        let (first, fin) = (true, true);
        self.frame_type == FrameType::Data { first, fin }
    }

    /// Reads the header of a [message](Self::is_message) that is short and written as
    /// such: of many of these, each costs next to nothing. `None` for any other.
    #[inline(always)]
    pub(crate) fn decode_short(bytes: &[u8]) -> Option<FrameHeader> {
        let (header_len, body_len) = match *bytes {
            [MESSAGE, length @ ..0x40, ..] => (2, usize::from(length)),
            [MESSAGE, high @ 0x40..0x80, low, ..] => {
                (3, usize::from(u16::from_be_bytes([high & 0x3f, low])))
            }
            _ => return None,
        };
        let (first, fin) = (true, true);
        Some(FrameHeader {
            frame_type: FrameType::Data { first, fin },
            header_len,
            body_len,
        })
    }

    /// Appends a header.
    #[inline]
    pub fn encode(frame_type: FrameType, body_len: usize, out: &mut impl BufMut) {
        out.put_u8(frame_type.to_byte());
        varint::encode(body_len as u64, out);
    }
}

/// A frame other than DATA, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are PROTOCOL.md's")]
#[non_exhaustive]
pub enum Frame<'a> {
    Pad,
    Hello(&'a [u8]),
    Ack {
        next: u64,
        settled: u64,
    },
    Result {
        seq: u64,
        code: u64,
        reason: &'a str,
    },
    Credit {
        bytes: u64,
        messages: u64,
    },
    Ping([u8; 8]),
    Pong([u8; 8]),
    Cancel {
        seq: u64,
    },
    Close {
        code: u64,
        delivered: u64,
        reason: &'a str,
    },
    Finish {
        end: u64,
    },
}

impl<'a> Frame<'a> {
    /// Reads the body of a frame of `frame_type`; DATA has [`DataHead`].
    ///
    /// # Errors
    /// A [`Violation`] if the body is too short, too long, or not what its type
    /// says.
    #[inline]
    pub fn decode(frame_type: FrameType, body: &'a [u8]) -> Result<Frame<'a>, Violation> {
        let mut reader = Reader::new(body);
        let frame = Self::fields(frame_type, &mut reader)
            .ok_or(Violation::FrameMalformed { frame_type })?;
        let takes_rest = match frame {
            Frame::Result { reason, .. } | Frame::Close { reason, .. } => {
                if reason.len() > MAX_REASON {
                    return Err(Violation::FrameMalformed { frame_type });
                }
                true
            }
            Frame::Pad | Frame::Hello(_) => true,
            _ => false,
        };
        if !takes_rest && !reader.is_empty() {
            return Err(Violation::FrameMalformed { frame_type });
        }
        Ok(frame)
    }

    #[inline]
    fn fields(frame_type: FrameType, reader: &mut Reader<'a>) -> Option<Frame<'a>> {
        let text = |reader: &Reader<'a>| core::str::from_utf8(reader.rest()).ok();
        Some(match frame_type {
            FrameType::Pad => Frame::Pad,
            FrameType::Hello => Frame::Hello(reader.rest()),
            FrameType::Ack => Frame::Ack {
                next: reader.varint()?,
                settled: reader.varint()?,
            },
            FrameType::Result => Frame::Result {
                seq: reader.varint()?,
                code: reader.varint()?,
                reason: text(reader)?,
            },
            FrameType::Credit => Frame::Credit {
                bytes: reader.varint()?,
                messages: reader.varint()?,
            },
            FrameType::Ping => Frame::Ping(reader.array()?),
            FrameType::Pong => Frame::Pong(reader.array()?),
            FrameType::Cancel => Frame::Cancel {
                seq: reader.varint()?,
            },
            FrameType::Close => Frame::Close {
                code: reader.varint()?,
                delivered: reader.varint()?,
                reason: text(reader)?,
            },
            FrameType::Finish => Frame::Finish {
                end: reader.varint()?,
            },
            FrameType::Data { .. } => return None,
        })
    }

    /// Appends the frame, header and body.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        let len = varint::encoded_len;
        match *self {
            Frame::Pad => FrameHeader::encode(FrameType::Pad, 0, out),
            Frame::Hello(body) => {
                FrameHeader::encode(FrameType::Hello, body.len(), out);
                out.put_slice(body);
            }
            Frame::Ack { next, settled } => two(FrameType::Ack, next, settled, "", out),
            Frame::Result { seq, code, reason } => two(FrameType::Result, seq, code, reason, out),
            Frame::Credit { bytes, messages } => two(FrameType::Credit, bytes, messages, "", out),
            Frame::Close {
                code,
                delivered,
                reason,
            } => two(FrameType::Close, code, delivered, reason, out),
            Frame::Ping(bytes) => {
                FrameHeader::encode(FrameType::Ping, 8, out);
                out.put_slice(&bytes);
            }
            Frame::Pong(bytes) => {
                FrameHeader::encode(FrameType::Pong, 8, out);
                out.put_slice(&bytes);
            }
            Frame::Cancel { seq } => {
                FrameHeader::encode(FrameType::Cancel, len(seq), out);
                varint::encode(seq, out);
            }
            Frame::Finish { end } => {
                FrameHeader::encode(FrameType::Finish, len(end), out);
                varint::encode(end, out);
            }
        }
    }
}

/// A frame of two numbers and a text.
fn two(frame_type: FrameType, a: u64, b: u64, text: &str, out: &mut impl BufMut) {
    let body = varint::encoded_len(a)
        .saturating_add(varint::encoded_len(b))
        .saturating_add(text.len());
    FrameHeader::encode(frame_type, body, out);
    varint::encode(a, out);
    varint::encode(b, out);
    out.put_slice(text.as_bytes());
}

/// What stands before the payload in the frame of a whole message with nothing beside that,
/// where it is at most 8 bytes: nearly always. Put together in a register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BareHead {
    bytes: u64,
    len: usize,
}

impl BareHead {
    #[inline(always)]
    pub(crate) fn new(
        seq: u64,
        kind: Kind,
        ack: AckLevel,
        extension: Extension,
        payload: usize,
    ) -> Option<BareHead> {
        let (seq, seq_len) = varint::tagged(seq);
        let body = seq_len.saturating_add(1).saturating_add(payload);
        let (body, body_len) = varint::tagged(body as u64);
        if kind != Kind::Message || !extension.is_empty() || seq_len > 4 || body_len > 2 {
            return None;
        }
        let mut bytes = u64::from(MESSAGE).wrapping_shl(bits(body_len)) | body;
        bytes = bytes.wrapping_shl(bits(seq_len)) | seq;
        bytes = bytes << 8 | u64::from(ack.to_bits() << 3);
        let len = body_len.saturating_add(seq_len).saturating_add(2);
        Some(BareHead { bytes, len })
    }

    /// A copy of a fixed length, of which the rest is taken back, is cheaper than one of as
    /// many bytes as there are.
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut BytesMut) {
        let end = out.len().saturating_add(self.len);
        let unused = 8usize.saturating_sub(self.len);
        let bytes = self.bytes.wrapping_shl(bits(unused));
        out.extend_from_slice(&bytes.to_be_bytes());
        out.truncate(end);
    }
}

/// What stands before the payload in the frame of a whole message without a
/// topic, where that is at most 16 bytes: put together in two registers, it costs a
/// third of what [`FrameHeader::encode`] and [`DataHead::encode`] do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShortHead {
    bytes: u128,
    len: usize,
}

impl ShortHead {
    #[inline(always)]
    pub(crate) fn new(
        seq: u64,
        kind: Kind,
        ack: AckLevel,
        correlation: Option<u64>,
        extension: Extension,
        payload: usize,
    ) -> Option<ShortHead> {
        if let Some(BareHead { bytes, len }) = BareHead::new(seq, kind, ack, extension, payload) {
            let bytes = u128::from(bytes);
            return Some(ShortHead { bytes, len });
        }
        let flag =
            flag(correlation.is_some(), CORRELATION) | flag(!extension.is_empty(), EXTENSION);
        let mut head = ShortHead { bytes: 0, len: 0 };
        head.put(varint::tagged(seq));
        head.put((u64::from(kind.to_bits() | ack.to_bits() << 3 | flag), 1));
        if let Some(correlation) = correlation {
            head.put(varint::tagged(correlation));
        }
        if !extension.is_empty() {
            head.put(extension.tagged()?);
        }
        let fields = head;
        let body = fields.len.saturating_add(payload);
        let mut head = ShortHead { bytes: 0, len: 0 };
        head.put((u64::from(MESSAGE), 1));
        head.put(varint::tagged(body as u64));
        head.shift(fields.len);
        head.bytes |= fields.bytes;
        (head.len <= 16).then_some(head)
    }

    #[inline]
    fn put(&mut self, (number, len): (u64, usize)) {
        self.shift(len);
        self.bytes |= u128::from(number);
    }

    #[inline]
    fn shift(&mut self, len: usize) {
        self.bytes = self.bytes.wrapping_shl(bits(len));
        self.len = self.len.saturating_add(len);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// As [`BareHead::append_to`].
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut BytesMut) {
        let end = out.len().saturating_add(self.len);
        let unused = 16usize.saturating_sub(self.len);
        let bytes = self.bytes.wrapping_shl(bits(unused));
        out.extend_from_slice(&bytes.to_be_bytes());
        out.truncate(end);
    }
}

#[inline]
const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
const fn bits(bytes: usize) -> u32 {
    (bytes as u32).wrapping_mul(8)
}

/// The fields before the payload in a DATA frame with FIRST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataHead<'a> {
    /// The message's number.
    pub seq: u64,
    /// What the message is.
    pub kind: Kind,
    /// What its sender wants to be told.
    pub ack: AckLevel,
    /// Length of the whole payload in bytes, where FIN is not set.
    pub total: Option<u64>,
    /// Ties replies to requests.
    pub correlation: Option<u64>,
    /// What an event or a subscription is about.
    pub topic: Option<&'a str>,
    /// What else it carries.
    pub extension: Extension,
}

impl<'a> DataHead<'a> {
    /// Reads the head from the front of a body that has [`MAX_DATA_HEAD`] bytes
    /// or is whole; returns it with its length in bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is malformed.
    #[inline(always)]
    pub fn decode(fin: bool, body: &'a [u8]) -> Result<(DataHead<'a>, usize), Violation> {
        let mut reader = Reader::new(body);
        let head = Self::fields(fin, &mut reader).ok_or(Violation::MessageMalformed)?;
        Ok((head, body.len().saturating_sub(reader.rest().len())))
    }

    /// Reads the head of a whole message that has nothing beside its payload: number, ack
    /// level, and length. `None` for any other.
    #[inline(always)]
    pub(crate) fn decode_bare(body: &[u8]) -> Option<(u64, AckLevel, usize)> {
        let mut reader = Reader::new(body);
        let seq = reader.varint()?;
        let byte = reader.u8()?;
        let ack = AckLevel::from_bits(byte >> 3)?;
        let bare = byte == ack.to_bits() << 3;
        bare.then(|| (seq, ack, body.len().saturating_sub(reader.rest().len())))
    }

    #[inline(always)]
    fn fields(fin: bool, reader: &mut Reader<'a>) -> Option<DataHead<'a>> {
        let seq = reader.varint()?;
        let byte = reader.u8()?;
        let kind = Kind::from_bits(byte & 7)?;
        let ack = AckLevel::from_bits(byte >> 3 & 3)?;
        let head = DataHead {
            seq,
            kind,
            ack,
            total: None,
            correlation: None,
            topic: None,
            extension: Extension::default(),
        };
        // The rule: a message with nothing beside its payload.
        if fin && byte == ack.to_bits() << 3 {
            return Some(head);
        }
        if kind.has_correlation() != (byte & CORRELATION != 0)
            || kind.has_topic() != (byte & TOPIC != 0)
        {
            return None;
        }
        let total = if fin { None } else { Some(reader.varint()?) };
        let correlation = if kind.has_correlation() {
            Some(reader.varint()?)
        } else {
            None
        };
        let topic = if kind.has_topic() {
            let length = reader
                .varint()
                .filter(|n| (1..=MAX_TOPIC as u64).contains(n))?;
            Some(core::str::from_utf8(reader.bytes(length)?).ok()?)
        } else {
            None
        };
        let extension = if byte & EXTENSION != 0 {
            Extension::decode(reader)?
        } else {
            Extension::default()
        };
        Some(DataHead {
            total,
            correlation,
            topic,
            extension,
            ..head
        })
    }

    /// Appends the head, without header and payload.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        varint::encode(self.seq, out);
        let flags = flag(self.correlation.is_some(), CORRELATION)
            | flag(self.topic.is_some(), TOPIC)
            | flag(!self.extension.is_empty(), EXTENSION);
        out.put_u8(self.kind.to_bits() | self.ack.to_bits() << 3 | flags);
        for number in [self.total, self.correlation].into_iter().flatten() {
            varint::encode(number, out);
        }
        if let Some(topic) = self.topic {
            varint::encode(topic.len() as u64, out);
            out.put_slice(topic.as_bytes());
        }
        self.extension.encode(out);
    }

    /// How many bytes [`encode`](Self::encode) writes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let numbers = [self.total, self.correlation]
            .into_iter()
            .flatten()
            .map(varint::encoded_len)
            .sum();
        let topic = self.topic.map_or(0, |topic| {
            varint::encoded_len(topic.len() as u64).saturating_add(topic.len())
        });
        varint::encoded_len(self.seq)
            .saturating_add(1)
            .saturating_add(numbers)
            .saturating_add(topic)
            .saturating_add(self.extension.encoded_len())
    }
}
