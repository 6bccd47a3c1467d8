"""A changed configuration file is found however it was changed, taken if it is good, and refused if it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shadowmesh.errors import ConfigError
from shadowmesh.mirror.file_watch import FileWatch


class Watched:
    """A file, and what was made of it; ``bad`` is what is refused."""

    def __init__(self, path: Path, content: str = "one") -> None:
        self.path = path
        self.taken: list[str] = []
        path.write_text(content)
        self.watch = FileWatch(path, content.encode(), self._accept)

    def _accept(self, text: str) -> None:
        if "bad" in text:
            raise ConfigError("unknown key", source=str(self.path), key="miror")
        self.taken.append(text)

    def look(self, times: int = 2) -> list[str]:
        for _ in range(times):
            self.watch.look()
        return self.taken


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "shadowmesh.yaml")


def in_place(path: Path, content: str) -> None:
    path.write_text(content)


def replaced(path: Path, content: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.replace(path)


def replaced_with_its_times(path: Path, content: str) -> None:
    times = path.stat()
    replaced(path, content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [in_place, replaced, replaced_with_its_times])
def test_a_change_is_taken_when_two_looks_have_found_it(change: Callable[[Path, str], None], watched: Watched) -> None:
    assert watched.look() == []
    change(watched.path, "two")
    assert watched.watch.look(), "look again soon"
    assert watched.taken == []
    assert not watched.watch.look()
    assert watched.look() == ["two"]
    assert (watched.watch.applied, watched.watch.refused, watched.watch.problem) == (1, 0, "")


def test_a_config_map_is_swapped_behind_a_symlink(tmp_path: Path) -> None:
    """As the kubelet does it: file → ..data/file, ..data → a directory with a date, replaced by a rename."""
    for number in ("1", "2"):
        (tmp_path / f"..2026_0{number}").mkdir()
        (tmp_path / f"..2026_0{number}" / "shadowmesh.yaml").write_text(number)
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "shadowmesh.yaml").symlink_to("..data/shadowmesh.yaml")
    taken: list[str] = []
    watch = FileWatch(tmp_path / "shadowmesh.yaml", b"1", taken.append)
    watch.look()
    watch.look()
    assert taken == []
    (tmp_path / "..data_tmp").symlink_to("..2026_02")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    watch.look()
    watch.look()
    assert taken == ["2"]


def test_what_was_read_half_way_is_not_taken(watched: Watched) -> None:
    watched.path.write_text("")
    assert watched.watch.look()
    watched.path.write_text("two")
    assert watched.watch.look()
    assert watched.look() == ["two"]


def test_what_is_changed_and_changed_back_between_two_looks_was_no_change(watched: Watched) -> None:
    watched.path.write_text("two")
    assert watched.watch.look()
    watched.path.write_text("one")
    assert not watched.watch.look()
    assert watched.look() == []


def test_a_file_that_is_wrong_is_refused_once_and_said(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.path.write_text("bad")
    assert watched.look(6) == []
    assert (watched.watch.applied, watched.watch.refused) == (0, 1)
    assert watched.watch.problem == f"{watched.path}: miror: unknown key"
    assert [record.message for record in caplog.records] == [
        f"{watched.path}: miror: unknown key; the configuration before it stays in force"
    ]


def test_the_next_good_one_is_taken_even_if_it_is_the_one_before(watched: Watched) -> None:
    watched.path.write_text("bad")
    watched.look()
    watched.path.write_text("one")
    assert watched.look() == ["one"]
    assert watched.watch.problem == ""


@pytest.mark.parametrize("broken", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read_is_refused_and_changes_nothing(
    broken: Callable[[Path], None], watched: Watched
) -> None:
    broken(watched.path)
    assert watched.look(6) == []
    assert watched.watch.refused == 1
    assert str(watched.path) in watched.watch.problem
    watched.path.write_text("two")
    assert watched.look() == ["two"]


def test_a_file_that_is_away_for_a_moment_was_not_away(watched: Watched) -> None:
    watched.path.unlink()
    assert watched.watch.look()
    watched.path.write_text("one")
    assert not watched.watch.look()
    assert (watched.look(), watched.watch.refused) == ([], 0)
