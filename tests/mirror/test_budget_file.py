"""What was spent is in one file that one engine writes; what is damaged is never taken for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shadowmesh.errors import ConfigError
from shadowmesh.mirror.budget_file import BudgetFile, BudgetShareSettings, check

ACCOUNTS: dict[str, Any] = {"x/candidate": {"pairs": 3}}


Open = Callable[[int], BudgetFile]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Files of one directory; nothing stays held."""
    files: list[BudgetFile] = []

    def one(slots: int) -> BudgetFile:
        files.append(BudgetFile(str(tmp_path), slots))
        return files[-1]

    yield one
    for file in files:
        file.release()


def written(directory: Path, accounts: dict[str, Any] = ACCOUNTS) -> None:
    file = BudgetFile(str(directory), 1)
    assert file.take() == {}
    file.write(accounts)
    file.release()


def test_what_one_process_wrote_the_next_one_finds(tmp_path: Path, opened: Open) -> None:
    written(tmp_path)
    assert opened(1).take() == ACCOUNTS


def test_a_file_has_one_writer_and_there_are_no_more_than_engines(opened: Open) -> None:
    first, second, third = (opened(2) for _ in range(3))
    assert (first.take(), second.take(), third.take()) == ({}, {}, None)
    first.write(ACCOUNTS)
    first.release()
    first.release()
    assert third.take() == ACCOUNTS, "the place of one that has ended is taken, with what it spent"


HOLDER = """
import sys
from shadowmesh.mirror.budget_file import BudgetFile
file = BudgetFile(sys.argv[1], 1)
file.take()
file.write({"x/candidate": {"pairs": 7}})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_is_killed_gives_its_file_back(tmp_path: Path, opened: Open) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        assert opened(1).take() is None
        holder.kill()
        holder.wait(20)
    assert opened(1).take() == {"x/candidate": {"pairs": 7}}


def test_it_is_replaced_and_never_changed(tmp_path: Path, opened: Open) -> None:
    file = opened(1)
    file.take()
    file.write(ACCOUNTS)
    path = tmp_path / "budget-0.json"
    with path.open("rb") as before:
        file.write({"x/candidate": {"pairs": 4}})
        assert json.load(before)["accounts"] == ACCOUNTS
    assert json.loads(path.read_text())["accounts"] == {"x/candidate": {"pairs": 4}}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["budget-0.json", "budget-0.lock"]


DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    '{"accounts": {}}',
    '{"schema": "shadowmesh.budget/2", "accounts": {}}',
    '{"schema": "shadowmesh.budget/1"}',
    '{"schema": "shadowmesh.budget/1", "accounts": 4}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_no_empty_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "budget-0.json").write_text(content)
    with pytest.raises(ValueError, match=r"budget-0\.json"):
        BudgetFile(str(tmp_path), 1).take()
    with pytest.raises(ConfigError, match=r"mirror\.budget\.state: .*budget-0\.json") as caught:
        check(BudgetShareSettings(state=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_after_a_damaged_file_was_removed_it_begins_anew(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "budget-0.json"
    path.write_text("{")
    file = opened(1)
    with pytest.raises(ValueError, match="damaged"):
        file.take()
    path.unlink()
    assert file.take() == {}


def test_a_directory_that_is_missing_is_made_for_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "budget"
    check(BudgetShareSettings(state=str(directory)))
    assert directory.stat().st_mode & 0o077 == 0
    check(BudgetShareSettings())


def test_a_place_that_is_no_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "budget").write_text("")
    with pytest.raises(ConfigError, match=r"mirror\.budget\.state"):
        check(BudgetShareSettings(state=str(tmp_path / "budget")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_nobody_may_write_to_stops_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="nothing can be written"):
        check(BudgetShareSettings(state=str(tmp_path)))


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, opened: Open) -> None:
    written(tmp_path)
    file = opened(1)
    file.take()
    # In the place of what is written beside it, something that cannot be opened for writing.
    (tmp_path / "budget-0.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        file.write({})
    assert json.loads((tmp_path / "budget-0.json").read_text())["accounts"] == ACCOUNTS
