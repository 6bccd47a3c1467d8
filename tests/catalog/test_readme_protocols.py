"""The README's table of protocols says what the catalog reads, and every row has calls that were made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.dialects import CALLS
from support.dialects.spoken import BIDI, Said, Spoken, mirrored
from support.servers import PROXY

from shadowmesh.catalog.builtin import builtin
from shadowmesh.model import NO_FIELDS
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.schema import messages

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
    # The section has other tables behind this one.
    table = found[1][found[1].index("| `protocol`") :].partition("\n\n")[0]
    lines = [line for line in table.splitlines()[1:] if line.startswith("| `")]
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


@pytest.mark.parametrize("protocol", sorted(builtin().protocols))
def test_what_a_row_says_has_been_read_of_a_call(protocol: str) -> None:
    _, _, answer, tokens = _rows()[protocol]
    calls = [spoken for spoken in CALLS.values() if spoken.protocol == protocol]
    assert {read for spoken in calls for read in spoken.reads} == {
        *_said(answer),
        *(["tokens"] if _said(tokens) else []),
    }
    known = {name for spoken in calls for answered in spoken.answered for name in answered}
    assert {_WORDS[word] for word in _said(tokens)} <= known


@pytest.mark.parametrize("kind", ["sync", "aio", PROXY])
def test_what_has_no_row_is_raw_bytes_counts_times_and_status(kind: str) -> None:
    said = [messages.GenerateDelta(delta=text) for text in ("fo", "ur")]
    call = Spoken(
        "raw",
        "/acme.Model/Ask",
        BIDI,
        [messages.GenerateRequest()],
        Said(said),
        Said(said[:1], "INTERNAL"),
        [{}],
        [],
        [],
    )
    (live,), (shadow,) = mirrored(kind, call)
    assert (live.fields, shadow.fields, live.cost) == (NO_FIELDS, NO_FIELDS, None)
    assert (live.message_count, shadow.message_count) == (2, 1)
    assert (live.status, shadow.status) == ("OK", "INTERNAL")
    assert live.duration > 0
    assert live.output_digest is not None
    assert live.output_digest != shadow.output_digest
