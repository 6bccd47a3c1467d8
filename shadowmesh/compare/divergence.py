"""Where two outputs begin to differ."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Divergence(NamedTuple):
    """
    Where two texts begin to differ: ``at`` is the number of characters (code points) that are the same before that,
    and ``share`` what part of the shorter text they are, 0 to 1.
    """

    at: int
    share: float


class Output(NamedTuple):
    """The captured text of one leg; not ``whole`` is one that was cut, or whose stream was."""

    text: str
    whole: bool = True


def output_of(messages: Iterable[Mapping[str, Any]], *, whole: bool) -> Output:
    """
    Return the output that a leg's ``gen_ai.output.messages`` hold: texts, and tool calls without their ids, which no
    two servers have in common.

    Args:
        whole: whether the leg was complete and its output is not named among what was truncated.
    """
    said = []
    for message in messages:
        for part in message["parts"]:
            said += [_written(part[key]) for key in ("content", "name", "arguments") if key in part]
    return Output("\n".join(said), whole)


def _written(value: Any) -> str:
    """Return what may be text or any JSON, such as the arguments of a call, always in the same way."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def first_divergence(one: str, other: str) -> Divergence | None:
    """
    Return where two texts begin to differ, ``None`` where they are equal; the order of the two changes nothing.

    A text that only goes on where the other one ends differs there, at a share of 1. Nothing is in common with an empty
    text: a share of 0.
    """
    if one == other:
        return None
    shorter = min(len(one), len(other))
    # Beginnings are compared and not characters: that is the quickest Python has.
    at = bisect_left(range(1, shorter + 1), 1, key=lambda length: one[:length] != other[:length])
    return Divergence(at=at, share=at / shorter if shorter else 0.0)


def outputs_match(live: Output, shadow: Output) -> tuple[bool | None, Divergence | None]:
    """
    Return whether two outputs are equal, and where they begin not to be.

    Where one is not whole, that it goes on in the other one shows nothing, and neither does that both are the same.
    """
    divergence = first_divergence(live.text, shadow.text)
    if live.whole and shadow.whole:
        return divergence is None, divergence
    ends = [len(output.text) for output in (live, shadow) if not output.whole]
    if divergence is None or divergence.at >= min(ends):
        return None, None
    return False, divergence
