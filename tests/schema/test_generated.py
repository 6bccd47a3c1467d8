"""What is made from `proto/` is what stands in the schema room, and a stale file does not pass."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "shadowmesh" / "schema"

pytest.importorskip("grpc_tools", reason="the compiler is a development dependency")


def check(room: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "proto" / "generate.py", "--check", room],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def room(tmp_path: Path) -> Path:
    for name in ("descriptors.binpb", "messages.pyi"):
        shutil.copy(ROOM / name, tmp_path)
    return tmp_path


def test_the_schema_room_is_up_to_date() -> None:
    result = check(ROOM)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["descriptors.binpb", "messages.pyi"])
def test_a_changed_file_is_stale_and_named(room: Path, name: str) -> None:
    (room / name).write_bytes(b"something else")
    result = check(room)
    assert result.returncode == 1
    assert result.stderr == f"stale, run `make generate`: {name}\n"


@pytest.mark.parametrize("name", ["descriptors.binpb", "messages.pyi"])
def test_a_missing_file_is_stale(room: Path, name: str) -> None:
    (room / name).unlink()
    assert check(room).returncode == 1
    assert not (room / name).exists(), "a check writes nothing"


def test_generating_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "proto" / "generate.py", tmp_path], check=True)
    for name in ("descriptors.binpb", "messages.pyi"):
        assert (tmp_path / name).read_bytes() == (ROOM / name).read_bytes()
