"""`Peer`: the protocol of PROTOCOL.md without I/O. Sections cited are that page's."""
from __future__ import annotations

import math
import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Callable, Deque, Dict, List, Optional, Sequence, Set, Union

import noise
import wire
from wire import (Deadline, Hello, Message, Preface, Reader, Refused, SealpipeError, Truncated,
                  Violation, frame, put_varint)


@dataclass
class Config:
    """What this side announces (6.1), and its deadlines in seconds (section 9)."""
    max_message: int = 16 << 20
    credit_bytes: int = 32 << 20
    credit_messages: int = 1024
    handshake_timeout: float = 5.0
    unit_timeout: float = 30.0
    message_timeout: float = 60.0
    ping_after: float = 30.0
    silence_timeout: float = 90.0
    close_timeout: float = 5.0


@dataclass
class Outgoing:
    """A message of this side. `outcome` is None while there is none, then one of sent,
    received, accepted, rejected, withdrawn, undelivered (may be sent again), unknown."""
    message: Message
    deadline: Optional[float] = None  # of a request, on the peer's clock
    offset: int = 0
    begun: bool = False
    whole: bool = False
    outcome: Optional[str] = None
    code: int = 0
    reason: str = ""


@dataclass
class Cancelled:
    """Event: nobody waits for the result of this message any more (6.7)."""
    seq: int


@dataclass
class PeerFinished:
    """Event: the other side sends no more messages (7.1)."""


@dataclass
class Closed:
    """Event, the last one: CLOSE came (7.2). `code` is None if this side's own CLOSE was
    not answered."""
    code: Optional[int]
    delivered: int = 0
    reason: str = ""


Event = Union[Message, Cancelled, PeerFinished, Closed]


@dataclass
class Incoming:
    """A message of the other side that is incomplete."""
    message: Message
    total: int
    size: int
    began: float
    parts: List[bytes] = field(default_factory=list)
    got: int = 0


class Peer:
    """One side of a connection, without I/O: give `feed` what came, write what `output`
    returns until it returns nothing, take `events`. Once `state` is closed and `output`
    empty, close the stream; `error` then tells why, if it was not CLOSE."""

    def __init__(self, initiator: bool, keys: Sequence[bytes] = (),
                 config: Optional[Config] = None,
                 random: Callable[[int], bytes] = os.urandom,
                 ephemeral: Optional[bytes] = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.initiator, self.keys = initiator, list(keys)
        self.config = config or Config()
        self.mode = wire.SEALED if self.keys else wire.PLAIN
        self.state = "preface"  # section 8
        self.events: Deque[Event] = deque()
        self.error: Optional[SealpipeError] = None
        self.remote: Optional[Hello] = None
        self.handshake_hash: Optional[bytes] = None
        self.clock, self._started = clock, clock()
        self._ephemeral = ephemeral
        self._in = bytearray()
        self._raw: List[bytes] = []        # handshake bytes to write
        self._noise: Optional[noise.Handshake] = None
        self._sender: Optional[noise.CipherState] = None
        self._receiver: Optional[noise.CipherState] = None
        self._confirm_due = False
        # What this side sends.
        self._queue: Deque[Outgoing] = deque()
        self._outstanding: Dict[int, Outgoing] = {}  # begun, no outcome; by ascending seq
        self._current: Optional[Outgoing] = None
        self._next_seq = self._bytes_begun = 0
        self._limit_bytes = self._limit_messages = 0  # the other side's credit
        self._acked = self._peer_settled = 0
        self._control: Deque[bytes] = deque()  # PING and CANCEL to be sent
        self._pings: Deque[bytes] = deque()
        self.finishing = self._finish_sent = False
        self._close: Optional[bytes] = None  # body of a CLOSE to be sent
        self._close_sent_at: Optional[float] = None
        # What this side receives.
        self._incoming: Optional[Incoming] = None
        self._begun_in = self._bytes_in = 0  # started by the other side
        self._cancels = 0  # of messages that came whole
        self._given_bytes = self._freed_bytes = self.config.credit_bytes
        self._given_messages = self._freed_messages = self.config.credit_messages
        self._unsettled: Dict[int, int] = {}  # level processed: seq -> size
        self._untaken: Set[int] = set()       # whole, not yet taken by the program
        self._results: Deque[bytes] = deque()
        self._ack_due = self._peer_finished = False
        self._pong_due: Optional[bytes] = None
        self._bucket, self._bucket_at = 1024.0, self._started
        self._heard = self._pinged = self._started
        self._unit_began: Optional[float] = None

        self._hello = Hello(self.config.max_message, self.config.credit_bytes,
                            self.config.credit_messages, random(16) if initiator else bytes(16))
        if initiator:
            self._start()

    # --- what the program calls ------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.state in ("open", "closing")

    def send(self, message: Message, within: Optional[float] = None) -> Outgoing:
        """Queue a message; it is begun when the credit covers the whole of it (6.5). A
        request tells the other side that it is to be answered `within` so many seconds."""
        if self.finishing or self._close is not None or self.state in ("closing", "closed"):
            raise ValueError("nothing can be sent any more")
        if self.remote and message.size > self.remote.max_message:
            raise ValueError("larger than the other side accepts")
        message.encode_head(0, None)  # complains if it cannot be encoded
        outgoing = Outgoing(message, None if within is None else self.clock() + within)
        self._queue.append(outgoing)
        return outgoing

    def cancel(self, outgoing: Outgoing) -> None:
        """Withdraw a message (6.7)."""
        if not outgoing.begun:
            self._queue.remove(outgoing)
            outgoing.outcome = "withdrawn"
        elif outgoing.outcome is None:
            self._control.append(frame(wire.CANCEL, put_varint(outgoing.message.seq)))
            if outgoing is self._current:
                self._current = None
                outgoing.whole = False
                self._settle_own(outgoing, "withdrawn")

    def take(self) -> Event:
        """The next event; a message of level none or received gives its credit back."""
        event = self.events.popleft()
        if isinstance(event, Message):
            self._untaken.discard(event.seq)
            if event.level != "processed":
                self._free(event.size)
        return event

    def settle(self, seq: int, code: int = 0, reason: str = "") -> None:
        """The program's word on a message of level processed (6.4)."""
        self._free(self._unsettled.pop(seq))
        self._results.append(frame(wire.RESULT, put_varint(seq) + put_varint(code)
                                   + wire.cut_reason(reason)))

    def ping(self, body: bytes) -> None:
        """Send a PING with these 8 bytes (6.6)."""
        self._pings.append(body)
        self._control.append(frame(wire.PING, body))

    def finish(self) -> None:
        """No more messages; CLOSE 0 follows by itself when all is settled (7.1)."""
        self.finishing = True

    def close(self, code: int = wire.GOING_AWAY, reason: str = "") -> None:
        """End both directions; messages that were not taken are dropped (7.2)."""
        if self.state != "open" or self._close is not None:
            return
        self._send_close(code, min(self._untaken, default=self._whole_in), reason)
        self.events = deque(e for e in self.events if not isinstance(e, Message))
        self._untaken.clear()

    # --- handshake (sections 2 to 4) --------------------------------------------------

    def _start(self) -> None:
        """The initiator's first write."""
        preface = Preface(self.mode, key_id=self._key_id())
        if self.mode == wire.SEALED:
            self._noise = noise.Handshake(True, self.keys[0], preface.encode(), self._ephemeral)
            message = self._noise.write_message(self._hello.encode())
            self._raw = [preface.encode(), len(message).to_bytes(2, "big"), message]
        else:
            self._raw = [preface.encode(), frame(wire.HELLO, self._hello.encode())]

    def _key_id(self) -> bytes:
        return wire.key_id(self.keys[0]) if self.keys else bytes(8)

    def _refuse(self, status: int, reason: str, theirs: Preface) -> None:
        """The responder's preface with a status, instead of an answer (section 2)."""
        self._raw = [Preface(self.mode, status, self._key_id()).encode()]
        raise Refused(reason, status, theirs)

    def _on_preface(self) -> bool:
        have = bytes(self._in[:4])
        if have != wire.MAGIC[:len(have)]:
            raise Refused("the other side does not speak sealpipe", None)
        if len(self._in) < wire.PREFACE_LEN:
            return False
        self._their_preface = bytes(self._in[:wire.PREFACE_LEN])
        del self._in[:wire.PREFACE_LEN]
        theirs = Preface.decode(self._their_preface)
        if self.initiator:
            if theirs.status != wire.GO_ON:
                known = theirs.status < len(wire.STATUS_TEXT)
                status = theirs.status if known else wire.REFUSED
                raise Refused(wire.STATUS_TEXT[status], status, theirs)
            if (theirs.version, theirs.mode) != (wire.VERSION, self.mode):
                raise Violation("the responder goes on with another version or mode")
            if self.mode == wire.SEALED and theirs.key_id != self._key_id():
                raise Violation("the responder goes on with another key id")
        else:
            if theirs.version != wire.VERSION:
                self._refuse(wire.BAD_VERSION, "version not supported", theirs)
            if theirs.mode != self.mode:
                self._refuse(wire.BAD_MODE, "mode differs", theirs)
            if theirs.status != wire.GO_ON:
                raise Violation("an initiator's preface with a status")
            if self.mode == wire.SEALED:
                named = [key for key in self.keys if wire.key_id(key) == theirs.key_id]
                if not named:
                    self._refuse(wire.UNKNOWN_KEY, "key not known", theirs)
                self.keys = named
                self._noise = noise.Handshake(False, named[0], self._their_preface,
                                              self._ephemeral)
        self.state = "handshake"
        return True

    def _on_handshake(self) -> bool:
        """The other side's HELLO frame (section 3) or Noise message (section 4)."""
        if self._noise is None:
            if self._in and self._in[0] != wire.HELLO:
                raise Violation("the first frame is not HELLO")
            parsed = wire.parse_frame(self._in, 0, wire.HELLO_MAX + 9)
            if parsed is None:
                return False
            body, used = parsed[2], parsed[3]
        else:
            if len(self._in) < 2:
                return False
            length = int.from_bytes(self._in[:2], "big")
            if not wire.NOISE_MIN <= length <= wire.NOISE_MAX:
                raise Violation("a handshake message of impossible length")
            if len(self._in) < 2 + length:
                return False
            used = 2 + length
            try:
                body = self._noise.read_message(bytes(self._in[2:used]))
            except noise.NoiseError as error:
                raise Violation(f"the handshake message: {error}") from error
            if self.initiator:
                if body[:wire.PREFACE_LEN] != self._their_preface:
                    raise Violation("the responder's preface was changed")
                body = body[wire.PREFACE_LEN:]
        del self._in[:used]
        self._accept_hello(Hello.decode(body))
        return True

    def _accept_hello(self, theirs: Hello) -> None:
        if self.initiator:
            if theirs.session != self._hello.session:
                raise Violation("HELLO: the responder's session id differs")
            if theirs.resume:
                raise Violation("HELLO: resumption was not asked for")
        else:
            self._hello = Hello(**{**vars(self._hello), "session": theirs.session})
            preface = Preface(self.mode, key_id=self._key_id()).encode()
            if self._noise:
                message = self._noise.write_message(preface + self._hello.encode())
                self._raw = [preface, len(message).to_bytes(2, "big"), message]
            else:
                self._raw = [preface, frame(wire.HELLO, self._hello.encode())]
        if self._noise:
            self._sender, self._receiver = self._noise.split()
            self.handshake_hash = self._noise.hash
            self._confirm_due = self.initiator
        self.remote = theirs
        self._limit_bytes, self._limit_messages = theirs.credit_bytes, theirs.credit_messages
        confirm = self.mode == wire.SEALED and not self.initiator
        self.state = "confirm" if confirm else "open"

    # --- receiving --------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the stream. What goes wrong is in `error` afterwards."""
        if self.state == "closed" or not data:
            return
        self._in += data
        self._heard = now = self.clock()
        step = {"preface": self._on_preface, "handshake": self._on_handshake}
        unit = self._on_frames if self.mode == wire.PLAIN else self._on_record
        try:
            while self.state != "closed" and step.get(self.state, unit)():
                self._unit_began = None
        except SealpipeError as error:
            self._fail(error)
        if not self._in:
            self._unit_began = None
        elif self._unit_began is None:
            self._unit_began = now

    def eof(self) -> None:
        """The stream ended."""
        if self.state == "closing":  # this side's CLOSE was sent, the answer does not come
            self._end(Closed(None))
        elif self.state != "closed":
            self.error = Truncated("the stream ended without CLOSE")
            self._end(None)

    def _fail(self, error: SealpipeError) -> None:
        """Section 10: say so where that can be done, and accept nothing more."""
        self._in.clear()
        self.error = error
        if isinstance(error, Violation):
            if self.state == "open":
                self._close = self._close_body(error.code, self._whole_in, str(error))
                self._results.clear()
                self._ack_due, self._pong_due = False, None
            elif (self.state in ("preface", "handshake") and not self.initiator
                    and not isinstance(error, Deadline)):
                self._raw = [Preface(self.mode, wire.BAD_HANDSHAKE, self._key_id()).encode()]
        self._end(None)

    def _end(self, event: Optional[Closed], delivered: Optional[int] = None) -> None:
        """Nothing more is accepted; tell what became of this side's messages (7.2)."""
        self.state = "closed"
        for out in list(self._outstanding.values()):
            if delivered is not None and out.message.seq >= delivered:
                out.outcome = "undelivered"
            elif delivered is not None and out.whole and out.message.level == "received":
                out.outcome = "received"
            else:
                out.outcome = "unknown"
        for out in self._queue:
            out.outcome = "undelivered"
        self._outstanding.clear()
        self._queue.clear()
        self._control.clear()
        self._current, self._incoming, self._pong_due = None, None, None
        if event:
            self.events.append(event)

    def _on_record(self) -> bool:
        """Section 5."""
        assert self._receiver
        if len(self._in) < 2:
            return False
        length = int.from_bytes(self._in[:2], "big")
        if length == 0:
            raise Violation("an empty record")
        end = 2 + length + noise.TAGLEN
        if len(self._in) < end:
            return False
        try:
            plaintext = self._receiver.open(bytes(self._in[:2]), bytes(self._in[2:end]))
        except noise.NoiseError as error:
            raise Violation("a record does not open", wire.BAD_RECORD) from error
        del self._in[:end]
        if self.state == "confirm":
            self.state = "open"
        at = 0
        while at < len(plaintext) and self.state != "closed":
            parsed = wire.parse_frame(plaintext, at, wire.FRAME_LIMIT[wire.SEALED])
            if parsed is None:
                raise Violation("a record ends inside a frame")
            kind, flags, body, at = parsed
            self._on_frame(kind, flags, body)
        return True

    def _on_frames(self) -> bool:
        """Plain mode: frames back to back (section 3)."""
        at = 0
        try:
            while self.state != "closed":
                parsed = wire.parse_frame(self._in, at, wire.FRAME_LIMIT[wire.PLAIN])
                if parsed is None:
                    break
                kind, flags, body, at = parsed
                self._on_frame(kind, flags, body)
        finally:
            del self._in[:at]
        return at > 0

    def _on_frame(self, kind: int, flags: int, body: bytes) -> None:
        if kind == wire.HELLO:
            raise Violation("HELLO out of place")
        if self.state == "closing" and kind not in (wire.ACK, wire.RESULT, wire.CLOSE):
            return  # section 7.2
        if kind == wire.DATA:
            self._on_data(flags, body)
            return
        reader = Reader(body, wire.FRAME_NAMES[kind])
        handler = getattr(self, "_on_" + wire.FRAME_NAMES[kind].lower())
        handler(reader)
        reader.end()

    def _on_data(self, flags: int, body: bytes) -> None:
        """Section 6.2."""
        self._bucket = min(1024.0, self._bucket + 1)
        if self._peer_finished:
            raise Violation("DATA after FINISH")
        fin = bool(flags & wire.FIN)
        if flags & wire.FIRST:
            if self._incoming:
                raise Violation("DATA: FIRST while a message is incomplete")
            message, total = Message.decode_first(body, fin)
            payload, message.payload = message.payload, b""
            size = total + message.size
            if message.seq != self._begun_in:
                raise Violation(f"DATA: number {message.seq} where {self._begun_in} is next")
            if size > self.config.max_message:
                raise Violation("a message is larger than the largest", wire.LIMIT)
            if (self._bytes_in + size > self._given_bytes
                    or self._begun_in + 1 > self._given_messages):
                raise Violation("a message was begun without credit", wire.LIMIT)
            self._begun_in += 1
            self._bytes_in += size
            self._incoming = Incoming(message, total, size, self.clock())
        else:
            payload = body
            if self._incoming is None:
                raise Violation("DATA: no FIRST while no message is incomplete")
            if not payload:
                raise Violation("DATA: an empty frame without FIRST")
        incoming = self._incoming
        if not fin and len(payload) < wire.FRAGMENT_MIN:
            raise Violation("DATA: a fragment below 1,024 bytes")
        incoming.got += len(payload)
        if incoming.got > incoming.total or (fin and incoming.got != incoming.total):
            raise Violation("DATA: the payloads do not add up to the total")
        incoming.parts.append(payload)
        if fin:
            self._incoming = None
            message = incoming.message
            message.payload = b"".join(incoming.parts)
            self._untaken.add(message.seq)
            if message.level == "processed":
                self._unsettled[message.seq] = incoming.size
            self._ack_due |= message.level != "none"
            self.events.append(message)

    @property
    def _whole_in(self) -> int:
        """All messages below this number were received whole or withdrawn."""
        return self._begun_in - (self._incoming is not None)

    @property
    def _whole_out(self) -> int:
        """All messages below this number were sent whole or withdrawn."""
        return self._next_seq - (self._current is not None)

    def _free(self, size: int) -> None:
        self._freed_bytes += size
        self._freed_messages += 1

    def _idle(self) -> None:
        """A control frame that carries nothing forward (section 9)."""
        now = self.clock()
        self._bucket = min(1024.0, self._bucket + 100 * (now - self._bucket_at))
        self._bucket_at = now
        if self._bucket < 1:
            raise Violation("too many idle control frames", wire.FLOOD)
        self._bucket -= 1

    def _settle_own(self, out: Outgoing, outcome: str) -> None:
        out.outcome = outcome
        self._outstanding.pop(out.message.seq, None)

    def _on_pad(self, reader: Reader) -> None:
        reader.rest()
        self._idle()

    def _on_ack(self, reader: Reader) -> None:
        """Section 6.3."""
        acked, settled = reader.varint(), reader.varint()
        if acked < self._acked or settled < self._peer_settled:
            raise Violation("ACK: a number fell")
        if acked > self._whole_out or settled > self._whole_in:
            raise Violation("ACK: a number above what was sent")
        if (acked, settled) == (self._acked, self._peer_settled):
            self._idle()
        self._acked, self._peer_settled = acked, settled
        for seq, out in list(self._outstanding.items()):
            if seq >= acked:
                break
            if out.message.level == "received":
                self._settle_own(out, "received")

    def _on_result(self, reader: Reader) -> None:
        """Section 6.4."""
        seq, code, reason = reader.varint(), reader.varint(), reader.reason()
        out = self._outstanding.get(seq)
        if out is None or not out.whole or out.message.level != "processed":
            raise Violation("RESULT for a message that waits for none")
        out.code, out.reason = code, reason if code else ""
        self._settle_own(out, "rejected" if code else "accepted")

    def _on_credit(self, reader: Reader) -> None:
        """Section 6.5."""
        limits = reader.varint(), reader.varint()
        old = self._limit_bytes, self._limit_messages
        if limits[0] < old[0] or limits[1] < old[1]:
            raise Violation("CREDIT: a limit fell")
        if limits == old:
            self._idle()
        self._limit_bytes, self._limit_messages = limits

    def _on_ping(self, reader: Reader) -> None:
        """Section 6.6; only the newest is answered."""
        self._pong_due = reader.take(8)
        self._idle()

    def _on_pong(self, reader: Reader) -> None:
        body = reader.take(8)
        if body not in self._pings:
            raise Violation("PONG that answers nothing")
        while self._pings.popleft() != body:
            pass

    def _on_cancel(self, reader: Reader) -> None:
        """Section 6.7."""
        seq = reader.varint()
        if seq >= self._begun_in:
            raise Violation("CANCEL for a message that was not begun")
        if self._incoming and self._incoming.message.seq == seq:
            self._free(self._incoming.size)
            self._incoming = None
            return
        self._cancels += 1
        if self._cancels > self._begun_in - bool(self._incoming) + 1024:
            raise Violation("too many CANCELs", wire.FLOOD)
        if seq in self._unsettled:
            self.events.append(Cancelled(seq))

    def _on_finish(self, reader: Reader) -> None:
        """Section 7.1."""
        end = reader.varint()
        if self._peer_finished:
            raise Violation("a second FINISH")
        if self._incoming or end != self._begun_in:
            raise Violation("FINISH with a number that is not the next one")
        self._peer_finished = self._ack_due = True
        self.events.append(PeerFinished())

    def _on_close(self, reader: Reader) -> None:
        """Section 7.2; what follows is ignored."""
        code, delivered, reason = reader.varint(), reader.varint(), reader.reason()
        self._in.clear()
        if self._close is None and self.state == "open":
            done = code == wire.DONE and self._finish_sent and self._peer_finished
            self._close = self._close_body(wire.DONE if done else wire.GOING_AWAY,
                                           self._whole_in, "")
        self._end(Closed(code, delivered, reason), delivered)

    # --- sending ------------------------------------------------------------------------

    def output(self) -> bytes:
        """What is to be written next: one write, with at most one record in it. Call until
        it returns nothing."""
        out = b"".join(self._raw)
        self._raw = []
        if self.state == "open" or (self.state == "closed" and self._close):
            plaintext = self._frames()
            if self._confirm_due and self.state == "open" and not plaintext:
                plaintext = frame(wire.PAD)  # section 4
            if plaintext:
                self._confirm_due = False
                out += self.seal(plaintext)
        return out

    def seal(self, plaintext: bytes) -> bytes:
        """Frames as they travel: one record, or in plain mode themselves."""
        if self._sender is None:
            return plaintext
        length = len(plaintext).to_bytes(2, "big")
        return length + self._sender.seal(length, plaintext)

    def _frames(self) -> bytes:
        """What is ready and fits one record; a large message a part at a time, so that
        control frames never wait for more than one of its fragments."""
        if self._sender and self._sender.counter >= 2 ** 48 - 2:
            self._send_close(wire.KEYS_USED_UP, self._whole_in, "")
        out = bytearray()
        limit = wire.FRAME_LIMIT[self.mode]
        spare = 512  # for each of: ACK, CREDIT and PONG; FINISH and CLOSE

        def drain(queue: Deque[bytes]) -> None:
            while queue and limit - len(out) > 2 * spare:
                out.extend(queue.popleft())

        drain(self._results)
        out += self._acknowledgements()
        if self._pong_due is not None:
            out += frame(wire.PONG, self._pong_due)
            self._pong_due = None
        drain(self._control)
        if self._results or self._control:
            return bytes(out)
        data = b"-"
        while self._close is None and data:
            data = self._data_frame(limit - len(out))
            out += data
        if limit - len(out) < spare:
            return bytes(out)
        if (self.finishing and not self._finish_sent and not self._queue
                and not self._current and self._close is None):
            self._finish_sent = True
            out += frame(wire.FINISH, put_varint(self._next_seq))
        if (self._finish_sent and self._peer_finished and not self._outstanding
                and not self._untaken and not self._unsettled):
            self._send_close(wire.DONE, self._whole_in, "")  # section 7.1
        if self._close:
            out += frame(wire.CLOSE, self._close)
            self._close = b""  # once
            if self.state == "open":
                self.state, self._close_sent_at = "closing", self.clock()
        return bytes(out)

    def _acknowledgements(self) -> bytes:
        """ACK (6.3) and CREDIT (6.5)."""
        out = b""
        if self._ack_due:
            settled = min(min(self._outstanding, default=self._next_seq), self._acked)
            out += frame(wire.ACK, put_varint(self._whole_in) + put_varint(settled))
            self._ack_due = False
        left_bytes = self._given_bytes - self._bytes_in
        left_messages = self._given_messages - self._begun_in
        low = (left_bytes < self.config.max_message or 2 * left_bytes < self.config.credit_bytes
               or 2 * left_messages < self.config.credit_messages)
        new = self._freed_bytes, self._freed_messages
        if (low and new != (self._given_bytes, self._given_messages)
                and self.state == "open" and self._close is None):
            self._given_bytes, self._given_messages = new
            out += frame(wire.CREDIT, put_varint(new[0]) + put_varint(new[1]))
        return out

    def _data_frame(self, room: int) -> bytes:
        """The next DATA frame that fits into `room` bytes, if there is one (6.2)."""
        assert self.remote
        out, head = self._current, b""
        if out is None:
            if not self._queue:
                return b""
            out = self._queue[0]
            if out.message.size > self.remote.max_message:
                raise ValueError("larger than the other side accepts")
            if (self._bytes_begun + out.message.size > self._limit_bytes
                    or self._next_seq + 1 > self._limit_messages):
                return b""
        rest = len(out.message.payload) - out.offset
        if not out.begun and out.deadline is not None:
            left = math.ceil((out.deadline - self.clock()) * 1000)
            out.message.extension = wire.extension(time_left=left)
        if not out.begun:
            head = out.message.encode_head(self._next_seq, None)
        whole = 5 + len(head) + rest <= room
        if not whole:
            if not out.begun:
                head = out.message.encode_head(self._next_seq, rest)
            space = min(room - 5 - len(head), rest - 1)  # the last fragment is not empty
            if space < wire.FRAGMENT_MIN:
                return b""
            rest = space
        flags = (0 if out.begun else wire.FIRST) | (wire.FIN if whole else 0)
        payload = out.message.payload[out.offset:out.offset + rest]
        if not out.begun:
            self._queue.popleft()
            out.begun, out.message.seq = True, self._next_seq
            self._outstanding[self._next_seq] = out
            self._next_seq += 1
            self._bytes_begun += out.message.size
        out.offset += rest
        out.whole = whole
        self._current = None if whole else out
        if whole and out.message.level == "none":
            self._settle_own(out, "sent")
        return frame(wire.DATA, head + payload, flags)

    def _close_body(self, code: int, delivered: int, reason: str) -> bytes:
        return put_varint(code) + put_varint(delivered) + wire.cut_reason(reason)

    def _send_close(self, code: int, delivered: int, reason: str) -> None:
        if self._close is None and self.state == "open":
            self._close = self._close_body(code, delivered, reason)

    # --- time (section 9) ---------------------------------------------------------------

    def tick(self) -> float:
        """Act on deadlines that passed; the seconds to the next one."""
        if self.state == "closed":
            return 0.0
        config, now = self.config, self.clock()
        if self._close_sent_at is not None:
            left = self._close_sent_at + config.close_timeout - now
            if left <= 0:
                self._end(Closed(None))
            return max(left, 0.0)
        deadlines = []
        if self.state != "open":
            deadlines.append((self._started + config.handshake_timeout, "the handshake"))
        else:
            deadlines.append((self._heard + config.silence_timeout, "any sign of life"))
        if self._unit_began is not None:
            deadlines.append((self._unit_began + config.unit_timeout, "a record or frame"))
        if self._incoming:
            deadlines.append((self._incoming.began + config.message_timeout, "a message"))
        when, what = min(deadlines)
        if when <= now:
            self._fail(Deadline(f"waited too long for {what}"))
            return 0.0
        if self.state == "open":
            ping_at = max(self._heard, self._pinged) + config.ping_after
            if ping_at <= now:
                self._pinged = now
                self.ping(os.urandom(8))
                ping_at = now + config.ping_after
            when = min(when, ping_at)
        return when - now
