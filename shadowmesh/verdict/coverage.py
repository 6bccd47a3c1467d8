"""Whether enough was seen: of pairs, of time, and of what should have been sampled."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict import legs
from shadowmesh.verdict.bets import evidence
from shadowmesh.verdict.facts import State
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.means import minutes
from shadowmesh.verdict.records import Finding, Gate, Reason, Result
from shadowmesh.verdict.settings import CoverageSettings

_LATELY: int = 30
"""Minutes that tell the present pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """
    How calls were drawn, each by itself: of so many ``eligible`` ones so many were ``sampled``, where ``expected`` is
    the sum of the rates (0 to 1) that they were drawn at.
    """

    eligible: int
    sampled: int
    expected: float

    @property
    def rate(self) -> float:
        """The mean of the rates; 0 without calls."""
        return min(self.expected / self.eligible, 1.0) if self.eligible else 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pairs were ``compared``, having two known ends, and the shares of all that were shed and lost."""

    compared: int
    blocks: int
    shed: float
    lost: float
    skipped: float
    """The share of all sampled exchanges that no shadow was meant to get, and of which nothing is known."""
    stopped: float
    """The share of the compared exchanges whose client left."""


def covered(ledger: Ledger) -> Coverage:
    """Return what a ledger covers."""
    states, pairs = ledger.tally("states").items()
    live, shadow = np.divmod(states, legs.STATES)
    compared, assumed = legs.compared(states), legs.assumed(states)
    shed = assumed & ((live == State.SHED) | (shadow == State.SHED))
    total = max(1, int(pairs[compared | assumed].sum()))
    seen = max(1, int(pairs.sum()))
    skipped = (live == State.SKIPPED) | (shadow == State.SKIPPED)
    return Coverage(
        compared=int(pairs[compared].sum()),
        blocks=minutes(ledger),
        shed=float(pairs[shed].sum()) / total,
        lost=float(pairs[assumed & ~shed].sum()) / total,
        skipped=float(pairs[skipped].sum()) / seen,
        stopped=float(pairs[compared & (live == State.STOPPED)].sum()) / max(1, int(pairs[compared].sum())),
    )


def shed_by_length(ledger: Ledger, alpha: float) -> float | None:
    """
    Return which share of the exchanges that were shed had a longer answer than half of all, where that is not chance.

    Shedding that has to do with length leaves pairs of another kind than the traffic. Without a bias each exchange that
    was shed is a long one as often as any other, which a two-sided bet tests at every look.
    """
    keys, counts = ledger.tally("sizes").items()
    sizes, shed = keys >> 1, (keys & 1).astype(np.bool_)
    if not shed.any():
        return None
    order = np.argsort(sizes, kind="stable")
    upto = np.cumsum(counts[order])
    middle = sizes[order][np.searchsorted(upto, upto[-1] / 2)]
    long = sizes > middle
    share = float(counts[long].sum()) / float(upto[-1])
    if not 0.0 < share < 1.0:
        return None
    tally = np.array([counts[shed & ~long].sum(), counts[shed & long].sum()], np.int64)
    values = np.array([0.0, 1.0])
    shown = max(evidence(values, tally, share, side=1).log, evidence(values, tally, share, side=-1).log)
    return float(tally[1]) / float(tally.sum()) if shown >= log_threshold(alpha / 2) else None


def pace(ledger: Ledger, now_ns: int) -> float:
    """Return the compared pairs per second of the last half hour with any; 0 where that is long past or too short."""
    keys, pairs = ledger.tally("minutes").items()
    if not len(keys) or now_ns - ledger.last_ns > 2 * _LATELY * 60 * 1_000_000_000:
        return 0.0
    last = ledger.last_ns // MINUTE_NS
    first = max(ledger.first_ns // MINUTE_NS, last - _LATELY + 1)
    return float(pairs[(keys >= first) & (keys <= last)].sum()) / (60.0 * (last - first + 1))


def coverage(found: Coverage, settings: CoverageSettings, pairs_per_second: float) -> Finding:
    """Ask for more than ``pairs`` compared pairs in ``min_blocks`` minutes with little held back. It never fails."""
    pairs_left = max(0, settings.pairs + 1 - found.compared)
    blocks_left = max(0, settings.min_blocks - found.blocks)
    if not found.compared:
        reason, detail = Reason.NO_EVIDENCE, "no exchange was compared"
    elif pairs_left:
        reason, detail = Reason.MORE_PAIRS, f"{found.compared:,} of more than {settings.pairs:,} compared exchanges"
    elif blocks_left:
        reason, detail = Reason.MORE_BLOCKS, f"{found.blocks:,} of {settings.min_blocks:,} dispatch minutes seen"
    elif found.shed > settings.shed:
        reason, detail = Reason.TOO_MUCH_SHED, f"{found.shed:.1%} of the exchanges were held back or cut"
    elif found.stopped > settings.stopped:
        reason, detail = Reason.TOO_MANY_STOPPED, f"the clients of {found.stopped:.1%} of the exchanges left"
    else:
        reason, detail = Reason.SHOWN, "shown"
    result = Result.PASS if reason is Reason.SHOWN else Result.NOT_YET
    seconds = max(pairs_left / pairs_per_second, blocks_left * 60.0) if pairs_per_second else None
    waiting = reason in (Reason.MORE_PAIRS, Reason.MORE_BLOCKS)
    return Finding(
        name="coverage",
        gate=Gate.CRITERION,
        result=result,
        reason=reason,
        detail=detail,
        unit="{pair}",
        estimate=float(found.compared),
        limit=float(settings.pairs),
        pairs=found.compared,
        missing=found.shed + found.lost,
        blocks=found.blocks,
        eta_pairs=ceil(pairs_left) if waiting else 0 if result is Result.PASS else None,
        eta_seconds=seconds if waiting else 0.0 if result is Result.PASS else None,
    )


def sample_ratio(counts: SampleRatio, alpha: float) -> Finding:
    """
    Ask whether as many calls were sampled as configured; a mismatch means that what is seen was chosen.

    Two bets of :mod:`shadowmesh.evidence`, one on more and one on less than the mean of the rates. Evidence is kept by
    configuration, and that has one rate for a target, so the mean is the rate and the bets hold at every look (Ville).
    Were the rates ``p_i`` unlike, but fixed before the calls came, a bet ``prod(1 + b (x_i - mean p))`` still has an
    expectation of at most 1: it is ``prod(1 + b (p_i - mean p))``, a product of numbers whose mean is 1, and the
    geometric mean of numbers is at most the arithmetic one (AM-GM; Hoeffding 1956, doi:10.1214/aoms/1177728178, has
    more on sums of such trials). That promises one look; simulated, looking on while a rate changes stays below alpha
    (``tests/verdict/test_sample_ratio.py``).
    """
    rate = counts.rate
    if 0.0 < rate < 1.0:
        # As if more were possible on both sides, so that bets are at most 1: of the greatest that 0 and 1 allow, even
        # the smallest share is too much for a rare call to pay, and twice a rate of 0.1 per cent was never found.
        values = np.array([rate - 1.0, 0.0, 1.0, rate + 1.0])
        tally = np.array([0, max(0, counts.eligible - counts.sampled), counts.sampled, 0])
        against = max(evidence(values, tally, rate, side=1).log, evidence(values, tally, rate, side=-1).log)
    else:
        against = 0.0 if counts.sampled == round(counts.eligible * rate) else inf
    differs = against >= log_threshold(alpha / 2)
    seen = counts.sampled / counts.eligible if counts.eligible else None
    return Finding(
        name="sample_ratio",
        gate=Gate.CRITERION,
        result=Result.NOT_YET if differs else Result.PASS,
        reason=Reason.SAMPLE_RATIO if differs else Reason.SHOWN,
        detail=f"{_share(seen)} sampled instead of {_share(rate)}" if differs and seen is not None else "as configured",
        estimate=seen,
        limit=rate,
        evidence_against=against,
        threshold_against=log_threshold(alpha / 2),
        pairs=counts.eligible,
    )


def _share(share: float) -> str:
    """Return it in per cent, a small one with as many figures as a great one."""
    return f"{share * 100:.4g}%"
