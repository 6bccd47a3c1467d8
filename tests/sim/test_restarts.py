"""A candidate that is begun anew is what the store says that it is."""

from __future__ import annotations

from sim.restarts import attempts


def test_every_beginning_is_an_attempt_more_than_the_one_before() -> None:
    assert attempts(5) == (0, 1, 2, 3, 4)
