"""`Connection`: a `core.Peer` over a socket or a pair of file descriptors."""
from __future__ import annotations

import os
import select
import socket
import time
from typing import Callable, Optional

from core import Closed, Event, Peer


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
