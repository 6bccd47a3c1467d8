"""A name server on loopback, of one name: a real one, because gRPC asks it and no resolver of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HEADER = 12
_A = 1


@contextmanager
def name_server(*addresses: str) -> Iterator[str]:
    """Answer every name with these IPv4 addresses; gives the authority, ``host:port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(server, addresses), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            # What is no question ends it.
            server.sendto(b"", ("127.0.0.1", port))
            thread.join(10)


def _serve(server: socket.socket, addresses: tuple[str, ...]) -> None:
    while True:
        asked, whom = server.recvfrom(4096)
        if not asked:
            return
        server.sendto(_answer(asked, addresses), whom)


def _answer(asked: bytes, addresses: tuple[str, ...]) -> bytes:
    """Return the answer to a query with one question (RFC 1035, 4.1); there are no records of other kinds than A."""
    end = asked.index(b"\0", _HEADER) + 5
    kind = int.from_bytes(asked[end - 4 : end - 2])
    found = addresses if kind == _A else ()
    flags, counts = b"\x81\x80", (1, len(found), 0, 0)
    head = asked[:2] + flags + b"".join(count.to_bytes(2) for count in counts) + asked[_HEADER:end]
    # A pointer to the question's name, A, IN, a second to live, four bytes.
    record = b"\xc0\x0c" + b"\x00\x01" * 2 + (1).to_bytes(4) + b"\x00\x04"
    return head + b"".join(record + socket.inet_aton(address) for address in found)
