"""The criteria about means: errors, what a judge preferred, and the guards of captured texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import guard, legs, sessions
from shadowmesh.verdict.bets import evidence, interval
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Floats, Ints
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Gate, Reason
from shadowmesh.verdict.settings import ErrorSettings, GuardSettings, JudgeSettings

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
    low, high = mean_of(_BALANCE, fewest), mean_of(_BALANCE, most)
    undecided = bool(total) and low <= allowed < high
    factors = [
        max(
            guard.variance_factor(
                *guard.series(ledger, "blocks.pairs", f"blocks.{name}"), variance_of(_BALANCE, counts)
            ),
            sessions.factor(ledger, "pairs", name, variance_of(_BALANCE, counts)),
        )
        for name, counts in (("errors", most), ("errors_against", fewest))
    ]
    return Question(
        name="errors",
        gate=Gate.CRITERION,
        mode=settings.mode,
        limit=allowed,
        margin=allowed,
        estimate=(low + high) / 2 if total else None,
        interval=interval_of(_BALANCE, fewest, most, levels),
        passing=evidence(_BALANCE, most, allowed, side=-1),
        failing=failing,
        factor=max(factors),
        pairs=total,
        missing=float(pairs[legs.assumed(states)].sum()) / total if total else 0.0,
        blocks=minutes(ledger),
        obstacle=Reason.TOO_MUCH_SHED if undecided and low < high else None,
    )


def wins(counts: Sequence[int], settings: JudgeSettings, levels: Levels, blocks: int) -> Question:
    """
    Ask whether the candidate is preferred often enough.

    Args:
        counts: how often it won, tied and lost.
    """
    tally = np.array(counts[::-1], np.int64)
    total = int(tally.sum())
    estimate = mean_of(_WINS, tally) if total else None
    return Question(
        name="judge",
        gate=Gate.CRITERION,
        mode=settings.mode,
        limit=settings.least,
        margin=0.5 - settings.least,
        estimate=estimate,
        interval=interval_of(_WINS, tally, tally, levels),
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
        estimate=mean_of(_BALANCE, counts) if total else None,
        interval=interval_of(_BALANCE, counts, counts, levels),
        passing=evidence(_BALANCE, counts, settings.margin, side=-1),
        failing=failing,
        factor=max(
            guard.variance_factor(*series, variance_of(_BALANCE, counts)),
            sessions.factor(ledger, f"guard.{name}.n", f"guard.{name}", variance_of(_BALANCE, counts)),
        ),
        pairs=total,
        blocks=minutes_of(ledger, series[0]),
    )


def exact(ledger: Ledger, levels: Levels, floor: float | None) -> Question:
    """Report the share of equal outputs, and what live reaches against itself."""
    counts, series = ledger.tally("exact").dense(2), guard.series(ledger, "blocks.exact.n", "blocks.exact")
    values = np.array([0.0, 1.0])
    total = int(counts.sum())
    return Question(
        name="exact",
        gate=Gate.REPORT,
        estimate=mean_of(values, counts) if total else None,
        interval=interval_of(values, counts, counts, levels),
        floor=floor,
        factor=max(
            guard.variance_factor(*series, variance_of(values, counts)),
            sessions.factor(ledger, "exact.n", "exact", variance_of(values, counts)),
        ),
        pairs=total,
        blocks=minutes_of(ledger, series[0]),
    )


def minutes(ledger: Ledger) -> int:
    """Return in how many dispatch minutes there were compared pairs."""
    return len(ledger.tally("minutes").items()[0])


def minutes_of(ledger: Ledger, sizes: Floats) -> int:
    """
    Return in how many dispatch minutes there were pairs that say something of one criterion.

    Args:
        sizes: pairs by block, of the blocks that have any. Where blocks are longer than a minute, every minute of such
            a block counts, up to all of the ledger's.
    """
    return min(minutes(ledger), len(sizes) << ledger.shift)


def _balance(values: Ints, pairs: Ints) -> Ints:
    return np.bincount(values + 1, pairs, 3).astype(np.int64)


def mean_of(values: Floats, counts: Ints | Floats) -> float:
    """Return the mean of counted values; 0 without any."""
    total = int(counts.sum())
    return float((values * counts).sum()) / total if total else 0.0


def variance_of(values: Floats, counts: Ints | Floats) -> float:
    """Return the variance of counted values; 0 without any."""
    total = int(counts.sum())
    return float((values**2 * counts).sum()) / total - mean_of(values, counts) ** 2 if total else 0.0


def interval_of(values: Floats, least: Ints, most: Ints, levels: Levels) -> tuple[float, float] | None:
    """Return the means not rejected: the lower end by the least the counts can be, the upper one by the most."""
    if levels.only_failing or not least.sum():
        return None
    return interval(values, least, most, alpha=levels.passing)
