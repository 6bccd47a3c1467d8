"""The paired test of a latency ratio, by the product's ledger and test, with looks every few pairs."""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Random
from sim.looking import first
from sim.whole import growing
from sim.worlds import World

from shadowmesh.evidence import Side
from shadowmesh.verdict import bins
from shadowmesh.verdict.cells import Cells, views
from shadowmesh.verdict.facts import PairColumns, State
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.quantile import QuantileTest

_QUANTILE = 0.95


def shown_at(
    random: Random,
    runs: int,
    *,
    world: World,
    side: Side,
    limit: float = 1.2,
    alpha: float = 0.05,
    pairs: int = 20_000,
    step: int = 200,
    finished_only: bool = False,
) -> Floats:
    """
    Return the pairs until the P95 ratio is shown to be below (``side`` -1) or above (1) ``limit``.

    Args:
        finished_only: drop pairs of which a leg did not end well before they are counted, as a straw man does.
    """
    shift = bins.shift(limit, upwards=side == 1)
    decided = np.empty(runs)
    for run in range(runs):
        drawn = world.draw(random, pairs)
        seen = _finished(drawn) if finished_only else drawn
        looks = growing(seen, step)
        decided[run] = first((size, _test(ledgers["0"], side, alpha).shown(shift)) for size, ledgers in looks)
    return decided


def _test(ledger: Ledger, side: Side, alpha: float) -> QuantileTest:
    below, above = views([Cells(*ledger.tally("joint.duration").items())])
    return QuantileTest(below if side == -1 else above, _QUANTILE, alpha=alpha)


def _finished(pairs: PairColumns) -> PairColumns:
    return pairs.where((pairs.live.state == State.OK) & (pairs.shadow.state == State.OK))
