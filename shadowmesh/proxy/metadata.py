"""What of metadata goes through: everything that is not the connection's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Said anew by whoever sends: the connection to the live server is ours, and so are its headers.
_HOP = frozenset({"user-agent", "content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "host"})
_ANSWER = frozenset({"content-type", "grpc-encoding", "grpc-accept-encoding", "grpc-status", "grpc-message"})

Entries = tuple[tuple[str, str | bytes], ...]


def inbound(metadata: Iterable[Any] | None) -> Entries:
    """Return what the live server is to see of a caller's metadata: order, duplicates and ``-bin`` values kept."""
    return tuple((key, value) for key, value in metadata or () if key not in _HOP)


def outbound(metadata: Iterable[Any] | None) -> Entries:
    """Return what the caller is to see of the live server's initial or trailing metadata."""
    return tuple((key, value) for key, value in metadata or () if key not in _ANSWER)
