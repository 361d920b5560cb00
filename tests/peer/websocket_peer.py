"""A peer of another make: WebSockets by the package `websockets`.

    websocket_peer.py server [DIRECTORY]
        Listens on this machine, and prints its port. Greets each client with a message
        in fragments, pings it, and sends back what comes, reversed. With a DIRECTORY,
        over TLS: it holds certificate.der and key.der.

    websocket_peer.py client URL [CERTIFICATE]
        Sends messages, also in fragments, and as text, and prints what comes back until
        the other side closes. CERTIFICATE, a file, is the authority to trust.

Both print one line of JSON for each thing that happened.
"""

import base64
import json
import pathlib
import ssl
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

MOST = 1 << 20


def say(**what):
    print(json.dumps(what), flush=True)


def server_tls(directory):
    """Python reads keys from files of PEM only."""
    pem = directory / "both.pem"
    blocks = []
    for name, label in ("certificate", "CERTIFICATE"), ("key", "PRIVATE KEY"):
        body = base64.encodebytes((directory / f"{name}.der").read_bytes()).decode()
        blocks.append(f"-----BEGIN {label}-----\n{body}-----END {label}-----\n")
    pem.write_text("".join(blocks))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def greet_and_echo(socket):
    socket.send([b"he", b"l", b"lo"])
    if not socket.ping(b"there?").wait(10):
        say(error="no pong")
    try:
        while True:
            message = socket.recv()
            socket.send(message[::-1])
    except ConnectionClosed as closed:
        say(code=closed.rcvd.code if closed.rcvd else None)


def run_server(directory=None):
    tls = server_tls(pathlib.Path(directory)) if directory else None
    with serve(greet_and_echo, "127.0.0.1", 0, ssl=tls, max_size=MOST) as server:
        say(port=server.socket.getsockname()[1])
        server.serve_forever()


def run_client(url, certificate=None):
    tls = None
    if certificate:
        data = pathlib.Path(certificate).read_bytes()
        tls = ssl.create_default_context(cadata=data)
    with connect(url, ssl=tls, max_size=MOST, proxy=None) as socket:
        socket.send(b"one")
        socket.send([b"t", b"w", b"o"])
        socket.send(b"")
        socket.send(bytes(200_000))
        socket.send("text")
        say(pong=socket.ping().wait(10))
        try:
            while True:
                message = socket.recv()
                say(length=len(message), start=message[:8].hex())
        except ConnectionClosed as closed:
            say(code=closed.rcvd.code if closed.rcvd else None)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"server": run_server, "client": run_client}[command](*arguments)
