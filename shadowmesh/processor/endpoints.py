"""What an endpoint of a user's means: its gRPC target, whether it is this very processor, whether it is there."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from shadowmesh.errors import StartError

_DEFAULT_PORT = 4317
_CONNECT_SECONDS = 1.0


def target_of(endpoint: str) -> str:
    """Return ``host:port`` (or a gRPC target such as ``unix:…``) of an OTLP endpoint."""
    return urlsplit(endpoint).netloc or endpoint if "://" in endpoint else endpoint


def refuse_self(endpoint: str, port: int) -> None:
    """
    Refuse an endpoint that is a port of this machine we listen on ourselves.

    All spellings count, whatever address we listen on: whoever writes our port beside a name of this
    machine means us, and the result would be a loop.

    Raises:
        StartError: the endpoint is this processor.
    """
    host, endpoint_port = _host_and_port(endpoint)
    if endpoint_port == port and _is_this_machine(host):
        raise StartError(
            f"export endpoint {endpoint} is this processor itself (it listens on port {port}):"
            " name the Collector or backend instead"
        )


async def is_there(endpoint: str) -> bool:
    """Return whether somebody takes connections at an endpoint; of what is no host and port nobody knows otherwise."""
    if target_of(endpoint).startswith("unix"):
        return True
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(*_host_and_port(endpoint))
    except (OSError, TimeoutError, UnicodeError):
        return False
    writer.close()
    return True


def port_of(address: str) -> int:
    """Return the port of an address to listen on."""
    return _host_and_port(address)[1]


def _host_and_port(endpoint: str) -> tuple[str, int]:
    target = target_of(endpoint)
    # gRPC's own forms: dns:///host:port, dns:host:port, ipv4:1.2.3.4:80, ipv6:[::1]:80.
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(scheme)
    target = target.rsplit("/", 1)[-1]
    parts = urlsplit(f"//{target}")
    try:
        return parts.hostname or "", _DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        return target, _DEFAULT_PORT


def _is_this_machine(host: str) -> bool:
    name = host.lower().rstrip(".")
    own = socket.gethostname().lower()
    if name in {"", "localhost", "ip6-localhost", own, own.split(".", 1)[0]} or name.endswith(".localhost"):
        return True
    return any(_is_own(address) for address in _addresses(name))


def _addresses(name: str) -> list[str]:
    """Return what the resolver makes of a name, or of an address in one of its odd spellings (``127.1``)."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)]
    except (OSError, UnicodeError):
        return []


def _is_own(text: str) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or _is_bindable(str(address), address.version)


def _is_bindable(address: str, version: int) -> bool:
    """Return whether the address is one of this machine's, which is the same as being allowed to bind it."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
