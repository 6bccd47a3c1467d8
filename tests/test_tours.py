"""A room's tour has a place for each of its files, and for nothing that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shadowmesh

PACKAGE = Path(shadowmesh.__file__).parent
# The commands are one module each, and say so.
ROOMS = [path.parent for path in sorted(PACKAGE.glob("*/__init__.py")) if path.parent.name != "cli"]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_tour_names_every_file_of_its_room_and_begins_no_line_with_another(room: Path) -> None:
    tour = (room / "__init__.py").read_text(encoding="utf-8")
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert files <= set(re.findall(r"`([a-z_0-9]+)`", tour))
    heads = set(re.findall(r"^- `+([a-z_0-9]+)`+", tour, flags=re.MULTILINE))
    assert heads <= files | {path.name for path in room.iterdir() if path.is_dir()}
