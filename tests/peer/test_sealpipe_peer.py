"""Self tests of the peer: python3 -m unittest discover -s tests/peer

The sealed half is skipped where the package `cryptography` is missing.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import List, Optional, Tuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import noise  # noqa: E402
import sealpipe_peer as cli  # noqa: E402
import wire  # noqa: E402
from core import Cancelled, Closed, Config, Peer  # noqa: E402
from sealpipe_peer import Connection  # noqa: E402
from wire import Hello, Message, Preface, Refused, Truncated, Violation, frame  # noqa: E402
from wire import put_varint  # noqa: E402

try:
    import cryptography  # noqa: F401
    HAVE_CRYPTOGRAPHY = True
except ImportError:
    HAVE_CRYPTOGRAPHY = False

KEY = bytes(range(32))
MODES = [[], [KEY]] if HAVE_CRYPTOGRAPHY else [[]]
SMALL = Config(max_message=4096, credit_bytes=8192, credit_messages=16)
BIG = 300_000


def shuttle(*peers: Peer) -> None:
    """Carry bytes between two peers until both are silent."""
    moved = True
    while moved:
        moved = False
        for here, there in (peers, peers[::-1]):
            data = here.output()
            if data:
                moved = True
                there.feed(data)


def pair(keys: List[bytes], config: Config = SMALL) -> Tuple[Peer, Peer]:
    """Two open peers, for which no time passes."""
    peers = (Peer(True, keys, config, clock=lambda: 0.0),
             Peer(False, keys, config, clock=lambda: 0.0))
    shuttle(*peers)
    assert all(peer.state == "open" for peer in peers)
    return peers


class Codec(unittest.TestCase):
    def test_varint(self) -> None:
        known = {"25": 37, "7bbd": 15293, "9d7f3e7d": 494878333,
                 "c2197c5eff14e88c": 151288809941952652}  # RFC 9000, appendix A.1
        for text, value in known.items():
            self.assertEqual(put_varint(value).hex(), text)
            self.assertEqual(wire.get_varint(bytes.fromhex(text), 0), (value, len(text) // 2))
        self.assertEqual(wire.get_varint(bytes.fromhex("4025"), 0), (37, 2))  # not the shortest
        self.assertIsNone(wire.get_varint(b"\x40", 0))
        self.assertEqual(len(put_varint(wire.VARINT_MAX)), 8)
        self.assertRaises(ValueError, put_varint, wire.VARINT_MAX + 1)

    def test_preface(self) -> None:
        preface = Preface(wire.SEALED, 3, b"12345678", 9)
        self.assertEqual(len(preface.encode()), 16)
        self.assertEqual(Preface.decode(preface.encode()), preface)

    def test_hello(self) -> None:
        hello = Hello(100, 200, 3, b"\xc3" * 16)
        body = hello.encode()
        self.assertEqual(Hello.decode(body), hello)
        self.assertEqual(Hello.decode(body + bytes.fromhex("2a0131")), hello)  # unknown
        bad = [body + body[:3], body[3:], body[:-1], body + b"\x2a\x05",
               Hello(100, 99, 3, bytes(16)).encode(), Hello(1, 1, 0, bytes(16)).encode(),
               body + b"\x3f\x43\x00" + bytes(768)]
        for raw in bad:
            self.assertRaises(Violation, Hello.decode, raw)

    def test_message(self) -> None:
        for message in (Message(b"x"), Message(b"", "reply", "received", correlation=7),
                        Message(b"y" * 9, "subscribe", "processed", 1 << 40, "t/ü"),
                        Message(b"z", extension=bytes.fromhex("070102"))):
            for fin in (True, False):
                head = message.encode_head(5, None if fin else 5000)
                got, total = Message.decode_first(head + message.payload, fin)
                self.assertEqual(total, len(message.payload) if fin else 5000)
                self.assertEqual({**vars(got), "seq": -1}, vars(message))
        for raw in ("00", "0007", "0018", "0020", "0001", "004400", "0044021fff", "0080",
                    "00800107"):
            self.assertRaises(Violation, Message.decode_first, bytes.fromhex(raw), True)

    def test_frame(self) -> None:
        raw = frame(wire.DATA, bytes(100), wire.FIN)
        self.assertEqual(wire.parse_frame(raw, 0, 65535),
                         (wire.DATA, wire.FIN, bytes(100), len(raw)))
        for end in range(len(raw)):
            self.assertIsNone(wire.parse_frame(raw[:end], 0, 65535))
        for text in ("0b00", "10", "4200", "0280010000"):
            with self.assertRaises(Violation):
                wire.parse_frame(bytes.fromhex(text), 0, 65535)


@unittest.skipUnless(HAVE_CRYPTOGRAPHY, "needs cryptography")
class Noise(unittest.TestCase):
    def test_vector(self) -> None:
        """Made with another implementation (PyPI's noiseprotocol 0.3.1)."""
        args = argparse.Namespace(psk=KEY, prologue=b"sealpipe test prologue",
                                  initiator_ephemeral=b"\xa1" * 32, payload1=b"first",
                                  responder_ephemeral=b"\xb2" * 32, payload2=b"second")
        self.assertEqual(cli.noise_vector(args), {
            "message1": "c306fb0ef2bf8b7f93bad98155fa37daec74db0c4cbeda6c6f1dba9d36558252"
                        "431d3aecc246dea88369123849e51056a11daa0f75",
            "message2": "db48257e1237976a74ad8cfedca00213408fe89ac6251f1b930245f242b5c31a"
                        "d55de9930431e1359f23660150bc742a5864af2c4351",
            "handshake_hash": "073eb606706053a20d5798cb324bf0fd"
                              "7d8ddb59d1730caf4c27f23249861a0b",
            "key_initiator_to_responder": "c33c6f8035379e4cbd69aeebcacaa481"
                                          "d13d367347ebe06f52383665b888fa54",
            "key_responder_to_initiator": "78fc71cefeda4a3180e09cfc7891a76b"
                                          "795fe87fe92d955326b6a7bcfeab3eb4"})

    def test_itself_and_wrong_inputs(self) -> None:
        message = noise.Handshake(True, KEY, b"p").write_message(b"payload")
        self.assertEqual(noise.Handshake(False, KEY, b"p").read_message(message), b"payload")
        changed = message[:-1] + bytes([message[-1] ^ 1])
        for psk, prologue, raw in ((bytes(32), b"p", message), (KEY, b"q", message),
                                   (KEY, b"p", changed), (KEY, b"p", message[:40])):
            with self.assertRaises(noise.NoiseError):
                noise.Handshake(False, psk, prologue).read_message(raw)
        responder = noise.Handshake(False, KEY, b"p")
        state = noise.Handshake(True, KEY, b"p")._state  # a message with a low-order point
        state.mix_key_and_hash(KEY)
        state.mix_hash(bytes(32))
        state.mix_key(bytes(32))
        responder.read_message(bytes(32) + state.encrypt_and_hash(b""))
        self.assertRaises(noise.NoiseError, responder.write_message, b"")


class Protocol(unittest.TestCase):
    """Two peers in memory, or one peer and bytes made by hand."""

    def test_levels_and_outcomes(self) -> None:
        for keys in MODES:
            here, there = pair(keys)
            sent = [here.send(Message(b"m", level=level)) for level in wire.LEVELS]
            sent.append(here.send(Message(b"no", level="processed")))
            shuttle(here, there)
            got = [there.take() for _ in sent]
            self.assertEqual([m.payload for m in got], [b"m", b"m", b"m", b"no"])
            self.assertEqual([out.outcome for out in sent], ["sent", "received", None, None])
            there.settle(3, 300, "no thanks")
            there.settle(2)
            shuttle(here, there)
            self.assertEqual([out.outcome for out in sent[2:]], ["accepted", "rejected"])
            self.assertEqual((sent[3].code, sent[3].reason), (300, "no thanks"))
            for peer in (here, there):
                peer.finish()
            shuttle(here, there)
            while there.events:
                event = there.take()
            self.assertEqual(event, Closed(0, 0, ""))
            self.assertEqual((here.state, here.error, there.error), ("closed", None, None))

    def test_large_messages_and_credit(self) -> None:
        config = Config(max_message=BIG, credit_bytes=BIG, credit_messages=2)
        for keys in MODES:
            here, there = pair(keys, config)
            payload = os.urandom(BIG)
            sent = [here.send(Message(payload[n:], level="received")) for n in range(5)]
            shuttle(here, there)
            self.assertEqual([out.begun for out in sent], [True] + 4 * [False])  # no credit
            for number in range(5):
                self.assertEqual(there.take().payload, payload[number:])
                shuttle(here, there)
            self.assertTrue(all(out.outcome == "received" for out in sent))

    def test_cancel(self) -> None:
        for keys in MODES:
            here, there = pair(keys, Config(BIG, 2 * BIG, 4))
            first = here.send(Message(bytes(BIG), level="processed"))
            there.feed(here.output())
            here.cancel(first)
            second = here.send(Message(b"2", level="processed"))
            shuttle(here, there)
            self.assertEqual((first.outcome, there.take().seq), ("withdrawn", 1))
            here.cancel(second)
            shuttle(here, there)
            self.assertEqual(there.take(), Cancelled(1))
            there.settle(1, 2)
            shuttle(here, there)
            self.assertEqual((second.outcome, here.error, there.error), ("rejected", None, None))
            self.assertEqual(there._freed_bytes - there._bytes_in, 2 * BIG)

    def test_close_tells_what_was_delivered(self) -> None:
        for keys in MODES:
            here, there = pair(keys)
            sent = [here.send(Message(b"m", level="processed")) for _ in range(3)]
            shuttle(here, there)
            there.take()
            there.close(1, "bye")
            shuttle(here, there)
            self.assertEqual(here.take(), Closed(1, 1, "bye"))
            self.assertEqual([out.outcome for out in sent],
                             ["unknown", "undelivered", "undelivered"])

    def test_truncated(self) -> None:
        here, there = pair([])
        out = here.send(Message(b"m", level="processed"))
        there.feed(here.output())
        here.eof()
        self.assertIsInstance(here.error, Truncated)
        self.assertEqual(out.outcome, "unknown")

    def test_ping(self) -> None:
        for keys in MODES:
            here, there = pair(keys)
            here.ping(b"12345678")
            here.ping(b"abcdefgh")  # together: only the newest is answered
            shuttle(here, there)
            self.assertFalse(here._pings)
            self.assertIsNone(here.error)

    def test_byte_by_byte(self) -> None:
        for keys in MODES:
            here, there = Peer(True, keys, SMALL), Peer(False, keys, SMALL)
            here.send(Message(b"hello", level="processed"))
            for _ in range(6):
                for side, other in ((here, there), (there, here)):
                    for byte in side.output():
                        other.feed(bytes([byte]))
            self.assertEqual(there.take().payload, b"hello")

    def test_deadlines(self) -> None:
        now = [0.0]
        here, there = (Peer(side, [], SMALL, clock=lambda: now[0]) for side in (True, False))
        shuttle(here, there)
        there.feed(b"\x32")
        now[0] = 30.0
        there.tick()
        self.assertEqual((there.error.code, there.output()[2]), (wire.TIME, wire.TIME))
        here.tick()
        self.assertEqual(here.output(), frame(wire.PING, here._pings[0]))
        now[0] = 90.0
        here.tick()
        self.assertIn("sign of life", str(here.error))

    def test_violations(self) -> None:
        """Frames by hand; the CLOSE that answers has the right code."""
        def data(seq: int, payload: bytes, flags: int = 0x30, total: Optional[int] = None):
            head = Message().encode_head(seq, total) if flags & 0x10 else b""
            return frame(wire.DATA, head + payload, flags)

        part = data(0, bytes(1024), 0x10, 2048)
        cases = [
            (2, bytes([0x0B, 0])), (2, bytes([0x84, 0])), (2, frame(wire.HELLO)),
            (2, data(1, b"")), (2, data(0, b"") * 2), (2, part + data(1, b"")),
            (2, data(0, bytes(9), 0)), (2, data(0, bytes(1023), 0x10, 2048)),
            (2, part + data(0, bytes(1023), 0x20)), (2, part + data(0, b"", 0x20)),
            (2, part + data(0, bytes(1025), 0x00)), (3, data(0, bytes(1024), 0x10, 4097)),
            (3, data(0, bytes(4096)) + data(1, bytes(4096)) + data(2, b"x")),
            (3, b"".join(data(n, b"") for n in range(17))),
            (2, frame(wire.ACK, b"\x01\x00")), (2, frame(wire.ACK, b"\x00\x01")),
            (2, frame(wire.ACK, b"\x00")), (2, frame(wire.ACK, b"\x00\x00\x00")),
            (2, frame(wire.RESULT, b"\x00\x00")), (2, frame(wire.CREDIT, b"\x00\x10")),
            (2, frame(wire.PING, bytes(7))), (2, frame(wire.PONG, bytes(8))),
            (2, frame(wire.CANCEL, b"\x00")), (2, frame(wire.FINISH, b"\x01")),
            (2, frame(wire.FINISH, b"\x00") * 2), (2, frame(wire.FINISH, b"\0") + data(0, b"")),
            (2, part + frame(wire.FINISH, b"\x01")),
            (2, frame(wire.CLOSE, b"\0\0" + bytes(257))), (2, frame(wire.CLOSE, b"\0\0\xff")),
            (7, frame(wire.PAD) * 1025), (7, frame(wire.CREDIT, b"\x60\0\x10") * 1025),
        ]
        for keys in MODES:
            for code, raw in cases:
                with self.subTest(sealed=bool(keys), code=code, raw=raw[:40].hex()):
                    here, there = pair(keys)
                    there.feed(here.seal(raw))
                    self.assertIsInstance(there.error, Violation)
                    self.assertEqual(there.error.code, code)
                    here.feed(there.output())
                    self.assertEqual(here.take().code, code)
                    self.assertEqual(there.output(), b"")

    def test_refused(self) -> None:
        def answer(initiator: bytes, keys: List[bytes]) -> Tuple[Peer, bytes]:
            peer = Peer(False, keys, SMALL)
            peer.feed(initiator)
            return peer, peer.output()

        peer, said = answer(b"GET / HTTP/1.1\r\n\r\n", [])
        self.assertEqual((peer.error.status, said), (None, b""))
        good = Peer(True, [], SMALL).output()
        for status, raw in ((3, good[:4] + b"\2" + good[5:]), (4, good[:5] + b"\1" + good[6:]),
                            (6, good[:-1] + b"\2"), (6, good[:16] + frame(wire.PAD))):
            peer, said = answer(raw, [])
            self.assertEqual((len(said), said[6], peer.state), (16, status, "closed"))
            initiator = Peer(True, [], SMALL)
            initiator.feed(said)
            self.assertEqual((type(initiator.error), initiator.error.status), (Refused, status))
        if HAVE_CRYPTOGRAPHY:
            sealed = Peer(True, [KEY], SMALL).output()
            self.assertEqual(answer(sealed, [b"k" * 32])[1],
                             Preface(1, 5, wire.key_id(b"k" * 32)).encode())
            for raw in (sealed[:7] + b"\1" + sealed[8:],  # the prologue covers it
                        sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:16] + b"\0\x2f",
                        sealed[:16] + b"\4\1"):
                self.assertEqual(answer(raw, [b"k" * 32, KEY])[1][6], 6)

    @unittest.skipUnless(HAVE_CRYPTOGRAPHY, "needs cryptography")
    def test_replayed_first_message_gains_nothing(self) -> None:
        here, there = Peer(True, [KEY], SMALL), Peer(False, [KEY], SMALL)
        first = here.output()
        there.feed(first)
        here.feed(there.output())
        record = here.output()
        self.assertEqual(len(record), 2 + 2 + 16)  # PAD
        again = Peer(False, [KEY], SMALL)
        again.feed(first)
        again.output()
        again.feed(record)
        self.assertEqual((again.error.code, again.output()), (wire.BAD_RECORD, b""))
        there.feed(record)
        self.assertEqual((there.state, there.handshake_hash), ("open", here.handshake_hash))

    @unittest.skipUnless(HAVE_CRYPTOGRAPHY, "needs cryptography")
    def test_changed_responder_preface(self) -> None:
        here, there = Peer(True, [KEY], SMALL), Peer(False, [KEY], SMALL)
        there.feed(here.output())
        said = bytearray(there.output())
        said[7] ^= 1
        here.feed(bytes(said))
        self.assertIsInstance(here.error, Violation)
        self.assertEqual(here.output(), b"")

    def test_transcripts(self) -> None:
        for keys in MODES:
            lines = cli.transcript(bool(keys))
            self.assertEqual([line.split(":")[0] for line in lines],
                             ["initiator", "responder"] * 3)
            if not keys:
                self.assertEqual(lines[2:], [
                    "initiator: 3207001068656c6c6f", "responder: 0402000003020100",
                    "initiator: 09050100627965", "responder: 09020101"])


class Streams(unittest.TestCase):
    """The command line's two sides over a socket pair."""

    def run_pair(self, keys: List[bytes], client, **options) -> Tuple[int, int, str]:
        """(exit code of the listener, of the client, what both printed)."""
        args = argparse.Namespace(**{"count": None, "echo": False, "reject": None,
                                     "answer": False, "missed": 0, **options})
        left, right = socket.socketpair()
        config = Config(unit_timeout=0.2)
        server = Connection.from_socket(left, Peer(False, keys, config))
        codes: List[int] = []

        def serve() -> None:
            try:
                codes.append(cli.serve(server, args))
            except wire.SealpipeError as error:
                codes.append(cli.exit_code(error))
                self.error = error
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            thread = threading.Thread(target=serve)
            thread.start()
            connection = Connection.from_socket(right, Peer(True, keys))
            try:
                codes.insert(0, client(connection))
            except wire.SealpipeError as error:
                codes.insert(0, cli.exit_code(error))
            thread.join(4)
        for sock in (left, right):
            sock.close()
        return codes[1], codes[0], out.getvalue()

    def test_deliver(self) -> None:
        for keys in MODES:
            for level, word in (("none", "received 0 processed 0"), ("received", "received 40"),
                                ("processed", "processed 40")):
                payloads = [b"a", bytes(70_000)] * 20
                got = self.run_pair(keys, lambda c: cli.deliver(c, payloads, level, True),
                                    echo=True)
                self.assertEqual(got[:2], (0, 0))
                self.assertIn("sent 40 ", got[2])
                self.assertIn(word, got[2])

    def test_reject_and_count(self) -> None:
        payloads = [b"yes", b"no"]
        got = self.run_pair([], lambda c: cli.deliver(c, payloads, "processed", False),
                            reject="no", count=2)
        self.assertEqual(got[:2], (0, cli.REJECTED))
        self.assertIn("sent 2 received 0 processed 1 rejected 1", got[2])

    def test_ask(self) -> None:
        for keys in MODES:
            got = self.run_pair(keys, lambda c: cli.ask(c, [b"abc", "grü".encode()], 4),
                                answer=True)
            self.assertEqual(got[:2], (0, 0))
            self.assertIn('{"reply": "cba"}', got[2])
            texts = [b"no", b"drop", b"wait"]
            got = self.run_pair(keys, lambda c: cli.ask(c, texts, 0.5), answer=True,
                                reject="drop")
            self.assertEqual(got[:2], (0, cli.LOST))
            for line in ('{"error": 300, "message": "no thanks", "details": "6e6f"}',
                         '{"failed": "rejected", "code": 300, "reason": "no thanks"}',
                         '{"failed": "nothing came"', '{"cancelled": 2}'):
                self.assertIn(line, got[2])

    def test_subscribe(self) -> None:
        for keys in MODES:
            def client(connection: Connection) -> int:
                connection.peer.send(Message(b"too/early x"))
                return cli.listen_to(connection, "a/*", 0, 4)
            got = self.run_pair(keys, client, answer=True)
            self.assertEqual(got[:2], (0, 0))
            self.assertEqual(got[2].count('{"reply": ""}'), 2)
            got = self.run_pair(keys, lambda c: cli.listen_to(c, "a*", 1, 4), answer=True)
            self.assertEqual(got[:2], (0, cli.REJECTED))

    def test_both_ways_at_once(self) -> None:
        """More in flight both ways than the socket's buffers hold."""
        got = self.run_pair(MODES[-1], lambda c: cli.deliver(c, [bytes(2 << 20)] * 3, "none",
                                                             True), echo=True)
        self.assertEqual(got[:2], (0, 0))

    def test_hostile(self) -> None:
        """Exit codes and the code that the listener's CLOSE has."""
        plain = {"replay": 2, "flip": 2, "truncate": None, "huge": 3, "garbage": 2, "flood": 7,
                 "stall": 4, "nocredit": 3, "reorder": 2, "reflect": 2}
        sealed = {**plain, "replay": 5, "flip": 5, "garbage": 5, "reorder": 5, "reflect": 5}
        for keys in MODES:
            for name, code in (sealed if keys else plain).items():
                with self.subTest(name=name, sealed=bool(keys)):
                    server, client, out = self.run_pair(
                        keys, lambda c: cli.misbehave(c, name))
                    if code is None:
                        self.assertIsInstance(self.error, Truncated)
                        self.assertEqual((server, client), (cli.LOST, cli.LOST))
                        continue
                    self.assertEqual(self.error.code, code)
                    self.assertIn(f"closed {code} ", out)
                    want = cli.LOST if code == 4 else cli.VIOLATED
                    self.assertEqual((server, client), (want, want))


class Processes(unittest.TestCase):
    """The command line itself, over a Unix socket."""

    def test_listen_and_send(self) -> None:
        def run(*words: str) -> subprocess.CompletedProcess:
            return subprocess.run([sys.executable, str(HERE / "sealpipe_peer.py"), *words],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=10)

        with tempfile.TemporaryDirectory() as folder:
            address = os.path.join(folder, "s")
            self.assertEqual(run("send", address, "x").returncode, cli.NOTHING_THERE)
            key = ["--key", KEY.hex()]
            cases = [([], [], 0)]
            if HAVE_CRYPTOGRAPHY:
                cases += [(key, key, 0), (key, [], 4), (key, ["--key", "11" * 32], 4)]
            for listen, send, code in cases:
                with subprocess.Popen(
                        [sys.executable, str(HERE / "sealpipe_peer.py"), "listen", address,
                         *listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        text=True) as server:
                    self.assertEqual(server.stderr.readline(), f"listening on {address}\n")
                    client = run("send", address, "hello", "grüße", *send)
                    out, _ = server.communicate(timeout=10)
                self.assertEqual((client.returncode, server.returncode), (code, code))
                if code == 0:
                    lines = [json.loads(line) for line in out.splitlines()]
                    self.assertEqual([(m["seq"], m["text"], m["ack"]) for m in lines],
                                     [(0, "hello", "processed"), (1, "grüße", "processed")])
                    self.assertEqual(client.stdout,
                                     "sent 2 received 0 processed 2 rejected 0\n")


if __name__ == "__main__":
    unittest.main()
