#!/usr/bin/env python3
"""A sealpipe peer, written from PROTOCOL.md alone; the command line serves the tests.

    sealpipe_peer.py listen ADDRESS [--key HEX] [--count N] [--echo | --answer [--missed N]]
                     [--reject TEXT]
    sealpipe_peer.py send ADDRESS [--key HEX] [--ack LEVEL] [--size BYTES | TEXT...]
                     [--count N] [--expect-reply] [--hostile NAME]
    sealpipe_peer.py request ADDRESS [--key HEX] [--deadline SECONDS] TEXT...
    sealpipe_peer.py subscribe ADDRESS [--key HEX] [--deadline SECONDS] [--count N] PATTERN
    sealpipe_peer.py transcript [--sealed | --asking]
    sealpipe_peer.py noise-vector [--psk HEX] ...

ADDRESS is the path of a Unix socket. With --answer, a request is answered with its payload
backwards, `no` with an error and `wait` not at all; a message `TOPIC TEXT` is published to
the other side, if it has subscribed to that; `request` answers likewise. Exit codes: 0 all well, 1 something was rejected,
2 usage, 3 nothing there, 4 mismatch (version, mode, key, not sealpipe), 5 lost (the end came
too soon, refused, a deadline), 7 violation (noticed by either side).
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import sys
import time
from typing import Callable, List, Optional, Tuple

import noise
import wire
from connection import Connection
from core import Cancelled, Closed, Config, Event, Outgoing, Peer, PeerFinished
from service import Asked, ErrorReply, Service
from wire import Message, Refused, SealpipeError, Violation, frame

OK, REJECTED, USAGE, NOTHING_THERE, MISMATCH, LOST, VIOLATED = 0, 1, 2, 3, 4, 5, 7


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
    if message.time_left is not None:
        line["time_left"] = message.time_left
    if message.missed:
        line["missed"] = message.missed
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
    service, waiting = Service(peer), set()
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
        elif isinstance(event, Cancelled):
            print(json.dumps({"cancelled": event.seq}), flush=True)
            if event.seq in waiting:
                peer.settle(event.seq)
        elif isinstance(event, Message):
            count += 1
            print(describe(event), flush=True)
            rejected = args.reject is not None and event.payload == args.reject.encode()
            if args.answer and not rejected:
                if not answer(service, event, args.missed):
                    waiting.add(event.seq)
            elif event.level == "processed":
                if rejected:
                    peer.settle(event.seq, 300, "no thanks")
                else:
                    peer.settle(event.seq)
            if args.echo and not peer.finishing:
                kind = "message" if event.correlation is None else "reply"
                peer.send(Message(event.payload, kind, correlation=event.correlation))


def answer(service: Service, message: Message, missed: int = 0) -> bool:
    """What --answer makes of a message; false if it is left waiting."""
    if message.kind == "request":
        if message.payload == b"wait":
            return False
        if message.payload == b"no":
            service.fail(message, ErrorReply(300, "no thanks", message.payload))
        else:
            service.reply(message, message.payload[::-1])
    elif message.kind in wire.ASKING:
        service.on_subscription(message)
    else:
        if message.level == "processed":
            service.peer.settle(message.seq)
        topic, _, text = message.payload.decode("utf-8", "replace").partition(" ")
        service.publish(topic, text.encode(), missed)
    return True


def connect(args: argparse.Namespace) -> Connection:
    """As the initiator."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(args.address)
    except OSError:
        sock.close()
        raise
    return Connection.from_socket(sock, Peer(True, args.key))


def converse(connection: Connection, service: Service, done: Callable[[], bool],
             handle: Callable[[Message], object], within: float) -> Optional[Closed]:
    """Until `done()`, CLOSE (which is returned) or the time has passed."""
    until = time.monotonic() + within
    while not done() and time.monotonic() < until:
        if not connection.peer.events and not connection.ended:
            connection.pump(max(until - time.monotonic(), 0))
            continue
        event = connection.next_event()
        if event is None:
            return Closed(None)
        if isinstance(event, Closed):
            return event
        if not service.consume(event) and isinstance(event, Message):
            handle(event)
    return None


def part(connection: Connection, service: Service) -> Closed:
    """Finish, or close where the other side does not."""
    peer, closed = connection.peer, None
    for end in (peer.finish, peer.close):
        end()
        closed = closed or converse(connection, service, lambda: False, lambda message: None,
                                    peer.config.close_timeout)
    return closed or Closed(None)


def request(args: argparse.Namespace) -> int:
    """Ask, tell the answers on stdout, finish."""
    connection = connect(args)
    return ask(connection, [text.encode() for text in args.text], args.deadline)


def ask(connection: Connection, payloads: List[bytes], deadline: float) -> int:
    """All at once."""
    service = Service(connection.peer)
    asked = [service.request(payload, deadline) for payload in payloads]
    closed = converse(connection, service, lambda: all(one.done for one in asked),
                      lambda message: answer(service, message), deadline)
    for one in asked:
        print(tell(one), flush=True)
        service.give_up(one)
    replied = all(one.answer and not one.error for one in asked)
    return (closed_code(closed or part(connection, service), all(one.done for one in asked))
            or (OK if replied else REJECTED))


def tell(asked: Asked) -> str:
    """One line of JSON about what came of it."""
    if asked.error:
        line = {"error": asked.error.code, "message": asked.error.message,
                "details": asked.error.details.hex()}
    elif asked.answer:
        line = {"reply": asked.answer.payload.decode("utf-8", "replace")}
    else:
        out = asked.outgoing
        line = {"failed": out.outcome or "nothing came", "code": out.code,
                "reason": out.reason}
    return json.dumps(line)


def subscribe(args: argparse.Namespace) -> int:
    """Subscribe, tell so many events, unsubscribe, finish."""
    return listen_to(connect(args), args.pattern, args.count, args.deadline)


def listen_to(connection: Connection, pattern: str, count: int, deadline: float) -> int:
    """All events that come are counted, also such as come before the reply."""
    service, events = Service(connection.peer), 0

    def on_message(message: Message) -> None:
        nonlocal events
        if message.kind == "event":
            events += 1
            print(describe(message), flush=True)

    subscribed = service.subscribe(pattern)
    closed = converse(connection, service, lambda: subscribed.done, on_message, deadline)
    print(tell(subscribed), flush=True)
    if closed or subscribed.answer is None or subscribed.error:
        return closed_code(closed or part(connection, service), subscribed.done) or REJECTED
    closed = converse(connection, service, lambda: events >= count, on_message, deadline)
    if closed is None:
        back = service.unsubscribe(pattern)
        closed = converse(connection, service, lambda: back.done, on_message, deadline)
        print(tell(back), flush=True)
    return closed_code(closed or part(connection, service), events >= count)


def send(args: argparse.Namespace) -> int:
    """Connect, send, wait for the outcomes, finish."""
    connection = connect(args)
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
    """Sections 12.1 and 12.2."""
    initiator, responder = fixed_pair(sealed)
    hello = initiator.send(Message(b"hello", level="processed"))

    def act(side: Peer, event: Optional[Event]) -> None:
        if isinstance(event, Message):
            side.settle(event.seq)
        elif event is None and side is initiator and hello.outcome == "accepted":
            side.close(wire.GOING_AWAY, "bye")

    return take_turns(initiator, responder, act)


def asking_transcript() -> List[str]:
    """Section 12.4."""
    initiator, responder = fixed_pair(False)
    client, server = Service(initiator), Service(responder)
    steps = [lambda: client.request(b"how are you?", 5), lambda: client.request(b"no", 5),
             lambda: client.subscribe("jobs/*"), lambda: client.leave("jobs/*"),
             lambda: initiator.close(wire.GOING_AWAY, "bye")]
    asked: List[Optional[Asked]] = [steps.pop(0)()]

    def act(side: Peer, event: Optional[Event]) -> None:
        if side is responder and isinstance(event, Message):
            if event.kind != "request":
                server.on_subscription(event)
                server.publish("jobs/7", b"done", missed=2)
            elif event.payload == b"no":
                server.fail(event, ErrorReply(300, "no thanks", b"\xff"))
            else:
                server.reply(event, b"well")
        elif side is initiator and event:
            client.consume(event)
        elif side is initiator and side.is_open and (asked[-1] is None or asked[-1].done) and steps:
            asked.append(steps.pop(0)())

    return take_turns(initiator, responder, act)


def fixed_pair(sealed: bool) -> Tuple[Peer, Peer]:
    """Initiator and responder of section 12, for whom no time passes."""
    keys = [bytes(range(32))] if sealed else []

    def side(initiator: bool, ephemeral: bytes) -> Peer:
        return Peer(initiator, keys, SCENARIO, lambda n: b"\xc3" * n, ephemeral * 32,
                    clock=lambda: 0.0)
    return side(True, b"\xa1"), side(False, b"\xb2")


def take_turns(initiator: Peer, responder: Peer,
               act: Callable[[Peer, Optional[Event]], None]) -> List[str]:
    """One line for each write, until a side has none. `act` is given each event of the side
    whose turn it is, then None."""
    lines: List[str] = []
    side, other = initiator, responder
    while True:
        while side.events:
            act(side, side.take())
        act(side, None)
        written = side.output()
        if not written:
            return lines
        lines.append(f"{'initiator' if side is initiator else 'responder'}: {written.hex()}")
        other.feed(written)
        side, other = other, side


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

    def at_address(name: str, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help)
        sub.add_argument("address")
        sub.add_argument("--key", type=key, action="append", default=[], help="64 hex digits")
        return sub

    sub = at_address("listen", "serve one connection")
    sub.add_argument("--count", type=int)
    sub.add_argument("--echo", action="store_true")
    sub.add_argument("--answer", action="store_true", help="requests and subscriptions")
    sub.add_argument("--missed", type=int, default=0, help="what events say was dropped")
    sub.add_argument("--reject", metavar="TEXT")
    sub.add_argument("--frame-timeout", type=float, default=30.0, metavar="SECONDS")
    sub = at_address("send", "connect and send")
    sub.add_argument("text", nargs="*")
    sub.add_argument("--ack", choices=wire.LEVELS, default="processed")
    sub.add_argument("--size", type=int)
    sub.add_argument("--count", type=int, default=1)
    sub.add_argument("--expect-reply", action="store_true")
    sub.add_argument("--hostile", choices=HOSTILE)
    for name, help in (("request", "connect and ask"), ("subscribe", "connect for events")):
        sub = at_address(name, help)
        sub.add_argument("--deadline", type=float, default=10.0, metavar="SECONDS")
        if name == "request":
            sub.add_argument("text", nargs="+")
        else:
            sub.add_argument("pattern")
            sub.add_argument("--count", type=int, default=1)
    sub = commands.add_parser("transcript", help="print the bytes of section 12")
    sub.add_argument("--sealed", action="store_true", help="12.2")
    sub.add_argument("--asking", action="store_true", help="12.4")
    sub = commands.add_parser("noise-vector", help="print one handshake as JSON")
    for name, default in (("psk", bytes(range(32))), ("prologue", b""),
                          ("initiator-ephemeral", b"\xa1" * 32),
                          ("responder-ephemeral", b"\xb2" * 32),
                          ("payload1", b""), ("payload2", b"")):
        sub.add_argument("--" + name, type=bytes.fromhex, default=default, metavar="HEX")
    args = parser.parse_args(argv)
    run = {"listen": listen, "send": send, "request": request, "subscribe": subscribe}
    try:
        if args.command in run:
            return run[args.command](args)
    except SealpipeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return exit_code(error)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        print(f"nothing there: {error}", file=sys.stderr)
        return NOTHING_THERE
    if args.command == "transcript":
        print("\n".join(asking_transcript() if args.asking else transcript(args.sealed)))
    else:
        print(json.dumps(noise_vector(args), indent=1))
    return OK


if __name__ == "__main__":
    sys.exit(main())
