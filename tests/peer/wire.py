"""The bytes of PROTOCOL.md: varints, preface, HELLO, frames, DATA. No state, no I/O."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional, Tuple, Union

MAGIC = bytes.fromhex("f5495043")
VERSION = 1
PREFACE_LEN = 16
PLAIN, SEALED = 0, 1
FRAME_LIMIT = {PLAIN: 262_144, SEALED: 65_535}  # header and body (section 6)
RECORD_LIMIT = 65_535                           # n of a record (section 5)
NOISE_MIN, NOISE_MAX = 48, 1_024                # section 4
HELLO_MAX = 512
TOPIC_MAX, EXTENSION_MAX, REASON_MAX = 255, 255, 256
FRAGMENT_MIN = 1_024                            # section 6.2
VARINT_MAX = 2 ** 62 - 1

PAD, HELLO, DATA, ACK, RESULT, CREDIT, PING, PONG, CANCEL, CLOSE, FINISH = range(11)
FRAME_NAMES = ("PAD", "HELLO", "DATA", "ACK", "RESULT", "CREDIT", "PING", "PONG",
               "CANCEL", "CLOSE", "FINISH")
FIRST, FIN = 0x10, 0x20

KINDS = ("message", "request", "reply", "error", "event", "subscribe", "unsubscribe")
WITH_CORRELATION = ("request", "reply", "error", "subscribe", "unsubscribe")
WITH_TOPIC = ("event", "subscribe", "unsubscribe")
ASKING, ANSWERS = ("request", "subscribe", "unsubscribe"), ("reply", "error")  # section 6.8
LEVELS = ("none", "received", "processed")
TIME_LEFT, REDELIVERED, MISSED = 0, 1, 2         # items of the extension (section 6.2)
ITEM_MAX = 2 ** 30 - 1

# Codes of CLOSE (section 7.2).
DONE, GOING_AWAY, VIOLATION, LIMIT, TIME, BAD_RECORD, KEYS_USED_UP, FLOOD, INTERNAL = range(9)
# Status values of the preface (section 2).
(GO_ON, REFUSED, BUSY, BAD_VERSION, BAD_MODE, UNKNOWN_KEY, BAD_HANDSHAKE,
 SHUTTING_DOWN) = range(8)
STATUS_TEXT = ("go on", "refused", "busy", "version not supported", "mode differs",
               "key not known", "handshake could not be read", "shutting down")


class SealpipeError(Exception):
    """What can end a connection before its time."""


class Violation(SealpipeError):
    """The peer broke the protocol; `code` is that of the CLOSE that tells it."""

    def __init__(self, reason: str, code: int = VIOLATION) -> None:
        super().__init__(reason)
        self.code = code


class Deadline(Violation):
    """The peer was too slow (CLOSE 4)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, TIME)


class Refused(SealpipeError):
    """The handshake ended with a status other than 0, or the magic differs (status None)."""

    def __init__(self, reason: str, status: Optional[int], preface: Optional[Preface] = None):
        super().__init__(reason)
        self.status = status
        self.preface = preface


class Truncated(SealpipeError):
    """The stream ended without CLOSE (section 7.2)."""


# --- integers (section 1) ------------------------------------------------------------

def put_varint(value: int) -> bytes:
    """The shortest form of a varint (RFC 9000, section 16)."""
    for prefix, length in enumerate((1, 2, 4, 8)):
        if value < 1 << (8 * length - 2):
            return (value | prefix << (8 * length - 2)).to_bytes(length, "big")
    raise ValueError(f"{value} does not fit a varint")


def get_varint(data: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int]]:
    """(value, position after it), or None if there are not enough bytes."""
    if at >= len(data):
        return None
    end = at + (1 << (data[at] >> 6))
    if end > len(data):
        return None
    bits = 8 * (end - at) - 2
    return int.from_bytes(data[at:end], "big") & ((1 << bits) - 1), end


class Reader:
    """Takes the fields of one body in turn; running short is a violation (section 6)."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what, self.at = data, what, 0

    def take(self, length: int) -> bytes:
        if len(self.data) - self.at < length:
            raise Violation(f"{self.what} is too short")
        self.at += length
        return self.data[self.at - length:self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        got = get_varint(self.data, self.at)
        if got is None:
            raise Violation(f"{self.what} is too short")
        value, self.at = got
        return value

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def reason(self) -> str:
        """The last field of RESULT and CLOSE."""
        raw = self.rest()
        if len(raw) > REASON_MAX:
            raise Violation(f"{self.what}: the reason is too long")
        return utf8(raw, f"{self.what}: the reason")

    def end(self) -> None:
        if self.at != len(self.data):
            raise Violation(f"{self.what} is too long")


def utf8(raw: bytes, what: str) -> str:
    """Decode, or tell the violation."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Violation(f"{what} is not UTF-8") from error


def cut_reason(reason: str) -> bytes:
    """A reason as it is sent: at most 256 bytes, cut between characters."""
    return reason.encode("utf-8")[:REASON_MAX].decode("utf-8", "ignore").encode("utf-8")


# --- preface (section 2) -------------------------------------------------------------

def key_id(key: bytes) -> bytes:
    """Names a key without telling it."""
    return hashlib.blake2s(b"sealpipe-key-id-v1" + key).digest()[:8]


@dataclass(frozen=True)
class Preface:
    """The first 16 bytes in each direction."""
    mode: int = PLAIN
    status: int = GO_ON
    key_id: bytes = bytes(8)
    version: int = VERSION

    def encode(self) -> bytes:
        return MAGIC + bytes([self.version, self.mode, self.status, 0]) + self.key_id

    @staticmethod
    def decode(raw: bytes) -> Preface:
        """Of 16 bytes whose magic was checked already."""
        return Preface(version=raw[4], mode=raw[5], status=raw[6], key_id=bytes(raw[8:16]))


# --- HELLO (section 6.1) -------------------------------------------------------------

def items(body: bytes, what: str) -> Iterator[Tuple[int, bytes]]:
    """The items of a HELLO or of an extension."""
    reader = Reader(body, what)
    while reader.at < len(body):
        number = reader.varint()
        yield number, reader.take(reader.varint())


@dataclass(frozen=True)
class Hello:
    """What a side announces of itself."""
    max_message: int
    credit_bytes: int
    credit_messages: int
    session: bytes
    minor: int = 0
    resume_next: int = 0
    resume_settled: int = 0
    resume: int = 0

    FIELDS = ("minor", "max_message", "credit_bytes", "credit_messages", "session",
              "resume_next", "resume_settled", "resume")  # the index is the item's id
    REQUIRED = 5

    def encode(self) -> bytes:
        """The body, all items by ascending id."""
        out = b""
        for number, name in enumerate(self.FIELDS):
            value = getattr(self, name)
            raw = value if isinstance(value, bytes) else put_varint(value)
            out += put_varint(number) + put_varint(len(raw)) + raw
        return out

    @staticmethod
    def decode(body: bytes) -> Hello:
        """Read and check a body."""
        if len(body) > HELLO_MAX:
            raise Violation("HELLO is too long")
        values: Dict[str, Any] = {}
        for number, raw in items(body, "HELLO"):
            if number >= len(Hello.FIELDS):
                continue
            name = Hello.FIELDS[number]
            if name in values:
                raise Violation(f"HELLO: item {number} comes twice")
            reader = Reader(raw, f"HELLO: item {number}")
            values[name] = reader.take(16) if name == "session" else reader.varint()
            reader.end()
        for number, name in enumerate(Hello.FIELDS[:Hello.REQUIRED]):
            if name not in values:
                raise Violation(f"HELLO: item {number} is missing")
        hello = Hello(**values)
        if hello.resume > 1:
            raise Violation("HELLO: item 7 is neither 0 nor 1")
        if hello.credit_bytes < hello.max_message:
            raise Violation("HELLO: credit below the largest message")
        if hello.credit_messages == 0:
            raise Violation("HELLO: credit of no message")
        return hello


# --- frames (section 6) --------------------------------------------------------------

def frame(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A whole frame."""
    return bytes([kind | flags]) + put_varint(len(body)) + body


def parse_frame(data: Union[bytes, bytearray], at: int, limit: int) -> Optional[Tuple[int, int, bytes, int]]:
    """(type, flags, body, position after it), or None if more bytes are needed."""
    if at >= len(data):
        return None
    kind, flags = data[at] & 0x0F, data[at] & 0xF0
    if kind > FINISH:
        raise Violation(f"frame of unknown type {kind}")
    if flags & ~(FIRST | FIN if kind == DATA else 0):
        raise Violation(f"{FRAME_NAMES[kind]} with undefined flags")
    got = get_varint(data, at + 1)
    if got is None:
        return None
    length, start = got
    if start - at + length > limit:
        raise Violation("frame is too long")
    if start + length > len(data):
        return None
    return kind, flags, bytes(data[start:start + length]), start + length


def extension(time_left: Optional[int] = None, missed: int = 0) -> Optional[bytes]:
    """The extension with these items (section 6.2); None if there are none."""
    values = ((TIME_LEFT, None if time_left is None else max(time_left, 1)),
              (MISSED, missed or None))
    raw = [(number, put_varint(min(value, ITEM_MAX))) for number, value in values
           if value is not None]
    return b"".join(put_varint(number) + put_varint(len(value)) + value
                    for number, value in raw) or None


def known_items(extension: Optional[bytes]) -> Dict[int, int]:
    """What is understood of an extension."""
    known: Dict[int, int] = {}
    for number, raw in items(extension or b"", "DATA: the extension"):
        if number not in (TIME_LEFT, REDELIVERED, MISSED):
            continue
        if number in known:
            raise Violation(f"DATA: item {number} of the extension comes twice")
        reader = Reader(raw, f"DATA: item {number} of the extension")
        known[number] = 1 if number == REDELIVERED else min(reader.varint(), ITEM_MAX)
        reader.end()
    return known


@dataclass
class Message:
    """A message, or what its first frame says of it (section 6.2)."""
    payload: bytes = b""
    kind: str = "message"
    level: str = "none"
    correlation: Optional[int] = None
    topic: Optional[str] = None
    extension: Optional[bytes] = None
    seq: int = -1

    @property
    def size(self) -> int:
        """What credit and the largest message count."""
        return len(self.payload) + len((self.topic or "").encode("utf-8"))

    @property
    def time_left(self) -> Optional[int]:
        """Milliseconds that a request had left when it was written, if it says so."""
        left = known_items(self.extension).get(TIME_LEFT) if self.kind == "request" else None
        return None if left is None else max(left, 1)

    @property
    def missed(self) -> int:
        """Events that were dropped before this one."""
        return known_items(self.extension).get(MISSED, 0) if self.kind == "event" else 0

    def encode_head(self, seq: int, total: Optional[int]) -> bytes:
        """What stands before the payload in a frame with FIRST."""
        if ((self.correlation is not None) != (self.kind in WITH_CORRELATION)
                or (self.topic is not None) != (self.kind in WITH_TOPIC)):
            raise ValueError(f"correlation or topic does not fit the kind {self.kind}")
        head = KINDS.index(self.kind) | LEVELS.index(self.level) << 3
        fields = b"" if total is None else put_varint(total)
        if self.correlation is not None:
            head |= 0x20
            fields += put_varint(self.correlation)
        if self.topic is not None:
            head |= 0x40
            raw = self.topic.encode("utf-8")
            if not 1 <= len(raw) <= TOPIC_MAX:
                raise ValueError("a topic has 1 to 255 bytes")
            fields += put_varint(len(raw)) + raw
        if self.extension is not None:
            head |= 0x80
            fields += put_varint(len(self.extension)) + self.extension
        return put_varint(seq) + bytes([head]) + fields

    @staticmethod
    def decode_first(body: bytes, fin: bool) -> Tuple[Message, int]:
        """The message with its first payload, and the payload's whole length."""
        reader = Reader(body, "DATA")
        message = Message(seq=reader.varint())
        head = reader.u8()
        if head & 7 >= len(KINDS) or head >> 3 & 3 >= len(LEVELS):
            raise Violation("DATA: undefined kind or ack level")
        message.kind, message.level = KINDS[head & 7], LEVELS[head >> 3 & 3]
        if (bool(head & 0x20) != (message.kind in WITH_CORRELATION)
                or bool(head & 0x40) != (message.kind in WITH_TOPIC)):
            raise Violation(f"DATA: correlation or topic does not fit the kind {message.kind}")
        total = None if fin else reader.varint()
        if head & 0x20:
            message.correlation = reader.varint()
        if head & 0x40:
            length = reader.varint()
            if not 1 <= length <= TOPIC_MAX:
                raise Violation("DATA: the topic is empty or too long")
            message.topic = utf8(reader.take(length), "DATA: the topic")
        if head & 0x80:
            length = reader.varint()
            if length > EXTENSION_MAX:
                raise Violation("DATA: the extension is too long")
            message.extension = reader.take(length)
            known_items(message.extension)  # complains
        message.payload = reader.rest()
        return message, len(message.payload) if total is None else total
