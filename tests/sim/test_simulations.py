"""The rows of the table in small: honest ones keep their limit, straw men break it. ``make sim`` runs them in full."""

from __future__ import annotations

import pytest
from sim.plan import Simulation
from sim.rows import ROWS

QUICK = [row.small() for row in ROWS if row.quick]


@pytest.mark.parametrize("row", [row for row in QUICK if not row.straw], ids=lambda row: row.name)
def test_the_verdict_is_as_seldom_wrong_and_as_soon_right_as_promised(row: Simulation) -> None:
    outcome = row.run()
    assert outcome.within, outcome


@pytest.mark.parametrize("row", [row for row in QUICK if row.straw], ids=lambda row: row.name)
def test_the_same_world_fools_a_straw_man(row: Simulation) -> None:
    outcome = row.run()
    assert not outcome.within, outcome


def test_every_row_has_a_name_of_its_own_and_the_same_figures_again() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    row = next(row for row in QUICK if row.straw)
    assert row.run() == row.run()
