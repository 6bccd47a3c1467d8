"""Settings of what is changed in a request."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.experiments import experiment, target

from shadowmesh.policy.transform import TransformSettings


def test_nothing_is_changed_by_default() -> None:
    assert not TransformSettings()
    assert not experiment().targets[0].transform


def test_each_change_is_one() -> None:
    for change in (
        {"model": "m"},
        {"system_prompt": {"replace": ""}},
        {"temperature": 0},
        {"seed": 0},
        {"tools": "drop"},
        {"set_fields": {"a": 1}},
        {"remove_fields": ["a"]},
    ):
        assert TransformSettings.model_validate(change)


def test_what_is_set_by_name_is_what_is_given_zero_included() -> None:
    settings = TransformSettings(temperature=0, max_tokens=5)
    assert settings.named == {"temperature": 0.0, "max_tokens": 5}


def test_values_keep_their_type_on_the_way_to_the_engine() -> None:
    values = {"a": 1, "b": 1.5, "c": "1", "d": True}
    before = experiment(target(transform={"set_fields": values}))
    after = type(before).model_validate_json(before.model_dump_json())
    assert [type(value) for value in after.targets[0].transform.set_fields.values()] == [int, float, str, bool]
    assert after == before


@pytest.mark.parametrize(
    "change",
    [
        {"modle": "x"},
        {"model": ""},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"max_tokens": "5"},
        {"seed": 1.5},
        {"tools": "keep"},
        {"system_prompt": {}},
        {"system_prompt": {"prepend": "a", "replace": "b"}},
        {"system_prompt": {"prepend": ""}},
        {"system_prompt": "text"},
        {"set_fields": {"": 1}},
        {"set_fields": {"a": [1]}},
    ],
    ids=repr,
)
def test_wrong_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TransformSettings.model_validate(change)
