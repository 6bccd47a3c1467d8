"""
What inbound metadata may travel to a shadow: an allow-list, and what no allow-list can open.

Never, whatever is allowed:

- credentials. A key is one if, split at ``-``, ``_`` and ``.`` and without a final ``-bin``, one of its words is in
  ``_ALWAYS`` (``authorization``, ``cookie``, ``secret``, …), its last word in ``_LAST`` (``x-user-token``), it ends as
  one of the kinds of ``_KEYS`` (``x-api-key``, but not ``idempotency-key``), or it is one of the few in ``_OTHERS``;
- what the configuration lists under ``never``: the headers that name a tenant, say;
- the transport's own keys, and ours.

Whoever names a credential is refused at start, so that nobody believes it travels. A target gets credentials of its
own, see :mod:`shadowmesh.policy.credentials`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_PAIR_ID, META_ROLE, META_TARGET, META_TRACEPARENT, META_TRACESTATE

_ALWAYS = frozenset({"authorization", "cookie", "cookie2", "secret", "secrets", "password", "passwd", "passphrase",
                     "credential", "credentials", "jwt", "bearer", "apikey"})  # fmt: skip
_LAST = frozenset({"token", "accesstoken", "authtoken", "idtoken", "refreshtoken", "sessiontoken", "auth", "assertion",
                   "signature", "hmac"})  # fmt: skip
_KEYS = frozenset({"api", "access", "account", "auth", "encryption", "functions", "license", "master", "private",
                   "secret", "service", "session", "shared", "signing", "subscription"})  # fmt: skip
# Claims and certificates of the caller, as Azure, AWS and Envoy write them.
_OTHERS = frozenset({"x-ms-client-principal", "x-amzn-oidc-data", "x-forwarded-client-cert", "authentication"})
# The transport's own keys, and those we write ourselves.
_NEVER = frozenset({"te", "content-type", "user-agent", META_ROLE, META_PAIR_ID, META_INSTANCE, META_TARGET,
                    META_TRACEPARENT, META_TRACESTATE})  # fmt: skip
_SEPARATORS = re.compile(r"[-_.]+")
_ENTRY = re.compile(r"[0-9a-z_.-]+\*?")
# Keys are looked at once each; clients choose them, so what is remembered has an end.
_MOST_KEYS = 4096


def is_credential(key: str) -> bool:
    """Return whether a key of this name, in lower case, is taken for a credential."""
    stem = key.removesuffix("-bin")
    words = [word for word in _SEPARATORS.split(stem) if word]
    if not words:
        return False
    if stem in _OTHERS or words[-1] in _LAST or not _ALWAYS.isdisjoint(words):
        return True
    return words[-1] == "key" and len(words) > 1 and words[-2] in _KEYS


def check_entry(entry: str) -> None:
    """Raise ``ValueError`` unless ``entry`` is a metadata key, or the beginning of one followed by ``*``."""
    if _ENTRY.fullmatch(entry.lower()) is None:
        raise ValueError(f"{entry!r} is neither a key nor a prefix followed by *")


def refuse_secret(entry: str) -> None:
    """Raise ``ValueError`` for an allow-list entry that is no entry, or that names a credential."""
    lowered = entry.lower()
    if is_credential(lowered) if not lowered.endswith("*") else _begins_a_credential(lowered[:-1]):
        raise ValueError(f"{entry!r} is a credential and never travels to a shadow")
    check_entry(entry)


def conflicts(allowed: Iterable[str], never: Iterable[str]) -> list[str]:
    """Return the entries of an allow-list of which nothing is left by a list of what never travels."""
    denied = _Entries(never)
    return [entry for entry in allowed if denied.cover(entry)]


class AllowList:
    """Filters metadata by exact keys and prefixes; order, duplicates and ``-bin`` values survive."""

    def __init__(self, keys: Iterable[str], *, never: Iterable[str] = (), passes_instances: bool = False) -> None:
        """
        Compile the list.

        Args:
            never: keys and prefixes that are filtered whatever ``keys`` say.
            passes_instances: whether the instance ids of a call's marker go through, on their way from the live side
                to the engine and no further; see :mod:`shadowmesh.policy.marker`.
        """
        self._allowed = _Entries(keys)
        self._denied = _Entries(never)
        self._passes_instances = passes_instances
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._allowed) or self._passes_instances

    def filter(self, metadata: Metadata) -> Metadata:
        """Return the entries that may travel."""
        return tuple([entry for entry in metadata if self._allows(entry[0])])  # the list is quicker

    def _allows(self, key: str) -> bool:
        known = self._known.get(key)
        if known is None:
            known = self._judge(key.lower())
            if len(self._known) < _MOST_KEYS:
                self._known[key] = known
        return known

    def _judge(self, key: str) -> bool:
        if key == META_INSTANCE:
            return self._passes_instances
        if key in _NEVER or key.startswith("grpc-") or key in self._denied or is_credential(key):
            return False
        return key in self._allowed


class _Entries:
    """Exact keys, and prefixes."""

    def __init__(self, entries: Iterable[str]) -> None:
        lowered = [entry.lower() for entry in entries]
        self._exact = frozenset(entry for entry in lowered if not entry.endswith("*"))
        self._prefixes = tuple(entry[:-1] for entry in lowered if entry.endswith("*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes)

    def __contains__(self, key: str) -> bool:
        return key in self._exact or key.startswith(self._prefixes)

    def cover(self, entry: str) -> bool:
        """Return whether every key that ``entry`` means is among these."""
        lowered = entry.lower()
        return lowered.removesuffix("*").startswith(self._prefixes) if lowered.endswith("*") else lowered in self


def _begins_a_credential(prefix: str) -> bool:
    """Whether everything with this prefix is a credential; ``auth*`` is not, because of ``author``."""
    words = [word for word in _SEPARATORS.split(prefix) if word]
    return not _ALWAYS.isdisjoint(words) or prefix in _OTHERS
