"""Digests of what was said: equal ones show equal answers, or requests, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def digest_of(parts: Sequence[bytes], key: bytes) -> str:
    """Return the digest of parts, as hexadecimal digits; the key has at most 64 bytes."""
    digest = blake2b(digest_size=16, key=key)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
