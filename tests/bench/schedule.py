"""In which order the modes of a round are visited, and which windows of the bare server each is compared with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bench.modes import AGAIN, REFERENCE, Mode
from bench.window import Sample


@dataclass(frozen=True, slots=True)
class Visit:
    """One window and where it belongs."""

    round: int
    mode: str
    sample: Sample


def order(modes: Sequence[Mode], bare_every: int, passes: int, chance: random.Random) -> list[Mode]:
    """
    Return one round: in every pass the modes in random order, the bare server before, between and after them.

    So each has a bare window close by on both sides, and what the machine does for seconds hits both.
    """
    (bare,) = (mode for mode in modes if mode.name == REFERENCE)
    others = [mode for mode in modes if mode is not bare]
    visits = [bare]
    for _ in range(passes):
        shuffled = chance.sample(others, len(others))
        for first in range(0, len(shuffled), bare_every):
            visits += [*shuffled[first : first + bare_every], bare]
    return visits


def together(modes: Sequence[Mode], chance: random.Random) -> list[list[Mode]]:
    """Return the modes in random order, each with the bare servers that are measured at the same time."""
    bare = [mode for mode in modes if mode.name in (REFERENCE, AGAIN)]
    others = [mode for mode in modes if mode not in bare]
    return [[*bare, mode] for mode in chance.sample(others, len(others))]


def pairs(visits: Sequence[Visit], mode: str) -> list[tuple[int, Sample, tuple[Sample, ...]]]:
    """
    Return every window of a mode with its round and the bare windows nearest before and after it in that round.

    A window of the bare server is compared with itself.
    """
    found = []
    for place, visit in enumerate(visits):
        if visit.mode == mode:
            before, after = visits[place::-1], visits[place:]
            near = [_first_bare(side, visit.round) for side in (before, after)]
            found.append((visit.round, visit.sample, tuple(sample for sample in near if sample is not None)))
    return found


def _first_bare(visits: Sequence[Visit], number: int) -> Sample | None:
    return next((v.sample for v in visits if v.mode == REFERENCE and v.round == number), None)
