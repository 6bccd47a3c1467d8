"""What captured texts showed, as columns for a verdict, each figure beside the one it is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from shadowmesh.verdict.facts import Floats, TextColumns


class Control(NamedTuple):
    """What is stored of the control of an exchange: its leg, and what its captured text showed beside the live one."""

    leg: Sequence[Any]
    similarity: float | None
    guards: str | None


def text_columns(by_name: Mapping[str, Sequence[Any]], controls: Mapping[int, Control]) -> TextColumns | None:
    """
    Return the columns of texts; ``None`` where no row has any.

    Args:
        by_name: the columns of rows, by name.
        controls: what there is of controls, by the place of the row they are beside.
    """
    similarity, guards = by_name["similarity"], by_name["guards"]
    if not (any(guards) or any(one is not None for one in similarity)):
        return None
    flags = [_flags(text) for text in guards]
    beside = [controls.get(at) for at in range(len(guards))]
    floors = [{} if one is None else _flags(one.guards) for one in beside]
    return TextColumns(
        similarity=floats(similarity),
        floor=floats([None if one is None else one.similarity for one in beside]),
        guards={
            name: (
                floats([each[name][1] if name in each else None for each in flags]),
                floats([_compared_with(name, each, floor) for each, floor in zip(flags, floors, strict=True)]),
            )
            for name in sorted({name for each in flags for name in each})
        },
    )


_Flags = Mapping[str, tuple[bool | None, bool | None]]


def _compared_with(name: str, flags: _Flags, floor: _Flags) -> bool | None:
    """Return what a guard says of the live text; where it takes two to say anything, of the control's beside it."""
    if name not in flags:
        return None
    live, _ = flags[name]
    return live if live is not None else floor.get(name, (None, None))[1]


@lru_cache(maxsize=1024)
def _flags(text: str | None) -> _Flags:
    if text is None:
        return {}
    return {name: (live, shadow) for name, (live, shadow) in json.loads(text).items()}


def floats(values: Sequence[Any]) -> Floats:
    """Return values as numbers; ``None`` is NaN."""
    return np.array(values, dtype=np.float64)
