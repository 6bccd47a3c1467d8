"""
The marker of shadow calls: when a call that bears one is not mirrored.

A shadow says of itself that it is one (``x-shadowmesh-role: shadow``) and through whose hands it has gone: the instance
id of each mesh that copied it, oldest first. Two rules, one of them without exception:

1. A call that bears our own instance id, or has gone through more than :data:`MOST_HOPS` meshes, is never mirrored: no
   loop through a control target, nor through two meshes that mirror to each other, nor through the processes of a
   server that knows each of them by another id.
2. A call with a marker is not mirrored where markers are trusted, which is the default (``trust_marker``). Anybody can
   write one, and by default it is believed all the same: a forged marker keeps the forger's own calls out of the
   comparison, which the funnel shows (``disabled``, ``marked``); a true one that is not believed doubles the load, and
   what it does in the world. Where strangers call and coverage must not be theirs to choose, set ``trust_marker:
   false``: markers are then not honoured, and rule 1 alone ends what would go round.

Trusted or not, the keys of a marker are never passed on as they came: no allow-list lets them through, and a shadow
gets a marker of our own making.
"""

from __future__ import annotations

from collections.abc import Iterable

from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_ROLE, DropReason, Role

MOST_HOPS = 4
"""Meshes that may have copied a call before it is left alone whatever the configuration says."""
_LONGEST = 256

TELLING = frozenset((META_ROLE, META_INSTANCE))
"""The keys :func:`refusal` looks at: without any of them there is nothing to ask it."""


def refusal(metadata: Metadata, *, own: str, trusted: bool) -> str:
    """
    Return the drop reason for a call that is not to be mirrored because of its marker, else an empty string.

    Args:
        own: the instance id our own shadows bear; empty while this process has none, and then has sent none either.
        trusted: whether a marker is believed, whoever wrote it.
    """
    marked = any(key == META_ROLE and value == Role.SHADOW for key, value in metadata)
    seen = instances(metadata)
    if (trusted and marked) or (own and own in seen) or len(seen) > MOST_HOPS:
        return DropReason.MARKED
    return ""


def instances(metadata: Metadata) -> list[str]:
    """Return the instance ids that a call bears, oldest first; a proxy may have joined them with commas."""
    return [
        one
        for key, value in metadata
        if key == META_INSTANCE and isinstance(value, str)
        for part in value.split(",")
        if (one := part.strip())
    ]


def chain(seen: Iterable[str], own: str) -> Metadata:
    """Return the ids a shadow bears: those its call came with, and ours."""
    # Cut rather than left out: each counts as a hop, whatever it says.
    known = [one[:_LONGEST] for one in seen]
    return tuple((META_INSTANCE, one) for one in (*known[:MOST_HOPS], own))
