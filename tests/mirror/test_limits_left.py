"""What is left of a limit is the sum of what its engines said last."""

from __future__ import annotations

import pytest
from support.experiments import experiment, target

from shadowmesh.mirror.frames import Left
from shadowmesh.mirror.limits_left import LimitsLeft
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import ExperimentSettings

BOTH: dict[str, object] = {"per_hour": 30.0, "tokens": 3000}


def limited(budget: dict[str, object] | None = None, **more: object) -> ExperimentSettings:
    return experiment(target(budget=budget), **more)


def left(limit: str, amount: float, rest: float, *, worker: int = 0, currency: str = "USD") -> Left:
    return Left(0, Remaining("summaries", "candidate", limit, currency, amount, rest), worker)


def test_the_parts_of_all_workers_are_added_and_the_last_word_of_each_counts() -> None:
    limits = LimitsLeft((limited(BOTH),))
    for worker, rest in ((0, 10.0), (1, 9.5), (2, 8.0), (1, 0.5)):
        limits.hear(left("per_hour", 10.0, rest, worker=worker))
    limits.hear(left("tokens", 1000.0, 400.0, worker=2, currency=""))
    assert limits.totals() == [
        Remaining("summaries", "candidate", "per_hour", "USD", 30.0, 18.5),
        Remaining("summaries", "candidate", "tokens", "", 1000.0, 400.0),
    ]


def test_a_successor_speaks_in_place_of_the_worker_it_follows() -> None:
    limits = LimitsLeft((limited(BOTH),))
    limits.hear(left("per_hour", 15.0, 15.0, worker=0))
    limits.hear(left("per_hour", 15.0, 2.0, worker=1))
    assert limits.totals()[0].left == 17.0, "its last word stands while none runs"
    limits.hear(left("per_hour", 15.0, 1.0, worker=1))
    assert limits.totals()[0].left == 16.0


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (limited(BOTH), ["per_hour", "tokens"]),
        (limited({"per_hour": 5.0}), ["per_hour"]),
        (limited({"per_day": 5.0}), []),
        (limited({**BOTH, "currency": "EUR"}), ["tokens"]),
        (limited(), []),
        (experiment(target("other", budget=BOTH)), []),
        (limited(BOTH, name="other"), []),
    ],
)
def test_a_reload_leaves_no_figure_of_a_limit_that_is_gone(after: ExperimentSettings, kept: list[str]) -> None:
    limits = LimitsLeft((limited(BOTH),))
    late = (left("per_hour", 30.0, 12.0), left("tokens", 3000.0, 100.0, currency=""))
    for frame in late:
        limits.hear(frame)
    limits.rule((after,))
    assert [one.limit for one in limits.totals()] == kept
    limits.rule((limited(BOTH),))
    assert [one.limit for one in limits.totals()] == kept, "nor when the limit comes back, until an engine speaks of it"
    limits.rule((after,))
    for frame in late:
        limits.hear(frame)
    assert [one.limit for one in limits.totals()] == kept, "nor does an engine that has not heard of the reload"


def test_an_engine_may_hear_of_a_reload_first() -> None:
    limits = LimitsLeft(())
    limits.hear(left("pairs", 5.0, 4.0, currency=""))
    assert limits.totals() == []
    limits.rule((limited(time_box={"pairs": 5}),))
    assert limits.totals() == [Remaining("summaries", "candidate", "pairs", "", 5.0, 4.0)]
