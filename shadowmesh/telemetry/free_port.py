"""Whether a port is free at every address that a name has."""

from __future__ import annotations

import errno
import socket
from typing import Any

# gRPC takes both, whatever the machine's hosts file says.
_LOOPBACKS = {"localhost": ("127.0.0.1", "::1")}


def free_address(listen: str) -> tuple[socket.AddressFamily, Any]:
    """
    Return the first address behind ``host:port``, for a socket, once all of them are known to be free.

    A name may have several. gRPC is content with those that it gets, and who comes by the others would be another
    server's.

    Raises:
        OSError: somebody listens on one, or none is ours to use.
    """
    host, _, port = listen.rpartition(":")
    free: list[tuple[socket.AddressFamily, Any]] = []
    problem = OSError("no such address")
    for family, address in addresses(host, int(port)):
        try:
            free.append((family, _bound(socket.socket(family), address)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            # Of IPv6, say, on a machine without it.
            problem = error
    if not free:
        raise problem
    return free[0]


def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """
    Return what sockets call the addresses of a host to listen on; an empty one is every address.

    Raises:
        OSError: it has none.
    """
    try:
        return [
            (family, address)
            for name in _LOOPBACKS.get(host, (host.strip("[]") or None,))
            for family, _, _, _, address in socket.getaddrinfo(
                name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        ]
    except UnicodeError as error:
        raise OSError("no name of a host") from error


def _bound(trial: socket.socket, address: Any) -> Any:
    with trial:
        # As gRPC does; without it a connection that has just ended would keep the port for a minute.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        trial.listen(1)
        return trial.getsockname()
