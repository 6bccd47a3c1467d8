"""
W3C trace context in gRPC metadata.

Only ``traceparent`` and ``tracestate`` are touched. The sampled flag passed on is the caller's, because a mirror
that sets its own oversamples everything behind it (envoyproxy/envoy#37766).

Format: https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"{_KEY}={_VALUE}")
_MOST_MEMBERS = 32

SAMPLED = 1


class Remote(NamedTuple):
    """The caller's span: ids as integers, trace flags, and ``tracestate`` as it came."""

    trace_id: int
    span_id: int
    flags: int
    state: str


def parse(traceparent: str, tracestate: str = "") -> Remote | None:
    """
    Return the caller's span, or ``None`` where the header is not one (a bad header starts a new trace). A bad
    ``tracestate`` is let go, as W3C asks: OpenTelemetry would log each span that has one.
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if not trace_id or not span_id:
        return None
    return Remote(trace_id, span_id, int(match[4], 16), tracestate if _well_formed(tracestate) else "")


def _well_formed(tracestate: str) -> bool:
    members = [member for part in tracestate.split(",") if (member := part.strip(" \t"))]
    return len(members) <= _MOST_MEMBERS and all(map(_MEMBER.fullmatch, members))


def traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """Return the header that makes ``span_id`` the parent of whoever receives it."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def new_trace_id() -> int:
    """Return a random trace id, never 0."""
    return random.getrandbits(128) or 1


def new_span_id() -> int:
    """Return a random span id, never 0. The ``random`` module seeds itself anew in a forked child."""
    return random.getrandbits(64) or 1
