"""Tests of requests and subscriptions, as test_sealpipe_peer.py is of what is below them."""
from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import List, Tuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import sealpipe_peer as cli  # noqa: E402
import service  # noqa: E402
import wire  # noqa: E402
from core import Cancelled, Config, Event, Peer  # noqa: E402
from service import ErrorReply, Service, matches  # noqa: E402
from wire import Message, Violation  # noqa: E402

PROTOCOL = (HERE / "../../PROTOCOL.md").read_text(encoding="utf-8")


def pair() -> Tuple[Service, Service]:
    """Two open sides, for which no time passes."""
    config = Config(max_message=4096, credit_bytes=8192, credit_messages=16)
    here, there = (Peer(side, [], config, clock=lambda: 0.0) for side in (True, False))
    services = Service(here), Service(there)
    shuttle(*services)
    return services


def shuttle(*services: Service) -> List[Event]:
    """Carry bytes until both are silent; what is not an answer."""
    rest: List[Event] = []
    moved = True
    while moved:
        moved = False
        for here, there in (services, services[::-1]):
            data = here.peer.output()
            there.peer.feed(data)
            moved |= bool(data)
            while there.peer.events:
                event = there.peer.take()
                if not there.consume(event):
                    rest.append(event)
    assert all(side.peer.error is None for side in services)
    return rest


class Bytes(unittest.TestCase):
    def test_extension(self) -> None:
        for left, missed, text in ((None, 0, ""), (5000, 0, "00025388"), (0, 0, "000101"),
                                   (None, 2, "020102"), (1, 64, "00010102024040"),
                                   (1 << 40, 1 << 40, "0004bfffffff0204bfffffff")):
            raw = wire.extension(left, missed)
            self.assertEqual((raw or b"").hex(), text)
            request = Message(kind="request", extension=raw)
            event = Message(kind="event", extension=raw)
            self.assertEqual(request.time_left,
                             None if left is None else min(max(left, 1), wire.ITEM_MAX))
            self.assertEqual(event.missed, min(missed, wire.ITEM_MAX))
            self.assertEqual((request.missed, event.time_left), (0, None))
        longer = bytes.fromhex("070199" "0208c000000000000003")  # unknown; not the shortest
        self.assertEqual(wire.known_items(longer), {wire.MISSED: 3})
        too_large = bytes.fromhex("0208ffffffffffffffff")
        self.assertEqual(Message(kind="event", extension=too_large).missed, wire.ITEM_MAX)
        for text in ("000101000101", "020100020100", "0000", "00020101", "000140", "02"):
            raw = Message(extension=bytes.fromhex(text)).encode_head(0, None)
            with self.subTest(text=text), self.assertRaises(Violation):
                Message.decode_first(raw, True)

    def test_error_replies(self) -> None:
        busy = ErrorReply(service.TOO_MUCH, "busy", b"\xff")
        self.assertEqual(busy.encode().hex(), "050462757379ff")
        self.assertEqual(ErrorReply.decode(busy.encode()), busy)
        long = ErrorReply.decode(ErrorReply(1, "ü" * 1000).encode())
        self.assertEqual(long.message, "ü" * 512)
        for text in ("", "05", "0000", "0502ff", "0501ff", "054401" + "61" * 1025):
            raw = bytes.fromhex(text)
            self.assertEqual(ErrorReply.decode(raw), ErrorReply(1, "", raw))

    def test_patterns(self) -> None:
        rows = [("a/b", "a/b", "a a/b/c"), ("a/*", "a/b", "a a/b/c"),
                ("a/**", "a a/b a/b/c", "ab"), ("**/c", "c a/c a/b/c", "a/c/b"),
                ("*/**/*", "a/b a/b/c", "a"), ("**", "a a/b", "a/* /a a//b"),
                ("**/b/**/b", "b/b a/b/c/b", "b a/b/c")]
        for pattern, these, not_these in rows:
            self.assertTrue(service.is_pattern(pattern))
            for topic in these.split():
                self.assertTrue(matches(pattern, topic), (pattern, topic))
            for topic in not_these.split():
                self.assertFalse(matches(pattern, topic), (pattern, topic))
        for pattern in ("", "/a", "a/", "a//b", "a*", "a/***", "ü" * 128, "**/" * 32 + "a"):
            self.assertFalse(service.is_pattern(pattern), pattern)

    def test_transcript(self) -> None:
        block = PROTOCOL.split("### 12.4")[1].split("```")[1]
        self.assertEqual(block.split("\n")[1:-1], cli.asking_transcript())


class Asking(unittest.TestCase):
    def test_answers_in_any_order_both_ways(self) -> None:
        sides = pair()
        asked = [[side.request(bytes([n]), within=1.5) for n in range(5)] for side in sides]
        requests = shuttle(*sides)  # the initiator's come first
        self.assertEqual({message.time_left for message in requests}, {1500})
        for side, its in ((sides[1], requests[:5]), (sides[0], requests[5:])):
            self.assertEqual(len({message.correlation for message in its}), 5)
            for message in reversed(its):
                side.reply(message, message.payload * 2)
        self.assertEqual(shuttle(*sides), [])
        for one in asked[0] + asked[1]:
            self.assertEqual(one.answer.payload, one.outgoing.message.payload * 2)
            self.assertEqual(one.outgoing.outcome, "accepted")

    def test_no_answer(self) -> None:
        here, there = pair()
        rejected, accepted, error = (here.request(b"") for _ in range(3))
        requests = shuttle(here, there)
        there.peer.settle(requests[0].seq, 2, "dropped")
        there.peer.settle(requests[1].seq)
        there.fail(requests[2], ErrorReply(300, "no", b"d"))
        shuttle(here, there)
        self.assertTrue(rejected.failed)
        self.assertFalse(accepted.done)
        self.assertEqual(error.error, ErrorReply(300, "no", b"d"))
        # The answer may come long after the RESULT; not after a rejection.
        for number in (0, 1):
            there._answer(Message(kind="request", correlation=requests[number].correlation),
                          Message(b"late", "reply"))
        shuttle(here, there)
        self.assertEqual((accepted.answer.payload, here.ignored), (b"late", 1))
        self.assertTrue(rejected.failed)

    def test_answers_that_nobody_waits_for(self) -> None:
        here, there = pair()
        asked = here.request(b"")
        [request] = shuttle(here, there)
        there.reply(request, b"one")
        results = [there.peer.send(Message(b"two", "reply", "processed", number))
                   for number in (request.correlation, 99, 0)]
        self.assertEqual(shuttle(here, there), [])
        self.assertEqual((asked.answer.payload, here.ignored), (b"one", 3))
        self.assertEqual([out.outcome for out in results], ["accepted"] * 3)
        # Their credit is given back.
        self.assertEqual(here.peer._freed_messages - here.peer._begun_in, 16)

    def test_cancel(self) -> None:
        here, there = pair()
        asked = here.request(b"")
        [request] = shuttle(here, there)
        here.give_up(asked)
        self.assertEqual(shuttle(here, there), [Cancelled(request.seq)])
        there.reply(request, b"late")
        shuttle(here, there)
        self.assertEqual((asked.answer, here.ignored), (None, 1))
        self.assertEqual(asked.outgoing.outcome, "accepted")


class Subscribing(unittest.TestCase):
    def test_subscriptions(self) -> None:
        here, there = pair()

        def answered(asked: service.Asked) -> service.Asked:
            [message] = shuttle(here, there)
            there.on_subscription(message)
            self.assertEqual(shuttle(here, there), [])
            self.assertTrue(asked.done)
            return asked

        for pattern in ("a/*", "a/*", "**"):
            self.assertEqual(answered(here.subscribe(pattern)).answer.payload, b"")
        self.assertEqual(answered(here.subscribe("a*")).error.code, service.NO_TOPIC)
        self.assertTrue(there.publish("a/b", b"x", missed=7))
        [event] = shuttle(here, there)  # once, though two match
        self.assertEqual((event.topic, event.payload, event.missed, event.level),
                         ("a/b", b"x", 7, "none"))
        for pattern in ("**", "never/had"):
            self.assertIsNone(answered(here.unsubscribe(pattern)).error)
        self.assertFalse(there.publish("b", b""))
        here.leave("a/*")
        [message] = shuttle(here, there)
        there.on_subscription(message)
        shuttle(here, there)
        self.assertEqual((here.ignored, there.patterns), (1, set()))


if __name__ == "__main__":
    unittest.main()
