"""The server of a target, as ``server.address`` and ``server.port`` name it."""

from __future__ import annotations

import re
from functools import lru_cache

# gRPC's name syntax: a scheme, and an authority between two slashes and one.
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|[a-z][a-z0-9+.-]*(?=://)):(?://[^/]*/)?")


@lru_cache(maxsize=256)
def host_and_port(address: str) -> tuple[str | None, int | None]:
    """Return the target as configured (rpc conventions: never the connection's peer), split where it has a port."""
    host, colon, port = _SCHEME.sub("", address, count=1).rpartition(":")
    if colon and port.isdecimal() and not host.endswith(":") and not address.startswith("unix"):
        return host.strip("[]") or None, int(port)
    return address, None
