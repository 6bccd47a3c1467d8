"""How fast a stream's tokens came, once they came."""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh.model import Leg


class Pace(NamedTuple):
    """Seconds for each output token after the first, and output tokens a second."""

    per_token: float
    rate: float


def pace_of(leg: Leg) -> Pace | None:
    """
    Return the pace of a leg; ``None`` for what is no stream, and for one of less than two tokens.

    What is generated after the first chunk takes ``duration − time_to_first_chunk``; over tokens less the first it is
    ``gen_ai.server.time_per_output_token`` of semantic conventions 1.41.1, ``docs/gen-ai/gen-ai-metrics.md``.
    """
    first, tokens = leg.time_to_first_chunk, leg.fields.output_tokens
    if first is None or tokens is None or tokens < 2:
        return None
    generating = leg.duration - first
    return Pace(generating / (tokens - 1), tokens / generating) if generating > 0 else None
