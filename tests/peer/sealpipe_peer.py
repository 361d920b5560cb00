#!/usr/bin/env python3
"""A sealpipe peer, written from PROTOCOL.md alone: `Connection` drives a `core.Peer` over a
socket or a pair of file descriptors; the command line below serves the tests.

    sealpipe_peer.py listen ADDRESS [--key HEX] [--count N] [--echo] [--reject TEXT]
    sealpipe_peer.py send ADDRESS [--key HEX] [--ack LEVEL] [--size BYTES | TEXT...]
                     [--count N] [--expect-reply] [--hostile NAME]
    sealpipe_peer.py transcript [--sealed]
    sealpipe_peer.py noise-vector [--psk HEX] ...

ADDRESS is the path of a Unix socket. Exit codes: 0 all well, 1 something was rejected,
2 usage, 3 nothing there, 4 mismatch (version, mode, key, not sealpipe), 5 lost (the end came
too soon, refused, a deadline), 7 violation (noticed by either side).
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import socket
import sys
import time
from typing import Callable, List, Optional

import noise
import wire
from core import Closed, Config, Event, Outgoing, Peer, PeerFinished
from wire import Message, Refused, SealpipeError, Violation, frame

OK, REJECTED, USAGE, NOTHING_THERE, MISMATCH, LOST, VIOLATED = 0, 1, 2, 3, 4, 5, 7


class Connection:
    """A `Peer` over a pair of file descriptors (POSIX). Reads while it writes, so that two
    sides that both have much to send do not wait for each other."""

    def __init__(self, peer: Peer, reader: int, writer: int, close: Callable[[], None]) -> None:
        self.peer, self._reader, self._writer, self._close_stream = peer, reader, writer, close
        self._out = bytearray()
        self._write_ends = self.ended = False
        self._taken = 0
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    @classmethod
    def from_socket(cls, sock: socket.socket, peer: Peer) -> Connection:
        return cls(peer, sock.fileno(), sock.fileno(), sock.close)

    @classmethod
    def from_files(cls, reader, writer, peer: Peer) -> Connection:
        """For example a child's stdout and stdin, opened unbuffered."""
        def close() -> None:
            writer.close()
            reader.close()
        return cls(peer, reader.fileno(), writer.fileno(), close)

    def end(self) -> None:
        """Close the stream."""
        if not self.ended:
            self.ended = True
            self._close_stream()

    def write_raw(self, data: bytes) -> None:
        """Put bytes on the stream behind the protocol's back."""
        self._out += data

    def end_output(self) -> None:
        """Half-close a socket once what is queued has been written."""
        while self._out and not self._write_ends:
            self.pump()
        socket.socket(fileno=os.dup(self._writer)).shutdown(socket.SHUT_WR)

    def pump(self, timeout: Optional[float] = None) -> None:
        """Write and read what can be, and wait at most `timeout` (None: until a deadline)."""
        if self.ended:
            return
        wait = self.peer.tick()
        while not self._write_ends and len(self._out) < 1 << 18:
            data = self.peer.output()
            if not data:
                break
            self._out += data
        if self.peer.state == "closed":
            if not self._out or self._write_ends:
                self.end()
                return
            wait, timeout = 1.0, None
        wait = wait if timeout is None else min(wait, timeout)
        writers = [self._writer] if self._out and not self._write_ends else []
        readers = [] if self.peer.state == "closed" else [self._reader]
        readable, writable, _ = select.select(readers, writers, [], wait)
        if self.peer.state == "closed" and not writable:
            self._write_ends = True  # the last CLOSE does not go out; give up
        if writable:
            try:
                del self._out[:os.write(self._writer, self._out)]
            except BlockingIOError:
                pass
            except OSError:  # closed; what it said before can still be read
                self._write_ends = True
        if readable:
            try:
                data = os.read(self._reader, 1 << 18)
            except BlockingIOError:
                return
            except OSError:  # a reset is the end of the stream
                data = b""
            if data:
                self.peer.feed(data)
            else:
                self.peer.eof()

    def next_event(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None when the time has passed or after Closed. Raises what ended
        the connection otherwise, after all that came before."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.peer.events:
            if self.ended:
                if self.peer.error:
                    raise self.peer.error
                return None
            left = None if until is None else until - time.monotonic()
            if left is not None and left < 0:
                return None
            self.pump(left)
        event = self.peer.take()
        self._taken += 1
        if self._taken % 64 == 0:
            self.pump(0)  # ACK is not to wait for more than 64 messages (section 6.3)
        if isinstance(event, Closed):
            while not self.ended:
                self.pump()
        return event

    def wait(self, done: Callable[[], bool]) -> None:
        """Pump until `done()`, the end or an error; events stay queued."""
        while not done() and not self.ended:
            self.pump()
        if self.ended and self.peer.error:
            raise self.peer.error

    def handshake(self) -> None:
        """Until the connection is open."""
        self.wait(lambda: self.peer.is_open)

    def flush(self) -> None:
        """Write all that can be sent now."""
        self.pump(0)
        while self._out and not self.ended and not self._write_ends:
            self.pump()


# --- the command line ---------------------------------------------------------------------

def exit_code(error: SealpipeError) -> int:
    """The exit code that tells what ended a connection."""
    if isinstance(error, Refused):
        if error.status in (None, wire.BAD_VERSION, wire.BAD_MODE, wire.UNKNOWN_KEY):
            return MISMATCH
        return VIOLATED if error.status == wire.BAD_HANDSHAKE else LOST
    if isinstance(error, Violation) and error.code != wire.TIME:
        return VIOLATED
    return LOST


def closed_code(closed: Closed, complete: bool) -> int:
    """The same for a CLOSE that came."""
    if closed.code in (wire.VIOLATION, wire.LIMIT, wire.BAD_RECORD, wire.FLOOD):
        return VIOLATED
    return OK if complete else LOST


def describe(message: Message) -> str:
    """One line of JSON about a message."""
    line = {"seq": message.seq, "kind": message.kind, "ack": message.level,
            "len": len(message.payload), "sha256": hashlib.sha256(message.payload).hexdigest()}
    if len(message.payload) <= 200:
        try:
            line["text"] = message.payload.decode("utf-8")
        except UnicodeDecodeError:
            pass
    if message.correlation is not None:
        line["correlation"] = message.correlation
    if message.topic is not None:
        line["topic"] = message.topic
    return json.dumps(line)


def listen(args: argparse.Namespace) -> int:
    """Serve one connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(args.address)
        try:
            server.listen(1)
            print(f"listening on {args.address}", file=sys.stderr, flush=True)
            sock, _ = server.accept()
        finally:
            os.unlink(args.address)
    config = Config(unit_timeout=args.frame_timeout)
    return serve(Connection.from_socket(sock, Peer(False, args.key, config)), args)


def serve(connection: Connection, args: argparse.Namespace) -> int:
    """Print each message and settle it, until the end."""
    peer, count, finished = connection.peer, 0, False
    while True:
        enough = args.count is not None and count >= args.count
        if (enough or finished) and not peer.finishing:
            peer.finish()
        event = connection.next_event(peer.config.close_timeout if enough else None)
        if event is None or (enough and isinstance(event, Message)):
            if connection.ended:
                return OK
            peer.close(wire.GOING_AWAY, "enough")  # the other side does not finish
        elif isinstance(event, Closed):
            return closed_code(event, True)
        elif isinstance(event, PeerFinished):
            finished = True
        elif isinstance(event, Message):
            count += 1
            print(describe(event), flush=True)
            if event.level == "processed":
                if args.reject is not None and event.payload == args.reject.encode():
                    peer.settle(event.seq, 300, "no thanks")
                else:
                    peer.settle(event.seq)
            if args.echo and not peer.finishing:
                kind = "message" if event.correlation is None else "reply"
                peer.send(Message(event.payload, kind, correlation=event.correlation))


def send(args: argparse.Namespace) -> int:
    """Connect, send, wait for the outcomes, finish."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(args.address)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        sock.close()
        print(f"nothing there: {error}", file=sys.stderr)
        return NOTHING_THERE
    connection = Connection.from_socket(sock, Peer(True, args.key))
    if args.hostile:
        return misbehave(connection, args.hostile)
    if args.size is not None:
        payloads = [bytes(i % 251 for i in range(args.size))]
    else:
        payloads = [text.encode() for text in args.text or ["hello"]]
    return deliver(connection, payloads * args.count, args.ack, args.expect_reply)


def deliver(connection: Connection, payloads: List[bytes], level: str, expect: bool) -> int:
    """Send all, then finish; tell the outcomes on stdout."""
    peer, replies = connection.peer, 0
    closed: Optional[Closed] = None
    error: Optional[SealpipeError] = None
    sent: List[Outgoing] = [peer.send(Message(payload, level=level)) for payload in payloads]
    try:
        while closed is None:
            if (all(out.outcome for out in sent) and (not expect or replies >= len(sent))
                    and not peer.finishing):
                peer.finish()
                until = time.monotonic() + peer.config.close_timeout
            if not peer.events and not connection.ended:
                connection.pump()
                if peer.finishing and time.monotonic() > until:
                    peer.close()  # the other side does not finish
                continue
            event = connection.next_event()
            if event is None:
                break
            if isinstance(event, Closed):
                closed = event
            elif isinstance(event, Message):
                replies += 1
                print(describe(event), flush=True)
                if event.level == "processed":
                    peer.settle(event.seq)
    except SealpipeError as caught:
        error = caught
        print(f"{type(caught).__name__}: {caught}", file=sys.stderr)
    count = [out.outcome for out in sent].count
    print(f"sent {sum(out.begun for out in sent)} received {count('received')}"
          f" processed {count('accepted')} rejected {count('rejected')}", flush=True)
    if error:
        return exit_code(error)
    done = count("sent") + count("received") + count("accepted") + count("rejected")
    complete = done == len(sent) and (not expect or replies >= len(sent))
    if closed and closed.code:
        print(f"closed by the other side: {closed.code} {closed.reason}", file=sys.stderr)
    code = closed_code(closed or Closed(None), complete)
    return code or (REJECTED if count("rejected") else OK)


HOSTILE = ("replay", "flip", "truncate", "huge", "garbage", "flood", "stall", "nocredit",
           "reorder", "reflect")


def misbehave(connection: Connection, name: str) -> int:
    """Break the protocol in one way and tell what the other side makes of it. Where there
    are no records (plain mode) a frame takes the record's place."""
    peer = connection.peer
    connection.handshake()
    connection.flush()
    for ignored in ("ack", "result", "pong"):  # answers to what `peer` does not know of
        setattr(peer, f"_on_{ignored}", lambda reader: reader.rest())
    sealed = peer.mode == wire.SEALED
    assert peer.remote

    def data(seq: int, payload: bytes = b"hostile") -> bytes:
        head = Message(level="processed").encode_head(seq, None)
        return frame(wire.DATA, head + payload, wire.FIRST | wire.FIN)

    def flood_of(make: Callable[[int], bytes]) -> None:
        number = 0
        while not connection.ended:
            batch = bytearray()
            while len(batch) < wire.RECORD_LIMIT - 64:
                batch += make(number)
                number += 1
            connection.write_raw(peer.seal(bytes(batch)))
            connection.flush()

    if name == "replay":
        connection.write_raw(peer.seal(data(0)) * 2)
    elif name == "flip":
        changed = bytearray(peer.seal(data(0)))
        changed[5 if sealed else 0] ^= 0x80
        connection.write_raw(bytes(changed))
    elif name in ("truncate", "stall"):
        unit = peer.seal(data(0, bytes(100)))
        connection.write_raw(unit[:len(unit) // 2])
        if name == "truncate":
            connection.end_output()
    elif name == "huge":
        head = Message().encode_head(0, peer.remote.max_message + 1)
        connection.write_raw(peer.seal(frame(wire.DATA, head + bytes(1024), wire.FIRST)))
    elif name == "garbage":
        connection.write_raw(b"\xff" * 70_000)
    elif name == "flood":
        flood_of(lambda number: frame(wire.PING, number.to_bytes(8, "big")))
    elif name == "nocredit":
        flood_of(lambda number: data(number, b""))
    elif name == "reorder":
        first, second = peer.seal(data(0)), peer.seal(data(1))
        connection.write_raw(second + first)
    elif name == "reflect":
        received, feed = bytearray(), peer.feed

        def tap(raw: bytes) -> None:
            received.extend(raw)
            feed(raw)
        peer.feed = tap  # type: ignore
        peer.ping(b"reflect!")
        connection.wait(lambda: bool(received))
        connection.write_raw(bytes(received))
    event: Optional[Event] = None
    while not isinstance(event, Closed):
        event = connection.next_event()
    print(f"closed {event.code} {event.reason}".rstrip(), flush=True)
    return closed_code(event, False)


# --- fixed runs (section 12) ----------------------------------------------------------------

SCENARIO = Config(max_message=4096, credit_bytes=8192, credit_messages=16)


def transcript(sealed: bool) -> List[str]:
    """Section 12 with two peers of this implementation, one line for each write."""
    keys = [bytes(range(32))] if sealed else []
    sides = {"initiator": Peer(True, keys, SCENARIO, lambda n: b"\xc3" * n, b"\xa1" * 32),
             "responder": Peer(False, keys, SCENARIO, lambda n: b"\xc3" * n, b"\xb2" * 32)}
    hello = sides["initiator"].send(Message(b"hello", level="processed"))
    lines: List[str] = []
    name, other = "initiator", "responder"
    while True:
        side = sides[name]
        while side.events:
            event = side.take()
            if isinstance(event, Message):
                side.settle(event.seq)
        if name == "initiator" and hello.outcome == "accepted":
            side.close(wire.GOING_AWAY, "bye")
        written = side.output()
        if not written:
            return lines
        lines.append(f"{name}: {written.hex()}")
        sides[other].feed(written)
        name, other = other, name


def noise_vector(args: argparse.Namespace) -> dict:
    """One handshake with fixed secrets."""
    first = noise.Handshake(True, args.psk, args.prologue, args.initiator_ephemeral)
    second = noise.Handshake(False, args.psk, args.prologue, args.responder_ephemeral)
    message1 = first.write_message(args.payload1)
    assert second.read_message(message1) == args.payload1
    message2 = second.write_message(args.payload2)
    assert first.read_message(message2) == args.payload2
    assert first.hash == second.hash
    sender, receiver = first.split()
    return {"message1": message1.hex(), "message2": message2.hex(),
            "handshake_hash": first.hash.hex(), "key_initiator_to_responder": sender.key.hex(),
            "key_responder_to_initiator": receiver.key.hex()}


def main(argv: Optional[List[str]] = None) -> int:
    """The command line."""
    def key(text: str) -> bytes:
        raw = bytes.fromhex(text)
        if len(raw) != noise.KEYLEN:
            raise ValueError
        return raw

    parser = argparse.ArgumentParser(description="a sealpipe peer written from PROTOCOL.md")
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("listen", help="serve one connection")
    sub.add_argument("address")
    sub.add_argument("--key", type=key, action="append", default=[], help="64 hex digits")
    sub.add_argument("--count", type=int)
    sub.add_argument("--echo", action="store_true")
    sub.add_argument("--reject", metavar="TEXT")
    sub.add_argument("--frame-timeout", type=float, default=30.0, metavar="SECONDS")
    sub = commands.add_parser("send", help="connect and send")
    sub.add_argument("address")
    sub.add_argument("text", nargs="*")
    sub.add_argument("--key", type=key, action="append", default=[], help="64 hex digits")
    sub.add_argument("--ack", choices=wire.LEVELS, default="processed")
    sub.add_argument("--size", type=int)
    sub.add_argument("--count", type=int, default=1)
    sub.add_argument("--expect-reply", action="store_true")
    sub.add_argument("--hostile", choices=HOSTILE)
    sub = commands.add_parser("transcript", help="print the bytes of section 12")
    sub.add_argument("--sealed", action="store_true")
    sub = commands.add_parser("noise-vector", help="print one handshake as JSON")
    for name, default in (("psk", bytes(range(32))), ("prologue", b""),
                          ("initiator-ephemeral", b"\xa1" * 32),
                          ("responder-ephemeral", b"\xb2" * 32),
                          ("payload1", b""), ("payload2", b"")):
        sub.add_argument("--" + name, type=bytes.fromhex, default=default, metavar="HEX")
    args = parser.parse_args(argv)
    try:
        if args.command == "listen":
            return listen(args)
        if args.command == "send":
            return send(args)
    except SealpipeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return exit_code(error)
    if args.command == "transcript":
        print("\n".join(transcript(args.sealed)))
    else:
        print(json.dumps(noise_vector(args), indent=1))
    return OK


if __name__ == "__main__":
    sys.exit(main())
