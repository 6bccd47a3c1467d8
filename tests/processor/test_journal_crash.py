"""A real process appends, is killed without warning, and everything it had acknowledged is still there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import journal_writer

from shadowmesh.errors import StartError
from shadowmesh.processor.journal_format import Record
from shadowmesh.processor.journal_segments import Segments


class Writer:
    """The process, told what to do line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._input = process.stdin
        self._output = process.stdout
        assert self.line() == "ready"

    def tell(self, line: str) -> None:
        self._input.write(f"{line}\n")
        self._input.flush()

    def line(self) -> str:
        return self._output.readline().rstrip("\n")

    def answers(self) -> list[str]:
        """Return the lines up to the empty one."""
        return list(iter(self.line, ""))

    def rest(self) -> list[str]:
        """Return what it still said before it ended."""
        return [line for line in self._output.read().split("\n") if line]


@contextmanager
def writer(directory: Path, **settings: Any) -> Iterator[Writer]:
    command = [sys.executable, journal_writer.__file__, str(directory), json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writer(process)
        finally:
            process.kill()


def replayed(directory: Path) -> list[str]:
    """Return what the journal holds, in the words of the writer."""
    segments = Segments(directory, segment_bytes=1000, durable=False, wall_ns=lambda: 1)
    try:
        items = list(segments.read())
    finally:
        segments.close()
    assert all(isinstance(item, Record) for item in items)
    return [f"{item.position} {item.payload.decode()}" for item in items if isinstance(item, Record)]


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_kill_9_at_any_time_loses_nothing_that_was_acknowledged(tmp_path: Path, sync: str) -> None:
    chance = random.Random(20)
    acknowledged: list[str] = []
    for _ in range(4):
        with writer(tmp_path, sync=sync, segment_bytes=20_000, max_bytes=100_000_000) as process:
            process.tell("5000")
            acknowledged += [process.line() for _ in range(chance.randrange(1, 1500))]
            process.process.kill()
            acknowledged += [line for line in process.rest() if line.count("-") and line.endswith("x" * 50)]
        kept = replayed(tmp_path)
        assert set(acknowledged) <= set(kept)
        positions = [int(line.split()[0]) for line in kept]
        assert positions == sorted(set(positions))


def test_a_journal_belongs_to_one_process_as_long_as_that_lives(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        with pytest.raises(StartError, match=f"belongs to process {process.process.pid}, which holds .*lock"):
            replayed(tmp_path)
        process.tell("3")
        said = process.answers()
        process.process.kill()
        process.process.wait()
        assert replayed(tmp_path) == said


def test_a_disk_that_takes_no_more_refuses_and_recovers(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        process.tell("3")
        kept = process.answers()
        process.tell("limit 200")
        assert process.answers() == []
        process.tell("4")
        assert process.answers() == ["refused"] * 4
        process.tell("limit")
        process.answers()
        process.tell("2")
        kept += process.answers()
        process.process.kill()
        process.process.wait()
    assert replayed(tmp_path) == kept
    assert len(kept) == 5
