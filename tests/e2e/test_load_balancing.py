"""A Collector shares the legs out between two processors on one PostgreSQL, and one of them is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.live import mirrored
from e2e.results import counted, missing, outcomes, splits, value
from e2e.stage import Stage
from e2e.troubles import post
from stack.parts import Binaries
from support import postgresql
from support.legs import SECOND, live, shadow
from support.resources import until

pytestmark = pytest.mark.e2e

WITHIN = 60.0
CALLS = 25
SPLITS = "sum(shadowmesh_pairing_splits_total)"


@pytest.fixture(scope="module")
def stage(binaries: Binaries, database: postgresql.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One in which a lone leg is soon given up."""
    settings = {"store": {"url": database.new_database()}, "window": "3s"}
    with Stage(binaries, tmp_path_factory.mktemp("stage"), settings=settings, processors=2) as running:
        yield running


def accepted(stage: Stage) -> list[int]:
    """Return how many legs each processor has taken in so far."""
    return [int(processor.status()["spans"]["accepted"]) for processor in stage.processors]


def test_what_was_under_way_to_the_killed_one_is_counted_once(stage: Stage) -> None:
    name, calls = "shared", 3 * CALLS
    _, killed = stage.processors
    with mirrored(stage, name=name) as running:
        running.ask_many(CALLS)
        killed.kill()
        running.ask_many(CALLS)
        killed.start()
        running.ask_many(CALLS)
    assert running.mirrored() == calls
    assert until(lambda: outcomes(stage.store, name) == {"matched": calls}, WITHIN), outcomes(stage.store, name)
    assert until(lambda: counted(stage, name) == calls, WITHIN), counted(stage, name)
    assert until(lambda: missing(stage, name) == 0, WITHIN), missing(stage, name)
    of_it = f'shadowmesh_experiment_name="{name}"'
    assert len(stage.prometheus.query(f"sum by (instance) (shadowmesh_pairs_total{{{of_it}}})")) == 2
    assert splits(stage.store) == 0


def test_pairs_whose_other_half_went_to_another_processor_are_counted_once_and_as_split(stage: Stage) -> None:
    name, now = "halves", time.time_ns()
    facts: dict[str, Any] = {"experiment": name, "started_ns": now - SECOND, "ended_ns": now}
    stays, leaves = stage.processors
    before = accepted(stage)
    post(stage, [live(f"half{number}", **facts) for number in range(CALLS)])
    assert until(lambda: sum(accepted(stage)) == sum(before) + CALLS, WITHIN), accepted(stage)
    torn = accepted(stage)[1] - before[1]
    assert 0 < torn < CALLS
    leaves.kill()
    # Who resolves names finds out by itself.
    stage.collector.stop()
    stage.share_out([stays])
    stage.collector.start()
    post(stage, [shadow(f"half{number}", **facts) for number in range(CALLS)])
    assert until(lambda: outcomes(stage.store, name).total() == CALLS, WITHIN), outcomes(stage.store, name)
    assert outcomes(stage.store, name) == {"matched": CALLS - torn, "shadow_only": torn}
    leaves.start()
    assert until(lambda: splits(stage.store) == torn, WITHIN), splits(stage.store)
    assert until(lambda: value(stage, SPLITS) == torn, WITHIN), value(stage, SPLITS)
    assert outcomes(stage.store, name) == {"matched": CALLS - torn, "shadow_only": torn}
    assert counted(stage, name) == CALLS
