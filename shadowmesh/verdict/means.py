"""The criteria about means: errors, similarity, what a judge preferred, and the guards of captured texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import grid, guard, legs
from shadowmesh.verdict.bets import evidence, interval
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Floats, Ints
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Gate, Reason
from shadowmesh.verdict.settings import ErrorSettings, GuardSettings, JudgeSettings, SimilaritySettings

_BALANCE = np.array([-1.0, 0.0, 1.0])
_WINS = np.array([0.0, 0.5, 1.0])


def errors(ledger: Ledger, settings: ErrorSettings, levels: Levels) -> Question:
    """Ask whether the shadow fails at most ``allowed`` more often than live; a shed leg may have failed or not."""
    states, pairs = ledger.tally("states").items()
    kept = legs.compared(states) | legs.assumed(states)
    states, pairs = states[kept], pairs[kept]
    most, fewest = (_balance(values, pairs) for values in legs.more_errors(states))
    total, allowed = int(pairs.sum()), settings.allowed
    failing = evidence(_BALANCE, fewest, allowed, side=1)
    if levels.only_failing and failing.log < log_threshold(levels.failing):
        return Question(name="errors", gate=Gate.CRITERION, failing=failing, pairs=total)
    low, high = _mean(_BALANCE, fewest), _mean(_BALANCE, most)
    undecided = bool(total) and low <= allowed < high
    factor = guard.variance_factor(*guard.series(ledger, "blocks.pairs", "blocks.errors"), _variance(_BALANCE, most))
    against = guard.series(ledger, "blocks.pairs", "blocks.errors_against")
    return Question(
        name="errors",
        gate=Gate.CRITERION,
        mode=settings.mode,
        limit=allowed,
        margin=allowed,
        estimate=(low + high) / 2 if total else None,
        interval=_interval(_BALANCE, fewest, most, levels),
        passing=evidence(_BALANCE, most, allowed, side=-1),
        failing=failing,
        factor=max(factor, guard.variance_factor(*against, _variance(_BALANCE, fewest))),
        pairs=total,
        missing=float(pairs[legs.assumed(states)].sum()) / total if total else 0.0,
        blocks=minutes(ledger),
        obstacle=Reason.TOO_MUCH_SHED if undecided and low < high else None,
    )


def similarity(ledger: Ledger, settings: SimilaritySettings, levels: Levels) -> Question:
    """Ask whether outputs are similar enough; ``vs_floor`` counts exchanges that live, shadow and control answered."""
    keys, pairs = ledger.tally("similarity").loose()
    ours = keys // grid.FLOORS
    floor = keys - ours * grid.FLOORS
    triple = floor != grid.NO_FLOOR
    question = Question(name="similarity", gate=Gate.CRITERION, mode=settings.mode, limit=settings.limit)
    if settings.mode == "absolute":
        return _absolute(question, ledger, ours, floor, pairs, settings, levels)
    if not triple.any():
        return replace(question, limit=None, obstacle=Reason.NO_CONTROL)
    if not triple.all():
        ours, floor, pairs = ours[triple], floor[triple], pairs[triple]
    missing = int(ledger.tally("texts").dense(2)[1])
    scale, values = settings.limit, np.arange(-grid.STEPS, grid.STEPS + 1) / grid.STEPS
    # A whole step is given away on either side, so that rounding never speaks for what is to be shown.
    most = _steps(np.ceil(grid.above(ours) - scale * floor), pairs)
    most[-1] += missing
    failing = evidence(values, most, 0.0, side=-1)
    if levels.only_failing and failing.log < log_threshold(levels.failing):
        return replace(question, failing=failing, pairs=int(pairs.sum()))
    least = _steps(np.floor(ours - scale * grid.above(floor)), pairs)
    known = _mean(values, least)
    # Both outputs of an exchange may have been the longest, and the worst is that live's equalled each other.
    least[int(np.floor(-scale * grid.STEPS)) + grid.STEPS] += missing
    mean, floor_mean = _on_average(ours, pairs), _on_average(floor, pairs)
    sizes, sums = guard.series(ledger, "blocks.floor.n", "blocks.floor.similarity")
    floors = guard.series(ledger, "blocks.floor.n", "blocks.floor.floor")[1]
    limit = scale * floor_mean
    ends = _interval(values, least, most, levels)
    return Question(
        name="similarity",
        gate=Gate.CRITERION,
        mode=settings.mode,
        limit=limit,
        margin=floor_mean - limit,
        floor=floor_mean,
        estimate=mean,
        interval=None if ends is None else (ends[0] + limit, ends[1] + limit),
        passing=evidence(values, least, 0.0, side=1),
        failing=failing,
        factor=guard.variance_factor(sizes, sums - scale * floors, _variance(ours - scale * floor, pairs)),
        pairs=int(pairs.sum()) + missing,
        missing=missing / (int(pairs.sum()) + missing),
        blocks=minutes_of(ledger, "blocks.floor.n"),
        obstacle=Reason.TEXT_MISSING if _mean(values, least) <= 0.0 < known else None,
    )


def wins(counts: Sequence[int], settings: JudgeSettings, levels: Levels, blocks: int) -> Question:
    """
    Ask whether the candidate is preferred often enough.

    Args:
        counts: how often it won, tied and lost.
    """
    tally = np.array(counts[::-1], np.int64)
    total = int(tally.sum())
    estimate = _mean(_WINS, tally) if total else None
    return Question(
        name="judge",
        gate=Gate.CRITERION,
        mode=settings.mode,
        limit=settings.least,
        margin=0.5 - settings.least,
        estimate=estimate,
        interval=_interval(_WINS, tally, tally, levels),
        passing=evidence(_WINS, tally, settings.least, side=1),
        failing=evidence(_WINS, tally, settings.least, side=-1),
        pairs=total,
        blocks=blocks,
    )


def text_guard(ledger: Ledger, name: str, settings: GuardSettings, levels: Levels) -> Question:
    """Ask whether a flag is raised more often for the shadow's text than for what it is compared with."""
    both = ledger.tally(f"guard.{name}").dense(4)
    counts = np.array([both[1], both[0] + both[3], both[2]])
    total, gate = int(counts.sum()), Gate.REPORT if name in settings.off else Gate.GUARD
    failing = evidence(_BALANCE, counts, settings.margin, side=1)
    if levels.only_failing and failing.log < log_threshold(levels.failing):
        return Question(name=f"guard.{name}", gate=gate, failing=failing, pairs=total)
    series = guard.series(ledger, f"blocks.guard.{name}.n", f"blocks.guard.{name}")
    return Question(
        name=f"guard.{name}",
        gate=gate,
        limit=settings.margin,
        margin=settings.margin,
        estimate=_mean(_BALANCE, counts) if total else None,
        interval=_interval(_BALANCE, counts, counts, levels),
        passing=evidence(_BALANCE, counts, settings.margin, side=-1),
        failing=failing,
        factor=guard.variance_factor(*series, _variance(_BALANCE, counts)),
        pairs=total,
        blocks=minutes_of(ledger, f"blocks.guard.{name}.n"),
    )


def exact(ledger: Ledger, levels: Levels, floor: float | None) -> Question:
    """Report the share of equal outputs, and what live reaches against itself."""
    counts = ledger.tally("exact").dense(2)
    values = np.array([0.0, 1.0])
    total = int(counts.sum())
    return Question(
        name="exact",
        gate=Gate.REPORT,
        estimate=_mean(values, counts) if total else None,
        interval=_interval(values, counts, counts, levels),
        floor=floor,
        factor=guard.variance_factor(
            *guard.series(ledger, "blocks.exact.n", "blocks.exact"), _variance(values, counts)
        ),
        pairs=total,
        blocks=minutes_of(ledger, "blocks.exact.n"),
    )


def minutes(ledger: Ledger) -> int:
    """Return in how many dispatch minutes there were compared pairs."""
    return len(ledger.tally("minutes").items()[0])


def minutes_of(ledger: Ledger, name: str, low_bits: int = 0) -> int:
    """
    Return in how many dispatch minutes there were pairs that say something of one criterion.

    Args:
        name: of a block tally of them. Where blocks are longer than a minute, every minute of one counts that had any
            pair, up to all of the ledger's.
        low_bits: how many bits of its keys are no time.
    """
    found = np.unique(ledger.tally(name).items()[0] >> low_bits)
    return min(minutes(ledger), len(found) << ledger.shift)


def _absolute(
    question: Question,
    ledger: Ledger,
    ours: Ints,
    floor: Ints,
    pairs: Ints,
    settings: SimilaritySettings,
    levels: Levels,
) -> Question:
    values = np.arange(grid.STEPS + 1) / grid.STEPS
    least = np.bincount(ours, pairs, grid.STEPS + 1).astype(np.int64)
    most = np.bincount(grid.above(ours), pairs, grid.STEPS + 1).astype(np.int64)
    seen, states = int(pairs.sum()), ledger.tally("states").dense(legs.STATES**2)
    # Captured texts belong to pairs that both legs have answered; the states' keys begin with that of two such legs.
    missing = max(0, int(states[0]) - seen)
    known = _mean(values, least)
    least[0] += missing
    most[-1] += missing
    total = seen + missing
    triple = floor != grid.NO_FLOOR
    reached = np.bincount(grid.above(floor[triple]), pairs[triple], grid.STEPS + 1).astype(np.int64)
    best_of_live = interval(values, reached, reached, alpha=levels.passing) if triple.any() else None
    estimate = known if seen else None
    turning = Reason.TEXT_MISSING if _mean(values, least) <= settings.limit < known else None
    unreachable = best_of_live is not None and best_of_live[1] < settings.limit
    series = guard.series(ledger, "blocks.similarity.n", "blocks.similarity")
    return Question(
        name=question.name,
        gate=question.gate,
        mode=question.mode,
        limit=settings.limit,
        estimate=estimate,
        interval=_interval(values, least, most, levels),
        floor=_on_average(floor[triple], pairs[triple]) if triple.any() else None,
        passing=evidence(values, least, settings.limit, side=1),
        failing=evidence(values, most, settings.limit, side=-1),
        factor=guard.variance_factor(*series, _variance(ours.astype(np.float64), pairs)),
        pairs=total,
        missing=missing / total if total else 0.0,
        blocks=minutes_of(ledger, "blocks.similarity.n"),
        literal=estimate is not None and estimate > settings.limit,
        obstacle=Reason.UNREACHABLE if unreachable else turning,
    )


def _balance(values: Ints, pairs: Ints) -> Ints:
    return np.bincount(values + 1, pairs, 3).astype(np.int64)


def _steps(differences: Floats, pairs: Ints) -> Ints:
    """Return the counts of differences in thousandths, from -1 to 1."""
    return np.bincount(differences.astype(np.int64) + grid.STEPS, pairs, 2 * grid.STEPS + 1).astype(np.int64)


def _mean(values: Floats, counts: Ints) -> float:
    total = int(counts.sum())
    return float((values * counts).sum()) / total if total else 0.0


def _variance(values: Floats, counts: Ints) -> float:
    total = int(counts.sum())
    return float((values**2 * counts).sum()) / total - _mean(values, counts) ** 2 if total else 0.0


def _on_average(steps: Ints, pairs: Ints) -> float:
    return float((steps * pairs).sum()) / float(pairs.sum()) / grid.STEPS


def _interval(values: Floats, least: Ints, most: Ints, levels: Levels) -> tuple[float, float] | None:
    """Return the means not rejected: the lower end by the least the counts can be, the upper one by the most."""
    if levels.only_failing or not least.sum():
        return None
    return interval(values, least, most, alpha=levels.passing)
