"""The files of captured calls: everything comes back, whatever tears; and they are bounded, and their owner's alone."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.errors import DecodeError, StartError
from shadowmesh.mirror.capture_files import CaptureFiles, check_directory, read_calls
from shadowmesh.mirror.capture_format import HEADER, CapturedCall, CapturedMessage, decoded, encoded, pieces
from shadowmesh.mirror.capture_settings import CaptureSettings

MESSAGES = st.lists(st.builds(CapturedMessage, st.none() | st.integers(0, 1 << 62), st.binary(max_size=50)), max_size=4)
METADATA = st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9) | st.binary(max_size=9)), max_size=3)
CALLS = st.builds(
    CapturedCall,
    method=st.text(max_size=20),
    arity=st.sampled_from(["unary_unary", "stream_stream"]),
    at_ns=st.integers(0, 1 << 62),
    elapsed_ns=st.integers(0, 1 << 62),
    metadata=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9) | st.binary(max_size=9)), max_size=3).map(
        tuple
    ),
    deadline=st.none() | st.floats(0, 1e6),
    requests=MESSAGES.map(tuple),
    responses=MESSAGES.map(tuple),
    complete=st.booleans(),
    status=st.sampled_from(["", "OK", "INTERNAL"]),
    end=st.just("completed"),
)
CALL = CapturedCall(
    method="/acme.Models/Ask",
    arity="unary_unary",
    at_ns=5,
    elapsed_ns=7,
    metadata=(),
    deadline=None,
    requests=(CapturedMessage(0, b"x" * 900),),
    responses=(),
    complete=True,
    status="OK",
    end="completed",
)


class Wall:
    """Begins now, because the disk writes its own time on files."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def opened(folder: Path, wall: Wall | None = None, **more: Any) -> CaptureFiles:
    return CaptureFiles(CaptureSettings.model_validate({"to": str(folder), **more}), wall=wall or Wall())


@given(st.lists(CALLS, max_size=5))
def test_every_call_comes_back_as_it_was(calls: list[CapturedCall]) -> None:
    data = HEADER + b"".join(map(encoded, calls))
    assert list(decoded(io.BytesIO(data))) == calls


@given(st.lists(CALLS, min_size=1, max_size=3), st.data())
def test_wherever_the_last_line_tears_the_calls_before_it_come_back(
    calls: list[CapturedCall], data: st.DataObject
) -> None:
    whole, last = HEADER + b"".join(map(encoded, calls[:-1])), encoded(calls[-1])
    torn = last[: data.draw(st.integers(0, len(last) - 2))]
    assert list(decoded(io.BytesIO(whole + torn))) == calls[:-1]


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_a_process_that_falls_while_it_begins_a_file_leaves_one_without_calls(length: int) -> None:
    assert list(decoded(io.BytesIO(HEADER[:length]))) == []


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a capture"):
        list(decoded(io.BytesIO(data + b"\n" + encoded(CALL))))
    with pytest.raises(DecodeError, match="line 2 is no call"):
        list(decoded(io.BytesIO(HEADER + b"{" + data.replace(b"\n", b"") + b"\n" + encoded(CALL))))


def test_a_reader_takes_keys_that_it_does_not_know() -> None:
    line = json.dumps(json.loads(encoded(CALL)) | {"of_tomorrow": 1}).encode()
    assert list(decoded([HEADER, line])) == [CALL]


def test_files_and_their_directory_are_their_owners_alone_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = opened(tmp_path / "calls")
    finally:
        os.umask(before)
    files.write(CALL)
    files.close()
    (file,) = (tmp_path / "calls").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(read_calls(file)) == list(read_calls(file.parent)) == [CALL]


def test_a_full_file_is_followed_by_another_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    wall = Wall()
    files = opened(tmp_path, wall, file_bytes=4096, max_bytes=3 * 4096)
    for at_ns in range(40):
        wall.now += 1
        files.write(CALL._replace(at_ns=at_ns))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 4 * 4096
    files.close()
    kept = [call.at_ns for call in read_calls(tmp_path)]
    assert kept == list(range(kept[0], 40))
    assert len(kept) >= 4


def test_a_call_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    files = opened(tmp_path, file_bytes=4096, max_bytes=1 << 20)
    large = CALL._replace(requests=(CapturedMessage(0, b"y" * 10_000),))
    for call in (CALL, large, CALL):
        files.write(call)
    files.close()
    assert list(read_calls(tmp_path)) == [CALL, large, CALL]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_too_old_is_deleted_and_no_file_is_written_to_for_more_than_an_hour(tmp_path: Path) -> None:
    wall = Wall()
    files = opened(tmp_path, wall, max_age=7200)
    files.write(CALL)
    (old,) = tmp_path.iterdir()
    os.utime(old, (wall.now, wall.now))
    wall.now += 3601
    files.tidy()
    files.write(CALL)
    assert len(list(tmp_path.iterdir())) == 2
    wall.now += 3601
    files.tidy()
    files.close()
    assert not old.exists()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    os.utime(other, (0, 0))
    opened(tmp_path, max_age=1).tidy()
    assert other.exists()


def test_where_nothing_can_be_written_stops_the_start_and_where_something_can_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"capture\.to: .*no calls can be written there"):
        check_directory(CaptureSettings(to=str(tmp_path / "file")))
    check_directory(CaptureSettings(to=str(tmp_path / "new")))
    assert not list((tmp_path / "new").iterdir())


def test_a_file_that_another_process_has_deleted_is_followed_by_a_new_one(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.write(CALL)
    next(tmp_path.iterdir()).unlink()
    files.write(CALL._replace(at_ns=6))
    files.close()
    assert [call.at_ns for call in read_calls(tmp_path)] == [6]


def test_processes_of_the_same_id_do_not_write_to_the_same_file(tmp_path: Path) -> None:
    wall = Wall()
    one, other = opened(tmp_path, wall), opened(tmp_path, wall)
    one.write(CALL)
    other.write(CALL)
    one.write(CALL)
    one.close()
    other.close()
    assert sorted(len(list(read_calls(file))) for file in tmp_path.iterdir()) == [1, 2]


def test_a_long_call_is_made_in_pieces_so_that_others_get_their_turn() -> None:
    long = CALL._replace(responses=(CapturedMessage(1, os.urandom(1_000_001)), CapturedMessage(None, b"")))
    made = list(pieces(long))
    assert len(made) > 4
    assert max(map(len, made)) < 1 << 19
    assert list(decoded([HEADER, b"".join(made)])) == [long]


FULL = """
import resource, signal, sys, time
from shadowmesh.mirror.capture_files import CaptureFiles
from shadowmesh.mirror.capture_format import CapturedCall, CapturedMessage
from shadowmesh.mirror.capture_settings import CaptureSettings

def call(size):
    asked = (CapturedMessage(0, bytes(size)),)
    return CapturedCall("/a.B/C", "unary_unary", size, 1, (), None, asked, (), True, "OK", "x")

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def refused(size):
    try:
        files.write(call(size))
    except OSError as error:
        print(error.strerror)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
files = CaptureFiles(CaptureSettings(to=sys.argv[1]), wall=time.time)
room(5)
refused(1)
room(3000)
files.write(call(10))
refused(3000)
files.write(call(11))
room(100_000)
files.write(call(3001))
files.close()
"""


def test_of_a_call_that_the_disk_takes_a_part_of_nothing_is_left_and_later_ones_are_written(tmp_path: Path) -> None:
    # A process's limit of a file's size stands for a full disk: a part is taken, then nothing more.
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 2
    assert [call.at_ns for call in read_calls(tmp_path)] == [10, 11, 3001]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("more", "problem"),
    [({"metadata": ["authorization"]}, "is a credential"), ({"file_bytes": 9000, "max_bytes": 8000}, "more than max")],
)
def test_credentials_are_never_written_and_one_file_is_no_more_than_all(
    tmp_path: Path, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        opened(tmp_path, **more)


def test_a_file_that_is_deleted_while_its_directory_is_read_is_passed_over(tmp_path: Path) -> None:
    for _ in range(3):
        files = opened(tmp_path)
        files.write(CALL)
        files.close()
    reading = read_calls(tmp_path)
    assert next(reading) == CALL
    sorted(tmp_path.iterdir())[1].unlink()
    assert list(reading) == [CALL]


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_a_file_that_is_not_there_and_a_directory_without_any_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DecodeError, match=r"No such file|no captured calls"):
        list(read_calls(tmp_path / name))
