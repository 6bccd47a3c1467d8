"""
What the captured outputs of two legs show beside each other; content goes in and none comes out.

Where they begin to differ is true however the legs ended. All else needs both texts whole: of legs that succeeded, not
cut, and not longer than :data:`MOST_CHARACTERS`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from shadowmesh.compare.comparison import succeeded
from shadowmesh.compare.divergence import Output, output_of, outputs_match
from shadowmesh.compare.guards import Flags, guards, length
from shadowmesh.compare.similarity import Similarity
from shadowmesh.model import Leg
from shadowmesh.names import GEN_AI_OUTPUT_MESSAGES

MOST_CHARACTERS = 262_144
"""Of a text; as much as ``experiments[].content_limit`` may ask for."""


class TextComparison(NamedTuple):
    """
    What two outputs showed; ``None`` is unknown.

    Args:
        similarity: 0 to 1.
        divergence_at: characters they have in common before they differ; ``None`` where they are equal, too.
        divergence_share: what part of the shorter text these are, 0 to 1.
        guards: see :mod:`~shadowmesh.compare.guards`.
    """

    similarity: float | None = None
    divergence_at: int | None = None
    divergence_share: float | None = None
    equal: bool | None = None
    guards: Flags = {}  # noqa: RUF012 - never written to


def captured_output(leg: Leg, messages: str | None, truncated: Sequence[str]) -> Output | None:
    """
    Return what a leg answered; ``None`` where nobody knows, such as messages of another form.

    Args:
        messages: its ``gen_ai.output.messages`` as JSON, ``None`` where the capture had none.
        truncated: which of the captured attributes do not say all there was.
    """
    whole = succeeded(leg) and GEN_AI_OUTPUT_MESSAGES not in truncated
    if messages is None:
        # A leg without an answer has no messages; whoever has one and none either captures no answers.
        return Output("") if whole and leg.message_count == 0 else None
    try:
        output = output_of(json.loads(messages), whole=whole)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if len(output.text) > MOST_CHARACTERS:
        return Output(output.text[:MOST_CHARACTERS], whole=False)
    return output


def compare_texts(live: tuple[Leg, Output], shadow: tuple[Leg, Output], similarity: Similarity) -> TextComparison:
    """Return what two legs and their outputs show; never raises."""
    (live_leg, said), (shadow_leg, shadow_said) = live, shadow
    if not (said.text or shadow_said.text):
        # What has no text on either side may have said everything in another way.
        return TextComparison()
    equal, divergence = outputs_match(said, shadow_said)
    at, share = (None, None) if divergence is None else (divergence.at, divergence.share)
    if not (said.whole and shadow_said.whole):
        return TextComparison(None, at, share, equal)
    flags = guards(said.text, shadow_said.text)
    flags |= length(live_leg.fields.finish_reasons, shadow_leg.fields.finish_reasons)
    alike = 1.0 if equal else similarity(said.text, shadow_said.text)
    return TextComparison(alike, at, share, equal, flags)
