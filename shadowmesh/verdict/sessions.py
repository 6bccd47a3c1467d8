"""
The variance guard by session: pairs of one user or conversation are alike, however far apart in time they are.

Where many sessions go on at once no block of time shows that. Of sessions of 20 exchanges at times by chance, one in a
hundred of which fails throughout, on either side, blocks of time alone say FAIL of equal models in 25 % of runs at
alpha 5 %, and with sessions 2 %; an error exactly at its margin passes in 32 % and 2 %. Where the exchanges of a
session are not alike it costs no pair (``tests/sim/session_rows.py``).
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from shadowmesh.verdict import guard
from shadowmesh.verdict.blocks import PREFIX as BLOCKS
from shadowmesh.verdict.facts import Floats
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.together import SESSIONS

FEWEST: Final = 20
"""Buckets with pairs: with fewer, how much sessions vary is not known."""
_MOSTLY: Final = 0.5


def factor(ledger: Ledger, sizes: str, sums: str, variance: float, *, less: tuple[str, float] | None = None) -> float:
    """
    Return how many times the sums of sessions vary more than sums of independent pairs would; at least 1.

    Args:
        sizes, sums: tallies of the ledger, without what their names begin with.
        variance: of a single value.
        less: a tally whose sums are taken off, so many times each.
    """
    if not ledger.tally(SESSIONS + sizes).total():
        return 1.0
    pairs, found = guard.series(ledger, SESSIONS + sizes, SESSIONS + sums)
    if less is not None:
        found = found - less[1] * guard.series(ledger, SESSIONS + sizes, SESSIONS + less[0])[1]
    return of_sums(pairs, found, variance, ledger.tally(BLOCKS + sizes).total())


def latency_factor(ledger: Ledger, measure: str, place: int, shift: int, variance: float) -> float:
    """Return the same for a latency; see :func:`~shadowmesh.verdict.guard.latency_series`."""
    if not ledger.tally(f"{SESSIONS}live.{measure}").total():
        return 1.0
    pairs, found = guard.latency_series(ledger, measure, place, shift, by=SESSIONS)
    return of_sums(pairs, found, variance, ledger.tally(f"{BLOCKS}live.{measure}").total())


def of_sums(pairs: Floats, sums: Floats, variance: float, of_all: int) -> float:
    """
    Return the factor of buckets, where most pairs are in one and it is more than luck.

    Sessions fall into buckets by chance, so a bucket's sum varies as much as those of its sessions together, and 256
    buckets show the factor of any number of sessions to 9 per cent. That is why one that is hardly above 1 is none: as
    with blocks, independent pairs are not to pay for luck. Buckets of unlike size count for fewer.
    """
    pairs, sums = pairs[pairs > 0], sums[pairs > 0]
    total = float(pairs.sum())
    if len(pairs) < FEWEST or total < _MOSTLY * of_all:
        return 1.0
    as_many = total**2 / float((pairs**2).sum())
    found = guard.at_one_scale(pairs, sums, variance)
    return found if found > 1 + guard.SIGNIFICANT * sqrt(2 / max(as_many - 1, 1.0)) else 1.0


def warnings(ledger: Ledger) -> list[str]:
    """Return, as a sentence, that most exchanges are of so few sessions that nobody knows how those vary."""
    buckets, pairs = ledger.tally(SESSIONS + "pairs").items()
    if not 0 < len(buckets) < FEWEST or pairs.sum() < _MOSTLY * ledger.tally(BLOCKS + "pairs").total():
        return []
    sessions = "1 session" if len(buckets) == 1 else f"{len(buckets)} sessions"
    return [f"the exchanges are of {sessions} or a few more: what one of them does may decide the answer"]
