"""How sampling keys come is known per experiment, and said once where a few make up most calls."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support.experiments import experiment, target

from shadowmesh.mirror.key_watch import SKEWED, KeyWatch
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.plan import Plan

STICKY: dict[str, Any] = {"sampling": {"by": {"metadata": "x-user"}}}


def plan_of(watch: KeyWatch, **changes: Any) -> Plan:
    gate = LiveGate((experiment(target(rate=0.5), **changes),), lambda _: None, missing=watch.missed)
    (plan,) = gate.plans.values()
    return plan


def call(plan: Plan, *users: str) -> None:
    for user in users:
        plan.sampler.place((("x-user", user),), lambda: b"chance")


def test_an_experiment_that_samples_each_call_by_itself_has_no_figures() -> None:
    watch = KeyWatch()
    assert watch.figures([plan_of(watch)]) == {}


def test_calls_without_the_key_are_counted_and_of_few_calls_no_share_is_known() -> None:
    watch = KeyWatch()
    plan = plan_of(watch, **STICKY)
    call(plan, "ada", "", "bob")
    assert watch.figures([plan]) == {"summaries": (None, 1)}


def test_what_has_come_since_is_taken_in_each_time() -> None:
    watch = KeyWatch()
    plan = plan_of(watch, **STICKY)
    for _ in range(3):
        call(plan, *(f"user-{number}" for number in range(900)), *["ada"] * 100)
        share = watch.figures([plan])["summaries"].top_share
        assert share == pytest.approx(0.1, abs=0.01)


def test_a_key_behind_too_many_calls_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = KeyWatch()
    plan, other = plan_of(watch, **STICKY), plan_of(watch, name="other", **STICKY)
    most = round(1000 * (SKEWED + 0.05))
    with caplog.at_level(logging.WARNING, "shadowmesh"):
        call(other, *(f"user-{number}" for number in range(1000)))
        for _ in range(3):
            call(plan, *["ada"] * most, *(f"user-{number}" for number in range(1000 - most)))
            watch.figures([plan, other])
    assert [record.message for record in caplog.records] == [
        "summaries: one sampling key makes up 25 % of the calls, so the share that is mirrored is not the rate"
    ]
    assert "ada" not in caplog.text
