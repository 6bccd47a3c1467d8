"""Whether the port to listen on is to be had, and whether it is the one we forward to."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from shadowmesh.errors import StartError
from shadowmesh.mirror.server_address import host_and_port
from shadowmesh.telemetry.free_port import addresses, free_address


def refuse_taken(listen: str) -> tuple[socket.AddressFamily, Any]:
    """
    Return the address that sockets listen on.

    Raises:
        StartError: somebody listens there, or it is not ours to use.
    """
    try:
        return free_address(listen)
    except OSError as error:
        raise StartError(f"proxy.listen: cannot listen on {listen}: {error.strerror or error}") from error


def refuse_itself(listen: str, port: int, live: str) -> None:
    """
    Refuse a live server that is the proxy: the first call would go round and round.

    The same port at another address of this machine is another server's.

    Args:
        port: where the proxy listens, which ``listen`` need not know.

    Raises:
        StartError: it is.
    """
    host, live_port = host_and_port(live)
    if live_port != port or host is None:
        return
    try:
        ours = {address[0] for _, address in addresses(listen.rpartition(":")[0], port)}
        theirs = {address[0] for _, address in addresses(host, port)}
    except OSError:
        # It may have an address later, and is another machine's then.
        return
    everywhere = any(ip_address(one.partition("%")[0]).is_unspecified for one in ours)
    if ours & theirs or (everywhere and any(map(_is_here, theirs))):
        raise StartError(f"proxy.live: {live} is the proxy itself, which listens there: name the server behind it")


def _is_here(address: str) -> bool:
    """Return whether an address is one of this machine's, which is the same as being allowed to bind it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
