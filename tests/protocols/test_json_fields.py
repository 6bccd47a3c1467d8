"""A value in the JSON of a field is found and changed by its place, and every other byte stays what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dialects.spoken import view

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.edits import has_place, removal_at, setting_at
from shadowmesh.protocols.json_fields import JsonValue
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.schema.descriptors import message_class

REQUEST = descriptor_of(message_class("shadowmesh.views.sglang.OpenAiRequest"))
MODEL = "json(json_body, model, text)"
TOKENS = "json(json_body, max_completion_tokens, integer) | json(json_body, max_tokens, integer)"
USAGE = "json(json_body, stream_options.include_usage, bool)"
UNKNOWN = wire.field(1000, b"kept")
# As no program writes it: spaces, numbers, escapes and a key that stands twice.
ODD = '\n{ "temperature" :0.50, "n":1E0 ,\t"model" : "a\\u0062", "x": [ 1 ,{"model":7} ], "é":"\\/", "x":-0.0}\n'


def sent(text: str) -> bytes:
    return view("sglang.OpenAiRequest", json_body=text.encode()).SerializeToString() + UNKNOWN


def text_of(data: bytes) -> str:
    assert data.endswith(UNKNOWN)
    body = wire.last(data, (1,))
    assert body is not None
    return body.decode()


def changed(place: str, text: str, value: Any) -> str:
    return text_of(setting_at(place, REQUEST, value)(sent(text), None))


def test_one_value_is_changed_and_every_other_character_stays() -> None:
    assert changed(MODEL, ODD, "new") == ODD.replace('"a\\u0062"', '"new"')
    assert text_of(removal_at(MODEL, REQUEST)(sent(ODD), None)) == ODD.replace('"model" : "a\\u0062", ', "")
    assert JsonValue(MODEL, REQUEST).find(sent(ODD)) == "ab"


@pytest.mark.parametrize(
    ("place", "before", "value", "after"),
    [
        (MODEL, "{}", "m", '{"model":"m"}'),
        (MODEL, '{"model":null}', "é", '{"model":"é"}'),
        (TOKENS, '{"max_tokens": 8}', 4, '{"max_tokens": 4}'),
        (TOKENS, '{"max_tokens": 8, "max_completion_tokens": 9}', 4, '{"max_tokens": 8, "max_completion_tokens": 4}'),
        (TOKENS, '{"max_tokens": null}', 4, '{"max_tokens": null,"max_completion_tokens":4}'),
        (USAGE, "{}", True, '{"stream_options":{"include_usage":true}}'),
        (USAGE, '{"stream_options": null}', True, '{"stream_options": {"include_usage":true}}'),
        (USAGE, '{"stream_options": {"x": 1.0 }}', False, '{"stream_options": {"x": 1.0 ,"include_usage":false}}'),
    ],
)
def test_what_says_something_is_changed_and_what_is_missing_is_made(
    place: str, before: str, value: Any, after: str
) -> None:
    assert changed(place, before, value).replace(" ", "") == after.replace(" ", "")
    assert JsonValue(place, REQUEST).find(sent(after)) == value


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        (TOKENS, '{"max_tokens": 8, "a": 1, "max_completion_tokens": 9}', '{"a": 1}'),
        (USAGE, '{"stream_options": {"include_usage": true, "x": 1}}', '{"stream_options": {"x": 1}}'),
        (USAGE, '{"stream_options": null}', '{"stream_options": null}'),
        (USAGE, '{"a": 1}', '{"a": 1}'),
    ],
)
def test_what_is_removed_is_gone_wherever_it_may_stand(place: str, before: str, after: str) -> None:
    assert text_of(removal_at(place, REQUEST)(sent(before), None)) == after


def test_a_message_without_json_stays_without() -> None:
    assert setting_at(MODEL, REQUEST, "m")(UNKNOWN, None) == UNKNOWN
    assert JsonValue(MODEL, REQUEST).find(UNKNOWN) is None


@pytest.mark.parametrize("text", ["[]", "no json", '{"model":"a"} }', '{"stream_options": 7}', "[" * 100_000])
def test_what_is_no_such_json_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        setting_at(USAGE, REQUEST, value=True)(sent(text), None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["model", "max_tokens", "max_completion_tokens", "stream_options", "include_usage", "é"])


@given(st.dictionaries(KEYS, JSON, max_size=5), st.text(max_size=8), st.sampled_from([None, 1]))
def test_only_what_was_meant_is_another_value(said: dict[str, Any], new: str, indent: int | None) -> None:
    after = json.loads(changed(MODEL, json.dumps(said, indent=indent), new))
    assert after == {**said, "model": new}
    gone = text_of(removal_at(MODEL, REQUEST)(sent(json.dumps(said, indent=indent)), None))
    assert json.loads(gone) == {key: value for key, value in said.items() if key != "model"}


@given(st.binary(max_size=80) | JSON.map(lambda value: sent(json.dumps(value))))
def test_arbitrary_bytes_are_changed_or_refused(data: bytes) -> None:
    for edit in (setting_at(USAGE, REQUEST, value=True), removal_at(USAGE, REQUEST), setting_at(TOKENS, REQUEST, 4)):
        try:
            assert isinstance(edit(data, None), bytes)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "place",
    [
        "json(json_body, choices[*].text, text)",
        "json(json_body, stop[0], text)",
        "json(json_body, $, text)",
        "json(json_body, model, words)",
        "json(json_body, model)",
        "json(nothing, model, text)",
        "json(json_body, model, text) | json_body",
        "json(json_body, model, text) | json(json_body, seed, integer)",
    ],
)
def test_what_is_not_one_value_is_no_place(place: str) -> None:
    assert not has_place(place, REQUEST)
    with pytest.raises(ProtocolMapError):
        setting_at(place, REQUEST, "m")


@pytest.mark.parametrize(("place", "value"), [(MODEL, 7), (TOKENS, "8"), (TOKENS, True), (TOKENS, 0.5), (USAGE, 1)])
def test_a_value_of_another_kind_is_refused_at_start(place: str, value: Any) -> None:
    with pytest.raises(ProtocolMapError, match="cannot be"):
        setting_at(place, REQUEST, value)
