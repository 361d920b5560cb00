"""A program of another system, on one of the wires that carry bare messages: what
bunctl-ipc, named_pipe_ipc, ipcez and PipeCom put on a stream, written from PROTOCOL.md's
"Other wires" with struct, base64 and, for the sealed one, cryptography.

    other_wires.py serve PATH WIRE [--key HEX]              echoes each message, reversed
    other_wires.py talk PATH WIRE [--key HEX] SIZE...       sends, and checks such echoes
    other_wires.py replay PATH WIRE --key HEX COUNT         sends one sealed message again
"""

import argparse
import base64
import os
import socket
import struct
import sys

PREFIXES = {"le32": "<I", "be32": ">I", "le32-sealed": "<I"}
WIRES = [*PREFIXES, "base64-lines"]


class Wire:
    """One side of a stream: messages in, messages out."""

    def __init__(self, stream, name, key):
        self.stream = stream
        self.file = stream.makefile("rb")
        self.prefix = PREFIXES.get(name)
        self.cipher = None
        if name == "le32-sealed":
            from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

            self.cipher = ChaCha20Poly1305(key)

    def encode(self, payload):
        if self.prefix is None:
            return base64.b64encode(payload) + b"\n"
        if self.cipher:
            nonce = os.urandom(12)
            payload = nonce + self.cipher.encrypt(nonce, payload, None)
        return struct.pack(self.prefix, len(payload)) + payload

    def send(self, payload):
        self.stream.sendall(self.encode(payload))

    def receive(self):
        """The next message; None at the end of the stream, which is between two."""
        if self.prefix is None:
            line = self.file.readline()
            if not line:
                return None
            assert line.endswith(b"\n"), "the stream ends inside a line"
            return base64.b64decode(line[:-1], validate=True)
        header = self.file.read(4)
        if not header:
            return None
        (length,) = struct.unpack(self.prefix, header)
        body = self.file.read(length)
        assert len(body) == length, "the stream ends inside a message"
        if self.cipher:
            body = self.cipher.decrypt(body[:12], body[12:], None)
        return body


def payload(size):
    return bytes(i % 251 for i in range(size))


def serve(args):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(args.path)
    listener.listen()
    print("listening", flush=True)
    stream, _ = listener.accept()
    wire = Wire(stream, args.wire, args.key)
    count = 0
    while (message := wire.receive()) is not None:
        wire.send(message[::-1])
        count += 1
    print(f"echoed {count}")


def connect(args):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(args.path)
    return stream, Wire(stream, args.wire, args.key)


def talk(args):
    stream, wire = connect(args)
    for size in args.numbers:
        wire.send(payload(size))
        echo = wire.receive()
        assert echo == payload(size)[::-1], f"another echo of {size} bytes"
    stream.shutdown(socket.SHUT_WR)
    assert wire.receive() is None
    print(f"talked {len(args.numbers)}")


def replay(args):
    stream, wire = connect(args)
    recorded = wire.encode(b"pay 5")
    for _ in range(args.numbers[0]):
        stream.sendall(recorded)
        assert wire.receive() == b"5 yap"
    print(f"replayed {args.numbers[0]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["serve", "talk", "replay"])
    parser.add_argument("path")
    parser.add_argument("wire", choices=WIRES)
    parser.add_argument("numbers", type=int, nargs="*")
    parser.add_argument("--key", type=bytes.fromhex)
    args = parser.parse_intermixed_args()
    {"serve": serve, "talk": talk, "replay": replay}[args.command](args)


if __name__ == "__main__":
    sys.exit(main())
