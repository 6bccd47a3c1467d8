"""What inbound metadata may travel to a shadow: an allow-list, and a list that no allow-list can open."""

from __future__ import annotations

from collections.abc import Iterable

from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_PAIR_ID, META_ROLE, META_TRACEPARENT, META_TRACESTATE

_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "x-api-key",
                      "x-goog-api-key", "x-auth-token", "x-access-token", "x-forwarded-access-token",
                      "x-amz-security-token", "x-goog-iam-authorization-token"})  # fmt: skip
# The transport's own keys, and those we write ourselves.
_NEVER = frozenset({"te", "content-type", "user-agent", META_ROLE, META_PAIR_ID, META_INSTANCE, META_TRACEPARENT,
                    META_TRACESTATE})  # fmt: skip


def refuse_secret(key: str) -> None:
    """Raise ``ValueError`` for an allow-list entry that could carry a credential to a shadow."""
    lowered = key.lower()
    if lowered in _SECRETS:
        raise ValueError(f"{key!r} is a credential and never travels to a shadow")
    if not lowered.rstrip("*") or "*" in lowered[:-1]:
        raise ValueError(f"{key!r} is neither a key nor a prefix followed by *")


class AllowList:
    """Filters metadata by exact keys and prefixes; order, duplicates and ``-bin`` values survive."""

    def __init__(self, keys: Iterable[str]) -> None:
        entries = [key.lower() for key in keys]
        self._exact = frozenset(key for key in entries if not key.endswith("*"))
        self._prefixes = tuple(key[:-1] for key in entries if key.endswith("*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes)

    def filter(self, metadata: Metadata) -> Metadata:
        """Return the entries that may travel."""
        return tuple((key, value) for key, value in metadata if self._allows(key.lower()))

    def _allows(self, key: str) -> bool:
        if key in _SECRETS or key in _NEVER or key.startswith("grpc-"):
            return False
        return key in self._exact or key.startswith(self._prefixes)
