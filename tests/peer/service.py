"""Requests and subscriptions (sections 6.8 and 6.9 of PROTOCOL.md) over a `core.Peer`, for
both sides: `Service` asks and answers. No I/O."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Set

import wire
from core import Event, Outgoing, Peer
from wire import Message, Reader, Violation, put_varint

(UNSPECIFIED, NO_HANDLER, FAILED, LATE, TOO_MUCH, MALFORMED, STOPPING,
 NO_TOPIC) = range(1, 9)
ERROR_TEXT_MAX = 1_024
SEGMENTS_MAX = 32


@dataclass(frozen=True)
class ErrorReply:
    """What the payload of an error says."""
    code: int
    message: str = ""
    details: bytes = b""

    def encode(self) -> bytes:
        text = self.message.encode("utf-8")[:ERROR_TEXT_MAX].decode("utf-8", "ignore").encode()
        return put_varint(self.code) + put_varint(len(text)) + text + self.details

    @staticmethod
    def decode(payload: bytes) -> ErrorReply:
        """Never fails: what cannot be read is all details."""
        reader = Reader(payload, "an error reply")
        try:
            code, text = reader.varint(), reader.take(reader.varint())
            if code and len(text) <= ERROR_TEXT_MAX:
                return ErrorReply(code, wire.utf8(text, "an error's message"), reader.rest())
        except Violation:
            pass
        return ErrorReply(UNSPECIFIED, "", payload)


# --- topics and patterns (section 6.9) ------------------------------------------------

def is_topic(topic: str) -> bool:
    """Whether an event can be about it."""
    return is_pattern(topic) and "*" not in topic


def is_pattern(pattern: str) -> bool:
    """Whether it can be subscribed to."""
    return (1 <= len(pattern.encode("utf-8")) <= wire.TOPIC_MAX
            and all(segment and (segment in ("*", "**") or "*" not in segment)
                    for segment in pattern.split("/"))
            and len(pattern.split("/")) <= SEGMENTS_MAX)


def matches(pattern: str, topic: str) -> bool:
    """Whether a pattern that is one chooses a topic."""
    if not is_topic(topic):
        return False
    segments = topic.split("/")
    # Whether the pattern so far matches the first n segments, for each n.
    reached = [True] + [False] * len(segments)
    for wanted in pattern.split("/"):
        if wanted == "**":
            reached = [any(reached[:n + 1]) for n in range(len(reached))]
        else:
            reached = [False] + [before and wanted in ("*", segment)
                                 for before, segment in zip(reached, segments)]
    return reached[-1]


# --- both sides -------------------------------------------------------------------------

@dataclass
class Asked:
    """Something that this side asked. `answer` is there once it has come."""
    outgoing: Outgoing
    answer: Optional[Message] = None

    @property
    def correlation(self) -> int:
        assert self.outgoing.message.correlation is not None
        return self.outgoing.message.correlation

    @property
    def error(self) -> Optional[ErrorReply]:
        """The error that was answered."""
        if self.answer is None or self.answer.kind != "error":
            return None
        return ErrorReply.decode(self.answer.payload)

    @property
    def failed(self) -> bool:
        """No answer counts any more: it was rejected, or the connection has ended."""
        return self.answer is None and self.outgoing.outcome not in (None, "accepted")

    @property
    def done(self) -> bool:
        return self.answer is not None or self.failed


class Service:
    """Asks and answers. Hand it each event of the peer: `consume`."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.patterns: Set[str] = set()  # that the other side has subscribed to
        self.ignored = 0                 # answers for which nobody waited
        self._asked: Dict[int, Asked] = {}
        self._next_id = 1

    # --- asking

    def request(self, payload: bytes, within: Optional[float] = None) -> Asked:
        """Ask for a reply `within` so many seconds."""
        return self._ask(Message(payload, "request"), within)

    def subscribe(self, pattern: str) -> Asked:
        return self._ask(Message(kind="subscribe", topic=pattern))

    def unsubscribe(self, pattern: str) -> Asked:
        return self._ask(Message(kind="unsubscribe", topic=pattern))

    def leave(self, pattern: str) -> None:
        """Unsubscribe without waiting for the answer."""
        self.peer.send(Message(kind="unsubscribe", topic=pattern, correlation=0))

    def _ask(self, message: Message, within: Optional[float] = None) -> Asked:
        message.correlation, message.level = self._next_id, "processed"
        asked = Asked(self.peer.send(message, within))
        self._asked[self._next_id] = asked
        self._next_id += 1
        return asked

    def give_up(self, asked: Asked) -> None:
        """Nobody waits for the answer any more."""
        if self._asked.pop(asked.correlation, None) and not asked.done:
            self.peer.cancel(asked.outgoing)

    def consume(self, event: Event) -> bool:
        """Keeps an answer for who asked; false for any other event."""
        if not isinstance(event, Message) or event.kind not in wire.ANSWERS:
            return False
        if event.level == "processed":
            self.peer.settle(event.seq)
        asked = self._asked.pop(event.correlation or 0, None)
        if asked is None or asked.failed:
            self.ignored += 1
        else:
            asked.answer = event
        return True

    # --- answering

    def reply(self, request: Message, payload: bytes = b"") -> None:
        """Answer with a reply. The RESULT goes out before it, or with it."""
        self._answer(request, Message(payload, "reply"))

    def fail(self, request: Message, error: ErrorReply) -> None:
        """Answer with an error."""
        self._answer(request, Message(error.encode(), "error"))

    def _answer(self, request: Message, answer: Message) -> None:
        answer.correlation = request.correlation
        self.peer.send(answer)
        if request.level == "processed":
            self.peer.settle(request.seq)

    def on_subscription(self, message: Message) -> None:
        """Take in a subscribe or an unsubscribe, and answer it."""
        pattern = message.topic or ""
        if not is_pattern(pattern):
            self.fail(message, ErrorReply(NO_TOPIC, "this is no pattern"))
            return
        if message.kind == "subscribe":
            self.patterns.add(pattern)
        else:
            self.patterns.discard(pattern)
        self.reply(message)

    def publish(self, topic: str, payload: bytes, missed: int = 0) -> bool:
        """Send an event, once, if the other side has asked for it."""
        wanted = any(matches(pattern, topic) for pattern in self.patterns)
        if wanted:
            self.peer.send(Message(payload, "event", topic=topic,
                                   extension=wire.extension(missed=missed)))
        return wanted
