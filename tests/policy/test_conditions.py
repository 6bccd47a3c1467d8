"""Conditions on metadata and on the requested model."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.model import Metadata
from shadowmesh.policy.conditions import ALWAYS, Conditions, MetadataCondition, WhenSettings


def conditions(*metadata: dict[str, Any], models: tuple[str, ...] = ()) -> Conditions:
    return Conditions(WhenSettings.model_validate({"metadata": metadata, "models": models}))


@pytest.mark.parametrize(
    ("condition", "metadata", "holds"),
    [
        ({"key": "x-tenant", "equals": "acme"}, (("x-tenant", "acme"),), True),
        ({"key": "x-tenant", "equals": "acme"}, (("x-tenant", "acme2"),), False),
        ({"key": "x-tenant", "equals": "acme"}, (("x-tenant", "Acme"),), False),
        ({"key": "x-tenant", "equals": "acme"}, (), False),
        ({"key": "x-tenant", "equals": ""}, (("x-tenant", ""),), True),
        ({"key": "x-tenant", "equals": ""}, (), False),
        ({"key": "x-tier", "prefix": "gold"}, (("x-tier", "gold-plus"),), True),
        ({"key": "x-tier", "prefix": "gold"}, (("x-tier", "gol"),), False),
        ({"key": "x-debug", "present": True}, (("x-debug", ""),), True),
        ({"key": "x-debug", "present": True}, (("x-debugger", "1"),), False),
        ({"key": "x-debug", "present": False}, (("x-debug", "0"),), False),
        ({"key": "x-debug", "present": False}, (("x-other", "0"),), True),
        ({"key": "x-tenant", "equals": "acme"}, (("x-tenant", b"acme"),), True),
    ],
)
def test_a_condition_is_met_by_the_whole_value_its_beginning_or_the_presence_of_a_key(
    condition: dict[str, Any], metadata: Metadata, holds: bool
) -> None:
    assert conditions(condition).hold(metadata) is holds


def test_all_conditions_must_hold_in_whatever_order_the_call_bears_them() -> None:
    both = conditions(
        {"key": "x-tenant", "equals": "acme"}, {"key": "x-tier", "prefix": "g"}, {"key": "x-test", "present": False}
    )
    assert both.hold((("x-tier", "gold"), ("te", "trailers"), ("x-tenant", "acme")))
    assert not both.hold((("x-tier", "gold"),))
    assert not both.hold((("x-tenant", "acme"), ("x-tier", "gold"), ("x-test", "")))


def test_two_conditions_on_one_key_must_both_hold() -> None:
    both = conditions({"key": "x-tier", "prefix": "gold"}, {"key": "x-tier", "equals": "gold-plus"})
    assert both.hold((("x-tier", "gold-plus"),))
    assert not both.hold((("x-tier", "gold"),))


def test_one_of_several_values_of_a_key_is_enough() -> None:
    assert conditions({"key": "x-tag", "equals": "b"}).hold((("x-tag", "a"), ("x-tag", "b")))


def test_configured_keys_are_of_any_case_because_grpc_delivers_them_in_lower_case() -> None:
    assert conditions({"key": "X-Tenant", "equals": "acme"}).hold((("x-tenant", "acme"),))


@given(st.binary(min_size=1, max_size=20), st.binary(max_size=5), st.booleans())
def test_values_of_binary_keys_are_written_in_base64_with_or_without_padding(
    value: bytes, more: bytes, padded: bool
) -> None:
    text = b64encode(value).decode()
    text = text if padded else text.rstrip("=")
    metadata: Metadata = (("x-session-bin", value + more),)
    assert conditions({"key": "X-Session-Bin", "prefix": text}).hold(metadata)
    assert conditions({"key": "x-session-bin", "equals": text}).hold(metadata) is (not more)


def test_without_conditions_everything_holds() -> None:
    assert ALWAYS.hold((("x-a", "1"),))
    assert ALWAYS.hold_model(None)
    assert (ALWAYS.reads_metadata, ALWAYS.reads_model) == (False, False)


@pytest.mark.parametrize(
    ("model", "holds"),
    [
        ("mistral-7b", True),
        ("llama-3-8b", True),
        ("llama-", True),
        ("mistral-7b-v2", False),
        ("", False),
        (None, False),
    ],
)
def test_a_model_is_named_exactly_or_by_its_beginning_and_an_unknown_one_is_not_wanted(
    model: str | None, holds: bool
) -> None:
    when = conditions(models=("mistral-7b", "llama-*"))
    assert when.reads_model
    assert when.hold(()), "nothing is asked of metadata"
    assert when.hold_model(model) is holds


@pytest.mark.parametrize("key", ["Authorization", "cookie", "x-api-key", "X-Goog-Api-Key"])
def test_nothing_is_decided_by_a_credential(key: str) -> None:
    with pytest.raises(ValidationError, match="credential"):
        MetadataCondition(key=key, present=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"key": "x-a"}, "one of equals"),
        ({"key": "x-a", "equals": "1", "prefix": "1"}, "one of equals"),
        ({"key": "x-a", "equals": "1", "present": True}, "one of equals"),
        ({"key": "x-a", "prefix": ""}, "say present"),
        ({"key": "x-a", "equals": "é"}, "printable ASCII"),
        ({"key": "x-a", "equals": "a\n"}, "printable ASCII"),
        ({"key": "x-a-bin", "equals": "not base64!"}, "base64"),
        ({"key": "x-a-bin", "equals": "é"}, "base64"),
        ({"key": "x a", "present": True}, "not a metadata key"),
        ({"key": "", "present": True}, "not a metadata key"),
        ({"key": "x-*", "present": True}, "not a metadata key"),
    ],
)
def test_a_condition_that_says_too_little_too_much_or_nothing_possible_is_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        MetadataCondition.model_validate(wrong)


@pytest.mark.parametrize("model", ["", "*", "a*b", "m" * 257])
def test_a_pattern_that_is_no_name_of_a_model_is_refused(model: str) -> None:
    with pytest.raises(ValidationError):
        WhenSettings(models=(model,))


KEYS = st.sampled_from(["x-a", "x-b", "x-c"])
VALUES = st.text("ab", max_size=3)
RULES = st.one_of(
    st.fixed_dictionaries({"key": KEYS, "equals": VALUES}),
    st.fixed_dictionaries({"key": KEYS, "prefix": st.text("ab", min_size=1, max_size=2)}),
    st.fixed_dictionaries({"key": KEYS, "present": st.booleans()}),
)


def met(rule: dict[str, Any], metadata: Metadata) -> bool:
    values = [str(value) for key, value in metadata if key == rule["key"]]
    if "present" in rule:
        return bool(values) is rule["present"]
    if "equals" in rule:
        return rule["equals"] in values
    return any(value.startswith(rule["prefix"]) for value in values)


@given(st.lists(RULES, max_size=5), st.lists(st.tuples(KEYS, VALUES), max_size=6))
def test_one_pass_over_the_metadata_finds_what_looking_at_each_condition_finds(
    rules: list[dict[str, Any]], entries: list[tuple[str, str]]
) -> None:
    metadata = tuple(entries)
    assert conditions(*rules).hold(metadata) is all(met(rule, metadata) for rule in rules)


@given(st.lists(RULES, max_size=5))
def test_conditions_survive_the_json_that_a_reload_carries(rules: list[dict[str, Any]]) -> None:
    settings = WhenSettings.model_validate({"metadata": rules, "models": ["a", "b*"]})
    assert WhenSettings.model_validate_json(settings.model_dump_json()) == settings
