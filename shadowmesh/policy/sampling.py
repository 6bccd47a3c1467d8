"""
One hash position per exchange and experiment.

A target with rate ``r`` takes every exchange whose position is below ``r``, so rates nest: whatever the target of
1 % sees, the target of 10 % sees too, and a triple (live, candidate, control) shares its exchange. The position
depends on the experiment and the key only: equal in every replica and after a restart.
"""

from __future__ import annotations

from hashlib import blake2b

# As many bits as a float holds exactly: with more, the highest places would be rounded up to 1.
_BITS = 53


def position(salt: bytes, key: bytes) -> float:
    """Return the place of ``key`` in [0, 1); ``salt`` (at most 64 bytes) keeps experiments independent."""
    return (int.from_bytes(blake2b(key, digest_size=8, key=salt).digest(), "big") >> (64 - _BITS)) / (1 << _BITS)


def salt_of(experiment: str) -> bytes:
    """Return the salt of an experiment's mirror sampling; canary choices must use another purpose."""
    return blake2b(experiment.encode(), digest_size=32, person=b"shadowmesh:mirr").digest()
