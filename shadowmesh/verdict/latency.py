"""
The latency criteria: a quantile of the shadow's latency against that of live, or of the control.

What is missing is assumed against what is to be shown (``legs``), so both answers hold whatever the missing legs would
have been; where that alone keeps a criterion open, it says so. PASS is about all exchanges. FAIL and the estimate are
about those that neither leg has failed.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import bins, guard
from shadowmesh.verdict.bets import NOTHING, Evidence
from shadowmesh.verdict.blocks import PLACE_BITS
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import Ints
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.means import minutes_of
from shadowmesh.verdict.quantile import Cells, QuantileTest, View, quantile_place, ratio
from shadowmesh.verdict.records import Gate, Reason
from shadowmesh.verdict.settings import LatencySettings


def latency(
    ledgers: list[Ledger],
    blocks: Ledger,
    settings: LatencySettings,
    levels: Levels,
    *,
    against_control: bool = False,
) -> Question:
    """
    Ask one latency criterion.

    Args:
        ledgers: whose pairs are asked together.
        blocks: the same merged, for sums over time.
        against_control: whether the candidate is held against the control leg of the same exchange instead of live.
    """
    kind = "triple" if against_control else "joint"
    keys, counts = joint(ledgers, f"{kind}.{settings.measure}")
    bias = Reason.CONTROL_BIAS if against_control else None
    question = Question(
        name=settings.name, gate=Gate.CRITERION, limit=settings.ratio, mode="control" if against_control else ""
    )
    if not len(keys):
        return replace(question, obstacle=bias)
    cells = Cells.of(keys, counts)
    answered = cells.answered()
    fast = answered.view(1)
    quantile, wanted = settings.quantile, not levels.only_failing
    down, up = bins.shift(settings.ratio, upwards=False), bins.shift(settings.ratio, upwards=True)
    failing = _evidence(fast, quantile, up, levels.failing)
    if not wanted and failing.log < log_threshold(levels.failing):
        return replace(question, failing=failing, pairs=fast.pairs)
    slow = cells.view(-1)
    estimate = _between(ratio(answered.view(-1), quantile), ratio(fast, quantile))
    return replace(
        question,
        estimate=estimate,
        interval=ratio_interval(slow, fast, quantile, levels.passing) if wanted else None,
        passing=_evidence(slow, quantile, down, levels.passing) if wanted else NOTHING,
        failing=failing,
        factor=_factor(blocks, settings, slow, fast, down),
        pairs=slow.pairs,
        missing=_uncertain(cells) / slow.pairs,
        blocks=minutes_of(blocks, f"blocks.live.{settings.measure}", PLACE_BITS),
        literal=estimate is not None and estimate < settings.ratio,
        obstacle=_obstacle(slow, fast, cells, settings) or bias,
    )


def ratio_interval(slow: View, fast: View, quantile: float, alpha: float) -> tuple[float, float]:
    """Return the ratios that are not rejected at ``alpha / 2`` on either side, at every look together."""
    lower = QuantileTest(fast, quantile, alpha=alpha / 2).bound()
    upper = QuantileTest(slow, quantile, alpha=alpha / 2).bound()
    return lower, upper


def joint(ledgers: list[Ledger], name: str) -> tuple[Ints, Ints]:
    """Return the cells of a joint tally of all ledgers that have any figure of it, in no order and not summed up."""
    parts = [ledger.tally(name).loose() for ledger in ledgers]
    # Calls that are no streams and failed have no first chunk to lose.
    known = [(keys, counts) for keys, counts in parts if _any_figure(keys)]
    if not known:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([keys for keys, _ in known]), np.concatenate([counts for _, counts in known])


def _any_figure(keys: Ints) -> bool:
    """Return whether anything is known of any leg; the codes of what is not are the last ones."""
    return bool((keys < bins.LOST * bins.CODES).any() or (keys % bins.CODES < bins.LOST).any())


def _evidence(view: View, quantile: float, shift: int, alpha: float) -> Evidence:
    """Return the evidence, with the growth it has if live's quantile is where it seems to be."""
    if not view.pairs:
        return NOTHING
    test = QuantileTest(view, quantile, alpha=alpha)
    found = test.evidence(shift)
    return Evidence(found.log, test.growth(shift, int(quantile_place(view.lives, quantile))))


def _factor(blocks: Ledger, settings: LatencySettings, slow: View, fast: View, shift: int) -> float:
    place = _middle_place(slow, fast, settings.quantile)
    return guard.variance_factor(
        *guard.latency_series(blocks, settings.measure, place, shift),
        guard.latency_variance(slow.live, slow.shadow, slow.counts, place, shift),
    )


def _middle_place(slow: View, fast: View, quantile: float) -> int:
    """Return where live's quantile is, between what both views say."""
    places = [quantile_place(view.lives, quantile) for view in (slow, fast)]
    inside = [place for place in places if 0 < place < bins.TOP]
    return int(sum(inside) / len(inside)) if inside else 1


def _between(worst: float | None, best: float | None) -> float | None:
    """Return the geometric mean of the ratio in both views; unknown where it is in one of them."""
    return None if worst is None or best is None else sqrt(worst * best)


def _uncertain(cells: Cells) -> int:
    """Return how many pairs have a leg that is not known exactly."""
    return int(cells.counts[(cells.live >= bins.BINS) | (cells.shadow >= bins.BINS)].sum())


def _obstacle(slow: View, fast: View, cells: Cells, settings: LatencySettings) -> Reason | None:
    """Return why unknown legs alone keep it open: at the quantiles themselves neither answer would be shown."""
    worst, best = ratio(slow, settings.quantile), ratio(fast, settings.quantile)
    if (worst is not None and worst < settings.ratio) or (best is not None and best >= settings.ratio):
        return None
    live, shadow, counts = cells
    pairs = {
        Reason.TOO_MANY_FAILED: counts[(live == bins.FAILED) | (shadow == bins.FAILED)].sum(),
        Reason.TOO_MUCH_SHED: counts[(live == bins.LOST) | (shadow == bins.LOST)].sum(),
        Reason.DEADLINE_SHORT: counts[(shadow >= bins.BINS) & (shadow < bins.LOST)].sum(),
    }
    most = max(pairs, key=lambda reason: int(pairs[reason]))
    return most if pairs[most] else None
