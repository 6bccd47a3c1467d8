"""A preset is a set of defaults: it fills in what is not said, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.experiments import experiment, target

from shadowmesh.policy.experiment import ExperimentSettings, OnLiveCancel
from shadowmesh.policy.presets import Preset


def test_careful_is_few_calls_and_an_end() -> None:
    careful = experiment(target(), target("control", kind="control"), preset="careful")
    candidate, control = careful.targets
    assert (candidate.rate, candidate.max_rate, candidate.max_in_flight, candidate.deadline) == (0.01, 5, 4, 30.0)
    assert (candidate.breaker.failures, candidate.breaker.probes) == (0.2, 1)
    assert (control.rate, control.max_in_flight) == (0.002, 4)
    assert careful.time_box is not None
    assert careful.time_box.pairs == 10_000


def test_standard_is_a_tenth_of_the_calls_and_a_smaller_control() -> None:
    candidate, control = experiment(target(), target("control", kind="control"), preset="standard").targets
    assert (candidate.rate, candidate.max_rate, candidate.max_in_flight, control.rate) == (0.1, 50, 32, 0.02)


def test_load_test_is_every_call_to_its_own_end() -> None:
    (candidate,) = experiment(preset="load-test").targets
    assert (candidate.rate, candidate.max_in_flight, candidate.on_live_cancel) == (1.0, 1000, OnLiveCancel.DETACH)


def test_what_is_said_wins_key_by_key() -> None:
    careful = experiment(target(rate=0.5, breaker={"probes": 7}), preset="careful", time_box={"pairs": 3})
    (candidate,) = careful.targets
    assert (candidate.rate, candidate.breaker.probes, candidate.breaker.failures) == (0.5, 7, 0.2)
    assert careful.time_box is not None
    assert careful.time_box.pairs == 3


def test_a_default_that_is_not_wanted_is_said_to_be_none() -> None:
    assert experiment(preset="careful", time_box=None).time_box is None


def test_a_preset_nobody_knows_names_its_key() -> None:
    with pytest.raises(ValidationError) as caught:
        experiment(preset="bold")
    assert [error["loc"] for error in caught.value.errors()] == [("preset",)]


@pytest.mark.parametrize("preset", Preset)
def test_what_is_wrong_beside_a_preset_keeps_its_path(preset: Preset) -> None:
    with pytest.raises(ValidationError) as caught:
        experiment(target(), target("b", breaker={"opne": 1}), preset=preset.value)
    assert [error["loc"] for error in caught.value.errors()] == [("targets", 1, "breaker", "opne")]


@pytest.mark.parametrize("targets", [None, "a", 5, ["a"], [None], {}])
def test_what_is_no_list_of_targets_is_left_to_the_settings(targets: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentSettings.model_validate({"name": "x", "methods": ["*"], "preset": "careful", "targets": targets})
    assert caught.value.errors()[0]["loc"][0] == "targets"


@given(st.sampled_from([None, *Preset]), st.sampled_from([0.25, None]), st.sampled_from([{"probes": 2}, None]))
def test_what_was_filled_in_is_the_same_when_read_again(preset: Preset | None, rate: Any, breaker: Any) -> None:
    more = {key: value for key, value in (("rate", rate), ("breaker", breaker)) if value is not None}
    once = experiment(target(**more), preset=preset)
    assert type(once).model_validate_json(once.model_dump_json()) == once
