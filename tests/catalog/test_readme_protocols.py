"""The README's table of protocols says what the catalog reads, and every row has calls that were made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.dialects import CALLS

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.protocol_map import MethodMap

_SECTION = re.compile(r"^## Protocols\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_WORDS = {
    "in": "input_tokens",
    "out": "output_tokens",
    "cached": "cached_input_tokens",
    "reasoning": "reasoning_output_tokens",
}


def _rows() -> dict[str, list[str]]:
    found = _SECTION.search((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("| `") and not line.startswith("| `protocol`")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def _said(cell: str) -> list[str]:
    return [] if cell == "none" else cell.split(", ")


def _read(maps: dict[str, MethodMap]) -> set[str]:
    return {name for method_map in maps.values() for name in method_map.response}


def test_every_protocol_has_a_row() -> None:
    assert sorted(_rows()) == sorted(builtin().protocols)


@pytest.mark.parametrize("protocol", sorted(builtin().protocols))
def test_a_row_says_what_is_read(protocol: str) -> None:
    _, services, answer, tokens = _rows()[protocol]
    maps = dict(builtin().protocols[protocol])
    assert set(re.findall(r"`([\w.]+)`", services)) == {method[1:].partition("/")[0] for method in maps}
    assert _said(answer) == [name for name in ("text", "ids") if name in _read(maps)]
    assert _said(tokens) == [word for word, name in _WORDS.items() if name in _read(maps)]


@pytest.mark.parametrize("protocol", sorted(set(builtin().protocols) - {"shadowmesh"}))
def test_what_a_row_says_has_been_read_of_a_call(protocol: str) -> None:
    _, _, answer, tokens = _rows()[protocol]
    calls = [spoken for spoken in CALLS.values() if spoken.protocol == protocol]
    assert {read for spoken in calls for read in spoken.reads} == {
        *_said(answer),
        *(["tokens"] if _said(tokens) else []),
    }
    known = {name for spoken in calls for answered in spoken.answered for name in answered}
    assert {_WORDS[word] for word in _said(tokens)} <= known
