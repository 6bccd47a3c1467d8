"""JSON is changed where it was asked for, and every other character of it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.protocols import json_edits
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "ü", '"', "\\", "}"]), VALUES, max_size=5)
LAYOUTS = st.sampled_from([(None, (",", ":")), (2, (" ,", " : ")), (None, (",\t", ": "))])


@given(OBJECTS, LAYOUTS)
def test_members_are_those_that_a_parser_finds(value: dict[str, Any], layout: Any) -> None:
    text = json.dumps(value, indent=layout[0], separators=layout[1])
    found = json_edits.members(f" {text}\n")
    assert {one.key: json.loads(f" {text}\n"[one.value : one.end]) for one in found} == value


@given(OBJECTS, VALUES, LAYOUTS)
def test_a_member_is_removed_changed_or_added_and_the_others_stay(value: dict[str, Any], new: Any, layout: Any) -> None:
    text = json.dumps(value, indent=layout[0], separators=layout[1])
    rest = {key: one for key, one in value.items() if key != "a"}
    assert json.loads(json_edits.removed(text, ["a"])) == rest
    assert json.loads(json_edits.with_member(text, "a", json.dumps(new))) == {**value, "a": new}
    changed = json_edits.changed(text, "a", lambda _: json.dumps(new))
    assert json.loads(changed) == ({**value, "a": new} if "a" in value else value)


@given(st.lists(VALUES, max_size=4))
def test_elements_are_those_of_the_list(values: list[Any]) -> None:
    found = json_edits.elements(json.dumps(values))
    assert [json.loads(one) for one in found] == values
    assert json.loads(json_edits.listed(found)) == values


def test_a_key_that_stands_twice_is_removed_and_changed_twice_and_read_as_parsers_read_it() -> None:
    text = '{"a": 1, "b": 2, "a": 3}'
    assert json_edits.value_of(text, "a") == "3"
    assert json_edits.removed(text, ["a"]) == '{"b": 2}'
    assert json_edits.changed(text, "a", lambda value: value + "0") == '{"a": 10, "b": 2, "a": 30}'


def test_what_is_removed_takes_nothing_with_it_but_what_parts_it_from_the_next() -> None:
    text = '{ "a" : 1 ,"b": 2.50 , "c":3\n, "d": 4 }'
    assert json_edits.removed(text, ["a"]) == '{ "b": 2.50 , "c":3\n, "d": 4 }'
    assert json_edits.removed(text, ["b"]) == '{ "a" : 1 ,"c":3\n, "d": 4 }'
    assert json_edits.removed(text, ["c", "d"]) == '{ "a" : 1 ,"b": 2.50 }'
    assert json_edits.removed(text, ["a", "b", "c", "d"]) == "{  }"


def test_what_is_not_there_changes_nothing() -> None:
    text = '{ "b" : 1.50 }'
    assert json_edits.removed(text, ["a"]) is text
    assert json_edits.changed(text, "a", lambda _: "0") is text
    assert json_edits.value_of(text, "a") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '"a"',
        "{",
        '{"a"}',
        '{"a":}',
        '{"a":1',
        '{"a":1,}',
        "{1:2}",
        "{} }",
        '{"a":1} b',
        '{"a":1 "b":2}',
        '{"a":' + "[" * 99_999,
    ],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        json_edits.members(text)


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    for read in (json_edits.members, json_edits.elements):
        try:
            read(text)
        except DecodeError:
            continue


def test_of_several_ways_the_first_that_leads_anywhere_counts() -> None:
    path = JsonPath("content[*].text | content")
    assert path.find({"content": [{"text": "a"}, {"x": 1}, {"text": "b"}]}) == ["a", "b"]
    assert path.find({"content": "a"}) == ["a"]
    assert path.find({}) == path.find(None) == []
    assert path.placed({"content": [{"text": "a"}, {"x": 1}, {"text": "b"}]}) == [(0, "a"), (2, "b")]
    assert (path.key, JsonPath("content").key, JsonPath("a.b").key, JsonPath("$").key) == (None, "content", None, None)
    with pytest.raises(ProtocolMapError, match="no path into JSON"):
        JsonPath("a..b")


def test_half_a_character_is_no_text() -> None:
    assert plain(parsed('"\\ud83d"')) == "?"
    assert plain(parsed('"\\ud83d\\ude00"')) == "\U0001f600"
    assert plain(parsed("7")) is None
