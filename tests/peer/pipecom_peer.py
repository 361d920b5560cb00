"""PipeCom's way over FIFOs, written from what is known of its wire, not from its code.

    pipecom_peer.py send NAME TEXT...     prints True or False for each
    pipecom_peer.py listen NAME           prints each message as a line

A name stands for two FIFOs, NAME and NAME_ack, made by whoever comes first. A sender
opens NAME, writes base64 of the text and a line feed, and closes it; then it opens
NAME_ack and reads a line, which is base64 of "ACK". A listener reads one line for each
opening, does what it does, and writes that. "PIPECOM_DIE" ends it and is answered too.
"""

import argparse
import base64
import os
import signal
import sys

ACK = base64.b64encode(b"ACK") + b"\n"


def make(name):
    for path in (name, name + "_ack"):
        try:
            os.mkfifo(path, 0o666)
        except FileExistsError:
            pass


def send(name, text):
    make(name)
    with open(name, "wb") as fifo:
        fifo.write(base64.b64encode(text.encode("utf-8")) + b"\n")
    with open(name + "_ack", "rb") as acks:
        return acks.readline() == ACK


def receive(line, name):
    """Handles one line; says whether to go on."""
    text = base64.b64decode(line).decode("utf-8")
    if text != "PIPECOM_DIE":
        print(text, flush=True)
    with open(name + "_ack", "wb") as acks:
        acks.write(ACK)
    return text != "PIPECOM_DIE"


def listen(name, how):
    make(name)
    print("ready", flush=True)
    going = True
    while going:
        with open(name, "rb") as fifo:
            line = fifo.read() if how == "end" else fifo.readline()
            # Nobody says whether it is closed before the message is handled, or after.
            if line and how == "within":
                going = receive(line, name)
        if line and how != "within":
            going = receive(line, name)
    for path in (name, name + "_ack"):
        os.unlink(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["send", "listen"])
    parser.add_argument("name")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--how", choices=["line", "within", "end"], default="line")
    arguments = parser.parse_args()
    # Whatever waits for ever is a failure.
    signal.alarm(60)
    if arguments.role == "listen":
        listen(arguments.name, arguments.how)
    for text in arguments.texts:
        print(send(arguments.name, text), flush=True)


if __name__ == "__main__":
    sys.exit(main())
