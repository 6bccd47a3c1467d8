"""YAML is read alike by libyaml and by Python, and what it would silently drop is refused by both."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.catalog import strict_yaml
from shadowmesh.errors import ConfigError

TEXTS = st.lists(
    st.sampled_from(
        ["a: ", "b: ", "\n", "  ", "- ", "[", "]", "{", "}", "&x ", "*x", "<<: ", "'", '"', "1", "x", "#", "? ", "|"]
    ),
    max_size=16,
).map("".join)


def read(text: str) -> Any:
    try:
        return strict_yaml.load(text)
    except ConfigError as error:
        return str(error)


@given(TEXTS)
def test_a_text_that_python_reads_says_the_same_with_libyaml(text: str) -> None:
    try:
        said = yaml.load(text, strict_yaml._Loader)
    except (yaml.YAMLError, ValueError):
        # libyaml has read such as {1? } all the same; what both refuse is refused in Python's words.
        read(text)
        return
    assert read(text) == said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' twice"),
        ("x:\n  - {a: 1, a: 2}\n", "line 2: key 'a' twice"),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2, b: 3}\n", "line 3: key 'b' twice"),
        ("a: 1\nb: [\n", "line 3: "),
        ("a: 2024-13-45\n", "not YAML"),
        ("a: !!python/name:os.system\n", "line 1: could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        strict_yaml.load(text)
    assert str(error.value).startswith(problem)


def test_an_alias_and_a_merge_say_a_key_again_and_are_no_second_one() -> None:
    text = "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\ne: {<<: *x, <<: {f: 3}}\n"
    assert strict_yaml.load(text)["d"] == {"b": 2}


@pytest.mark.parametrize("one", ["[", "- ", "{a: ", "? "])
def test_no_nesting_ends_the_process(one: str) -> None:
    for text in (one * 300_000, "[" * 300_000 + "]" * 300_000):
        with pytest.raises(ConfigError):
            strict_yaml.load(text)
