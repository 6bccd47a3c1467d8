"""
The latency criteria: a quantile of the shadow's latency against that of live, or of the control.

What is missing is assumed against what is to be shown (``legs``), so both answers hold whatever the missing legs would
have been; where that alone keeps a criterion open, it says so. PASS is about all exchanges. FAIL and the estimate are
about those that neither leg has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import bins, guard, sessions
from shadowmesh.verdict.bets import NOTHING, Evidence
from shadowmesh.verdict.cells import Cells, Joints, Legs, View, joined, views
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.means import minutes_of
from shadowmesh.verdict.quantile import QuantileTest, quantile_place, ratio
from shadowmesh.verdict.records import Gate, Reason
from shadowmesh.verdict.settings import LatencySettings


def latency(
    ledgers: Sequence[Ledger],
    blocks: Ledger,
    settings: LatencySettings,
    levels: Levels,
    *,
    joints: Joints,
    against_control: bool = False,
) -> Question:
    """
    Ask one latency criterion.

    Args:
        ledgers: whose pairs are asked together.
        blocks: the same merged, for sums over time.
        joints: what was read of the ledgers already.
        against_control: whether the candidate is held against the control leg of the same exchange instead of live.
    """
    kind = "triple" if against_control else "joint"
    cells = joints.of(ledgers, f"{kind}.{settings.measure}")
    question = Question(
        name=settings.name, gate=Gate.CRITERION, limit=settings.ratio, mode="control" if against_control else ""
    )
    if not cells:
        return replace(question, obstacle=Reason.CONTROL_BIAS if against_control else None)
    fast = View(1, cells, answered=True)
    quantile, wanted = settings.quantile, not levels.only_failing
    # Each end of the interval has half of alpha, and the stricter of two tests has counted what the other needs.
    above = QuantileTest(fast, quantile, alpha=min(levels.failing, levels.passing / 2) if wanted else levels.failing)
    failing = _evidence(above.at(levels.failing), fast, settings, upwards=True)
    if not wanted and failing.log < log_threshold(levels.failing):
        return replace(question, failing=failing, pairs=fast.pairs)
    slow = View(-1, cells, answered=False)
    interval, passing = None, NOTHING
    if wanted:
        below = QuantileTest(slow, quantile, alpha=levels.passing / 2)
        interval = above.at(levels.passing / 2).bound(), below.bound()
        passing = _evidence(below.at(levels.passing), slow, settings, upwards=False)
    estimate = _between(ratio(View(-1, cells, answered=True), quantile), ratio(fast, quantile))
    at, shift = _middle_place(slow, fast, quantile), bins.shift(settings.ratio, upwards=False)
    sizes, sums = guard.latency_series(blocks, settings.measure, at, shift)
    variance = guard.latency_variance(slow, at, shift)
    unmeasured = joined([each.unmeasured for each in cells])
    return replace(
        question,
        estimate=estimate,
        interval=interval,
        passing=passing,
        failing=failing,
        factor=max(
            guard.variance_factor(sizes, sums, variance),
            sessions.latency_factor(blocks, settings.measure, at, shift, variance),
        ),
        pairs=slow.pairs,
        missing=float(unmeasured.counts.sum()) / slow.pairs,
        blocks=minutes_of(blocks, sizes[sizes > 0]),
        literal=estimate is not None and estimate < settings.ratio,
        obstacle=_obstacle(slow, fast, unmeasured, settings),
    )


def ratio_interval(cells: Sequence[Cells], quantile: float, alpha: float) -> tuple[float, float]:
    """Return the ratios that are not rejected at ``alpha / 2`` on either side, at every look together."""
    slow, fast = views(cells)
    lower = QuantileTest(fast, quantile, alpha=alpha / 2).bound()
    upper = QuantileTest(slow, quantile, alpha=alpha / 2).bound()
    return lower, upper


def _evidence(test: QuantileTest, view: View, settings: LatencySettings, *, upwards: bool) -> Evidence:
    """Return the evidence, with the growth it has if live's quantile is where it seems to be."""
    place = int(quantile_place(view.lives, settings.quantile))
    return test.evidence(bins.shift(settings.ratio, upwards=upwards), place)


def _middle_place(slow: View, fast: View, quantile: float) -> int:
    """Return where live's quantile is, between what both views say."""
    places = [quantile_place(view.lives, quantile) for view in (slow, fast)]
    inside = [place for place in places if 0 < place < bins.TOP]
    return int(sum(inside) / len(inside)) if inside else 1


def _between(worst: float | None, best: float | None) -> float | None:
    """Return the geometric mean of the ratio in both views; unknown where it is in one of them."""
    return None if worst is None or best is None else sqrt(worst * best)


def _obstacle(slow: View, fast: View, unmeasured: Legs, settings: LatencySettings) -> Reason | None:
    """Return why unknown legs alone keep it open: at the quantiles themselves neither answer would be shown."""
    worst, best = ratio(slow, settings.quantile), ratio(fast, settings.quantile)
    if (worst is not None and worst < settings.ratio) or (best is not None and best >= settings.ratio):
        return None
    live, shadow, counts = unmeasured
    pairs = {
        Reason.TOO_MANY_FAILED: counts[(live == bins.FAILED) | (shadow == bins.FAILED)].sum(),
        Reason.TOO_MUCH_SHED: counts[(live == bins.LOST) | (shadow == bins.LOST)].sum(),
        Reason.DEADLINE_SHORT: counts[(shadow >= bins.BINS) & (shadow < bins.LOST)].sum(),
    }
    most = max(pairs, key=lambda reason: int(pairs[reason]))
    return most if pairs[most] else None
