"""From the full name of a method to the experiment that covers it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

Plan = TypeVar("Plan")

_PATTERN = re.compile(r"\*|/[A-Za-z_][\w.]*(?:\.\*|/\*|/[A-Za-z_]\w*)")
# Health checks and reflection are asked constantly and say nothing about a model.
_OWN_SERVICES = "/grpc."
# Method names come from clients where a server has a catch-all handler, so the cache must not grow with them.
_CACHE_LIMIT = 4096


def check_pattern(pattern: str) -> None:
    """Raise ``ValueError`` unless ``pattern`` is a full method name or one of the wildcards."""
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(f"{pattern!r} is neither /pkg.Service/Method, /pkg.Service/*, /pkg.* nor *")


def matches(pattern: str, method: str) -> bool:
    """Return whether ``pattern`` covers ``method``; only a pattern that names ``grpc`` covers gRPC's own services."""
    if not pattern.endswith("*"):
        return pattern == method
    prefix = pattern[:-1]
    if method.startswith(_OWN_SERVICES) and not prefix.startswith(_OWN_SERVICES):
        return False
    return method.startswith(prefix)


class Routes(Generic[Plan]):
    """Looks a method up in patterns, first match in configured order."""

    def __init__(self, entries: Iterable[tuple[tuple[str, ...], Plan]]) -> None:
        self._entries = tuple(entries)
        self._found: dict[str, Plan | None] = {}

    def find(self, method: str) -> Plan | None:
        """Return the plan of the first pattern that covers ``method``."""
        try:
            return self._found[method]
        except KeyError:
            plan = self._search(method)
            if len(self._found) < _CACHE_LIMIT:
                self._found[method] = plan
            return plan

    def _search(self, method: str) -> Plan | None:
        for patterns, plan in self._entries:
            if any(matches(pattern, method) for pattern in patterns):
                return plan
        return None
