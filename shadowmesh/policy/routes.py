"""
From the full name of a method, and what the call says, to the experiments that may take it.

The first experiment in configured order takes a call: the first whose methods cover it and whose conditions hold.
Where one asks for the requested model, the live gate cannot tell yet; it passes on everybody up to the first that asks
nothing of the request, and the mirror gate picks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from shadowmesh.model import Metadata
from shadowmesh.policy.conditions import ALWAYS, Conditions

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


class Route(NamedTuple, Generic[Plan]):
    """Leads the calls of methods that some pattern covers to ``plan``, when the conditions hold."""

    patterns: tuple[str, ...]
    plan: Plan
    when: Conditions = ALWAYS


class _Found(NamedTuple, Generic[Plan]):
    """What a method alone decides: its routes, and whom they lead to if none of them asks for metadata."""

    routes: tuple[Route[Plan], ...]
    always: tuple[Plan, ...] | None


class Routes(Generic[Plan]):
    """Looks calls up, first match in configured order."""

    def __init__(self, entries: Iterable[Route[Plan] | tuple[tuple[str, ...], Plan]]) -> None:
        """Compile the routes; of a pair the conditions are none."""
        self._routes = tuple(Route(*entry) for entry in entries)
        self._found: dict[str, _Found[Plan]] = {}

    def find(self, method: str) -> Plan | None:
        """Return the plan of the first route that covers ``method``, whatever its conditions."""
        routes = self._look_up(method).routes
        return routes[0].plan if routes else None

    def choose(self, method: str, metadata: Metadata) -> tuple[Plan, ...]:
        """
        Return whose call this may be, in order.

        All but the last ask for the model, and the last may. With one that asks nothing of the request, or with none,
        the matter is settled here.
        """
        found = self._found.get(method) or self._look_up(method)
        routes, always = found
        if always is not None:
            return always
        plans = []
        for _, plan, when in routes:
            if when.hold(metadata):
                plans.append(plan)
                if not when.reads_model:
                    break
        return tuple(plans)

    def _look_up(self, method: str) -> _Found[Plan]:
        try:
            return self._found[method]
        except KeyError:
            found = self._search(method)
            if len(self._found) < _CACHE_LIMIT:
                self._found[method] = found
            return found

    def _search(self, method: str) -> _Found[Plan]:
        routes: list[Route[Plan]] = []
        for route in self._routes:
            if any(matches(pattern, method) for pattern in route.patterns):
                routes.append(route)
                if not (route.when.reads_metadata or route.when.reads_model):
                    # It takes whatever comes to it, so nothing gets any further.
                    break
        always = None if any(route.when.reads_metadata for route in routes) else tuple(route.plan for route in routes)
        return _Found(tuple(routes), always)
