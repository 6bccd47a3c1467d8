"""The criterion of similar outputs: against a limit, or against what live reaches when it is asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import grid, guard, legs, sessions
from shadowmesh.verdict.bets import evidence, interval
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Floats, Ints
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.means import interval_of, mean_of, minutes_of, variance_of
from shadowmesh.verdict.records import Gate, Reason
from shadowmesh.verdict.settings import SimilaritySettings

_SHARES = np.arange(grid.STEPS + 1) / grid.STEPS
_DIFFERENCES = np.arange(-grid.STEPS, grid.STEPS + 1) / grid.STEPS
_STEPS = np.arange(grid.STEPS + 1)


class Similarities(NamedTuple):
    """
    What a tally of similarities adds up to; sums of several ledgers are those of all.

    Args:
        ours: pairs by step of the shadow's similarity; ``with_floor`` of those with a floor, ``floors`` by step of it.
        least, most: pairs with a floor, by the least and the greatest that a similarity can exceed its share of the
            floor by, in steps from -1 to 1.
        exceeding: sum and sum of squares of that, in steps and not rounded.
    """

    ours: Floats
    with_floor: Floats
    floors: Floats
    least: Floats
    most: Floats
    exceeding: Floats

    @classmethod
    def of(cls, keys: Ints, counts: Ints, share: float) -> Self:
        """Return those of a tally, whose cells may be in any order and not summed up."""
        ours, pairs = keys // grid.FLOORS, counts.astype(np.float64)
        floor = keys - ours * grid.FLOORS
        all_ours = with_floor = _counted(ours, pairs)
        triple = floor != grid.NO_FLOOR
        if not triple.all():
            ours, floor, pairs = ours[triple], floor[triple], pairs[triple]
            with_floor = _counted(ours, pairs)
        # A whole step is given away on either side, so that rounding never speaks for what is to be shown.
        least = np.ceil(share * grid.above(_STEPS)).astype(np.int64) - grid.STEPS
        most = np.floor(share * _STEPS).astype(np.int64) - grid.STEPS
        exceeding = ours - (share * _STEPS)[floor]
        return cls(
            ours=all_ours,
            with_floor=with_floor,
            floors=_counted(floor, pairs),
            least=_counted(ours - least[floor], pairs, 2 * grid.STEPS + 1),
            most=_counted(grid.above(ours) - most[floor], pairs, 2 * grid.STEPS + 1),
            exceeding=np.array([np.einsum("i,i", exceeding, pairs), np.einsum("i,i,i", exceeding, exceeding, pairs)]),
        )


class Texts:
    """The similarities of many ledgers, each read once for all that is asked of it."""

    def __init__(self, settings: SimilaritySettings) -> None:
        self.settings = settings
        self._read: dict[Ledger, Similarities] = {}

    def of(self, ledgers: Sequence[Ledger]) -> Similarities:
        """Return the sums over these ledgers, of which there is at least one."""
        for ledger in ledgers:
            if ledger not in self._read:
                self._read[ledger] = Similarities.of(*ledger.tally("similarity").loose(), self.settings.limit)
        parts = zip(*(self._read[ledger] for ledger in ledgers), strict=True)
        return Similarities(*(np.sum(part, axis=0) for part in parts))


def similarity(ledgers: Sequence[Ledger], whole: Ledger, levels: Levels, *, texts: Texts) -> Question:
    """
    Ask whether outputs are similar enough; ``vs_floor`` counts exchanges that live, shadow and control answered.

    Args:
        ledgers: whose pairs are asked together; ``whole`` is the same merged, for sums over time. Where no text of
            theirs was compared, all of them are missing.
        texts: what was read of the ledgers already.
    """
    settings = texts.settings
    question = Question(name="similarity", gate=Gate.CRITERION, mode=settings.mode, limit=settings.limit)
    if not whole.tally("similarity").total():
        answered = int(whole.tally("states").dense(legs.STATES**2)[0])
        return replace(question, limit=None, obstacle=Reason.TEXT_MISSING if answered else None)
    seen = texts.of(ledgers)
    if settings.mode == "absolute":
        return _absolute(question, seen, whole, settings, levels)
    if not seen.floors.any():
        return replace(question, limit=None, obstacle=Reason.NO_CONTROL)
    return _against_floor(question, seen, whole, settings, levels)


def _against_floor(
    question: Question, seen: Similarities, whole: Ledger, settings: SimilaritySettings, levels: Levels
) -> Question:
    least, most = seen.least.astype(np.int64), seen.most.astype(np.int64)
    pairs, missing = int(seen.floors.sum()), int(whole.tally("texts").dense(2)[1])
    most[-1] += missing
    failing = evidence(_DIFFERENCES, most, 0.0, side=-1)
    if levels.only_failing and failing.log < log_threshold(levels.failing):
        return replace(question, failing=failing, pairs=pairs)
    known = mean_of(_DIFFERENCES, least)
    # Both outputs of an exchange may have been the longest, and the worst is that live's equalled each other.
    least[int(np.floor(-settings.limit * grid.STEPS)) + grid.STEPS] += missing
    mean, floor = mean_of(_SHARES, seen.with_floor), mean_of(_SHARES, seen.floors)
    sizes, sums = guard.series(whole, "blocks.floor.n", "blocks.floor.similarity")
    floors = guard.series(whole, "blocks.floor.n", "blocks.floor.floor")[1]
    limit, (total, squares) = settings.limit * floor, seen.exceeding
    variance = squares / pairs - (total / pairs) ** 2
    ends = interval_of(_DIFFERENCES, least, most, levels)
    return replace(
        question,
        limit=limit,
        margin=floor - limit,
        floor=floor,
        estimate=mean,
        interval=None if ends is None else (ends[0] + limit, ends[1] + limit),
        passing=evidence(_DIFFERENCES, least, 0.0, side=1),
        failing=failing,
        factor=max(
            guard.variance_factor(sizes, sums - settings.limit * floors, variance),
            sessions.factor(whole, "floor.n", "floor.similarity", variance, less=("floor.floor", settings.limit)),
        ),
        pairs=pairs + missing,
        missing=missing / (pairs + missing),
        blocks=minutes_of(whole, sizes),
        obstacle=Reason.TEXT_MISSING if mean_of(_DIFFERENCES, least) <= 0.0 < known else None,
    )


def _absolute(
    question: Question, seen: Similarities, whole: Ledger, settings: SimilaritySettings, levels: Levels
) -> Question:
    least = seen.ours.astype(np.int64)
    most = _one_step_up(seen.ours)
    pairs, states = int(least.sum()), whole.tally("states").dense(legs.STATES**2)
    # Captured texts belong to pairs that both legs have answered; the states' keys begin with that of two such legs.
    missing = max(0, int(states[0]) - pairs)
    known = mean_of(_SHARES, least)
    least[0] += missing
    most[-1] += missing
    estimate = known if pairs else None
    turning = Reason.TEXT_MISSING if mean_of(_SHARES, least) <= settings.limit < known else None
    reached = _one_step_up(seen.floors)
    best_of_live = interval(_SHARES, reached, reached, alpha=levels.passing) if reached.any() else None
    unreachable = best_of_live is not None and best_of_live[1] < settings.limit
    sizes, sums = guard.series(whole, "blocks.similarity.n", "blocks.similarity")
    variance = variance_of(_STEPS.astype(np.float64), seen.ours)
    return replace(
        question,
        estimate=estimate,
        interval=interval_of(_SHARES, least, most, levels),
        floor=mean_of(_SHARES, seen.floors) if reached.any() else None,
        passing=evidence(_SHARES, least, settings.limit, side=1),
        failing=evidence(_SHARES, most, settings.limit, side=-1),
        factor=max(
            guard.variance_factor(sizes, sums, variance),
            sessions.factor(whole, "similarity.n", "similarity", variance),
        ),
        pairs=pairs + missing,
        missing=missing / (pairs + missing) if pairs + missing else 0.0,
        blocks=minutes_of(whole, sizes),
        literal=estimate is not None and estimate > settings.limit,
        obstacle=Reason.UNREACHABLE if unreachable else turning,
    )


def _one_step_up(counts: Floats) -> Ints:
    """Return counts by step, each moved to the step that its similarities do not exceed."""
    return _counted(grid.above(_STEPS), counts).astype(np.int64)


def _counted(places: Ints, pairs: Floats, length: int = grid.STEPS + 1) -> Floats:
    found: Floats = np.bincount(places, pairs, length).astype(np.float64, copy=False)
    return found
