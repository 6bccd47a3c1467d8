"""The limits that simulations are held against."""

from __future__ import annotations

import numpy as np
import pytest
from sim.outcome import NEVER, AtLeast, AtMost, fewest_hits, most_hits, outcome


@pytest.mark.parametrize(("runs", "hits"), [(200, 21), (400, 35), (1000, 73), (2000, 131)])
def test_the_limit_is_the_published_quantile_of_a_binomial(runs: int, hits: int) -> None:
    assert most_hits(runs, 0.05) == hits


def test_what_is_hardly_ever_exceeded_is_seldom_missed_from_the_other_side() -> None:
    assert fewest_hits(200, 0.95) == 200 - most_hits(200, 0.05)


def test_a_row_counts_the_runs_that_decided_and_says_when_half_of_them_had() -> None:
    row = outcome("row", "", AtLeast(0.8, 300), decided_at=np.array([100.0, 200.0, 300.0, 400.0, NEVER]))
    assert (row.share, row.median, row.most) == (0.6, 300.0, 400.0)
    assert row.within == (row.limit <= 0.6)


def test_an_error_beyond_luck_is_not_ok_and_a_straw_man_has_to_make_it() -> None:
    often, never = np.full(100, 50.0), np.full(100, NEVER)
    bound = AtMost(0.05)
    assert not outcome("row", "", bound, decided_at=often).ok
    assert outcome("row", "", bound, decided_at=never).ok
    assert outcome("row", "", bound, decided_at=often, straw=True).ok
    assert not outcome("row", "", bound, decided_at=never, straw=True).ok
