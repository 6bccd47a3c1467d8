"""Errors of the mirror side: all are counted, each cause is logged once."""

from __future__ import annotations

import logging

import pytest

from shadowmesh.telemetry.faults import Fault, Faults


def test_every_error_is_counted_and_its_cause_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    for number in range(3):
        faults.report("engine", ValueError(f"number {number}"))
    faults.report("recorder", ValueError("elsewhere"))
    faults.report("engine", KeyError("another kind"))
    faults.report("export", "queue full")
    faults.report("export", "queue full")
    assert faults.totals() == {
        "engine: ValueError": 3,
        "recorder: ValueError": 1,
        "engine: KeyError": 1,
        "export: queue full": 2,
    }
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "engine: ValueError",
        "recorder: ValueError",
        "engine: KeyError",
        "export: queue full",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert {record.name for record in caplog.records} == {"shadowmesh"}


def test_an_error_that_cost_many_counts_for_all_of_them() -> None:
    faults = Faults()
    faults.report("export", "the exporter failed", 12)
    faults.report("export", "the exporter failed", 3)
    assert faults.totals() == {"export: the exporter failed": 15}


def test_an_error_is_logged_with_where_it_came_from_and_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    try:
        raise RuntimeError("a prompt")
    except RuntimeError as error:
        faults.report("engine", error)
    assert "test_faults.py" in caplog.text
    assert "a prompt" not in caplog.text


def test_causes_without_end_are_counted_but_not_all_logged(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    for number in range(1_500):
        faults.report("place", f"cause {number}")
    assert len(caplog.records) == 1_000
    assert len(faults.totals()) == 1_500


def test_faults_of_one_mesh_are_not_those_of_another() -> None:
    one, other = Faults(), Faults()
    one.report("engine", "x")
    assert other.totals() == {}


def test_the_last_time_of_each_cause_is_known_and_the_latest_comes_first() -> None:
    now = iter([100, 200, 300])
    faults = Faults(wall_ns=lambda: next(now))
    faults.report("engine", "x")
    faults.report("export", "y")
    faults.report("engine", "x")
    assert faults.latest() == [Fault("engine: x", 2, 300), Fault("export: y", 1, 200)]


def test_of_causes_without_end_the_time_is_not_remembered() -> None:
    faults = Faults(wall_ns=lambda: 7)
    for number in range(1_001):
        faults.report("place", str(number))
    assert faults.latest()[-1] == Fault("place: 1000", 1, None)
