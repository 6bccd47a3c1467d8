"""
Peers that misbehave on the wire: raw sockets that speak just enough HTTP/2 to do one thing wrong.

A :class:`Peer` plays one script per connection, in a thread of its own; whatever it does, leaving the block ends it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
NO_ERROR, INTERNAL_ERROR = 0, 2
_TINY_BUFFER = 4096


class Frame(NamedTuple):
    """One HTTP/2 frame as it arrived."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & _END_STREAM)


class Connection:
    """The server's end of one HTTP/2 connection; every method may raise ``OSError`` when the other end is gone."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.over = over
        self._sock = sock

    def greet(self, *settings: tuple[int, int]) -> None:
        """Read the client's preface and send ours."""
        self._read(len(_PREFACE))
        self.send(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *setting) for setting in settings))

    def frames(self) -> Iterator[Frame]:
        """Read frames to the end of the connection; settings and pings are acknowledged on the way."""
        while (head := self._read(9)) is not None:
            length, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
            frame = Frame(kind, flags, stream, self._read(length) or b"")
            if kind in (SETTINGS, PING) and not flags & _ACK:
                self.send(kind, _ACK, 0, frame.payload if kind == PING else b"")
            yield frame

    def send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4)
        self._sock.sendall(head + payload)

    def headers(self, stream: int) -> None:
        """Send the response headers of a gRPC call."""
        self._send_headers(stream, ((":status", "200"), ("content-type", "application/grpc")), 0)

    def message(self, stream: int, data: bytes) -> None:
        """Send one gRPC message."""
        self.send(DATA, 0, stream, struct.pack("!BI", 0, len(data)) + data)

    def trailers(self, stream: int, status: int = 0) -> None:
        """End the call."""
        self._send_headers(stream, (("grpc-status", str(status)),), _END_STREAM)

    def reset(self, stream: int, error: int = INTERNAL_ERROR) -> None:
        """Reset one stream."""
        self.send(RST_STREAM, 0, stream, error.to_bytes(4))

    def slam(self) -> None:
        """Reset the connection."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def raw(self, data: bytes) -> None:
        """Send what is no HTTP/2."""
        self._sock.sendall(data)

    def _send_headers(self, stream: int, entries: tuple[tuple[str, str], ...], flags: int) -> None:
        # HPACK: literals without indexing, of names and values shorter than 127 bytes.
        block = b"".join(
            b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
            for name, value in entries
        )
        self.send(HEADERS, _END_HEADERS | flags, stream, block)

    def _read(self, length: int) -> bytes | None:
        data = b""
        while len(data) < length:
            part = self._sock.recv(length - len(data))
            if not part:
                return None
            data += part
        return data


Script = Callable[[Connection], None]


class Peer:
    """Listens on a free port; a context manager."""

    def __init__(self, script: Script, *, receive_buffer: int | None = None) -> None:
        self._script = script
        self._over = threading.Event()
        self._listener = socket.socket()
        if receive_buffer is not None:
            # Inherited by what it accepts: the kernel takes no more than this for a peer that does not read.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self._changed:
            return len(self._sockets)

    def wait_for_connections(self, count: int, timeout: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._sockets) >= count, timeout), "nobody connected"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            sockets = tuple(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in tuple(self._threads):
            thread.join(10)
        for sock in sockets:
            sock.close()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._sockets.append(sock)
                self._changed.notify_all()
            self._start(lambda sock=sock: self._play(sock))  # type: ignore[misc]

    def _play(self, sock: socket.socket) -> None:
        with suppress(OSError):
            self._script(Connection(sock, self._over))


def stops_reading(connection: Connection) -> None:
    """Complete the handshake, then never read again."""
    connection.greet()
    connection.over.wait(60)


def closed_window(connection: Connection) -> None:
    """Read everything and allow no byte of any message: flow control's zero window."""
    connection.greet((INITIAL_WINDOW_SIZE, 0))
    for _ in connection.frames():
        pass


def mute(connection: Connection) -> None:
    """Accept, and say nothing at all."""
    connection.over.wait(60)


def garbage(connection: Connection) -> None:
    connection.raw(b"220 mail.example ESMTP\r\n" * 10)
    connection.over.wait(60)


def at_each_call(act: Callable[[Connection, int], None]) -> Script:
    """Return a script that does ``act`` when the headers of a call arrive."""

    def play(connection: Connection) -> None:
        connection.greet()
        for frame in connection.frames():
            if frame.kind == HEADERS:
                act(connection, frame.stream)

    return play


def hang(connection: Connection, stream: int) -> None:
    """Take a call and never answer it."""


def reset_before_headers(connection: Connection, stream: int) -> None:
    connection.reset(stream)


def slam_before_headers(connection: Connection, stream: int) -> None:
    connection.slam()


def reset_in_the_middle(connection: Connection, stream: int) -> None:
    connection.headers(stream)
    connection.message(stream, b"one")
    connection.reset(stream)


def slam_in_the_middle(connection: Connection, stream: int) -> None:
    connection.headers(stream)
    connection.message(stream, b"one")
    connection.slam()


def reset_after_trailers(connection: Connection, stream: int) -> None:
    connection.headers(stream)
    connection.message(stream, b"one")
    connection.trailers(stream)
    # What HTTP/2 asks of a server that has no use for the rest of the request.
    connection.reset(stream, NO_ERROR)


def slam_after_trailers(connection: Connection, stream: int) -> None:
    connection.headers(stream)
    connection.message(stream, b"one")
    connection.trailers(stream)
    connection.slam()


@contextmanager
def peer(script: Script, **options: int) -> Iterator[str]:
    """Run a peer and give its address."""
    with Peer(script, **options) as running:
        yield running.address


@contextmanager
def stopped_peer() -> Iterator[str]:
    """A peer that stops reading, with buffers so small that the sender feels it at once."""
    with Peer(stops_reading, receive_buffer=_TINY_BUFFER) as running:
        yield running.address


@contextmanager
def refused() -> Iterator[str]:
    """An address where nobody listens, and nobody else can."""
    with contextlib.closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """A listener with a full backlog: the kernel drops every further SYN, and nobody ever hears why."""
    with ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        connected = True
        while connected:
            filler = stack.enter_context(contextlib.closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            connected = bool(select.select([], [filler], [], 0.1)[1])
        yield f"127.0.0.1:{listener.getsockname()[1]}"
