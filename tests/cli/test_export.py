"""``shadowmesh export``: what it writes where, and the codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.legs import T0
from support.stored_pairs import live_only, matched

from shadowmesh.cli.main import main
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with three pairs, dispatched one, two and no seconds after ``T0``."""
    url = f"sqlite:///{tmp_path}/pairs.db"
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        store.add([matched("a", at=1), matched("b", at=2), live_only("c")], now_ns=T0)
    return url


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "shadowmesh", "export", *arguments], capture_output=True, timeout=60, check=False
    )


def exported(output: bytes) -> list[str]:
    return [json.loads(line)["pair_id"] for line in output.splitlines()]


def test_it_writes_lines_to_standard_output(url: str) -> None:
    result = run("--store", url)
    assert (result.returncode, result.stderr) == (0, b"")
    assert exported(result.stdout) == ["a", "b", "c"]
    assert json.loads(result.stdout.splitlines()[0])["schema"] == "shadowmesh.pair/1"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--experiment", "summaries", "--target", "candidate"), ["a", "b", "c"]),
        (("--experiment", "other"), []),
        (("--outcome", "live_only"), ["c"]),
        (("--since", "2023-11-14T22:13:21Z"), ["a", "b"]),
        (("--since", "2023-11-14T22:13:21.000001"), ["b"]),
        (("--since", "2023-11-14T23:13:21+01:00", "--until", "2023-11-14T22:13:22Z"), ["a"]),
        (("--until", "2023-11-14"), []),
        (("--since", "1d"), []),
        (("--until", "1h"), ["a", "b", "c"]),
    ],
)
def test_it_writes_what_is_asked_for_and_nothing_found_is_no_error(
    url: str, arguments: tuple[str, ...], found: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.jsonl"
    assert main(("export", "--store", url, "--output", str(file), *arguments)) == 0
    assert exported(file.read_bytes()) == found
    assert capsys.readouterr().out == f"{file}: {len(found)} pairs\n"


def test_it_writes_parquet(url: str, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    assert main(("export", "--store", url, "--format", "parquet", "--output", str(file), "--with-content")) == 0
    found = parquet.read_table(file)
    assert found.column("pair_id").to_pylist() == ["a", "b", "c"]
    assert "content" in found.column_names
    assert run("--store", url, "--format", "parquet").stdout.startswith(b"PAR1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing option '--store'"),
        (("--store", "pairs.db"), "not a store's URL"),
        (("--store", "URL", "--format", "csv"), "csv"),
        (("--store", "URL", "--outcome", "fine"), "fine"),
        (("--store", "URL", "--since", "yesterday"), "yesterday: neither a moment"),
        (("--store", "URL", "--output", "/no/such/directory/file"), "is no directory"),
    ],
)
def test_wrong_usage_is_64_and_one_line(
    url: str, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("export", *(url if one == "URL" else one for one in arguments))) == 64
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert says in captured.err


def test_a_store_that_is_not_there_is_69_and_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.jsonl"
    arguments = ("export", "--store", f"sqlite:///{tmp_path}/none.db", "--output", str(output))
    assert main(arguments) == 69
    assert capsys.readouterr().err == f"shadowmesh: sqlite:///{tmp_path}/none.db: there is no store\n"
    assert main(("export", "--store", "postgresql://ann:s3cret@127.0.0.1:1/pairs")) == 69
    assert "s3cret" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_when_it_is_whole_and_not_before(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "out.jsonl"
    occupied.mkdir()
    assert main(("export", "--store", url, "--output", str(occupied))) == 64
    occupied.rmdir()
    (tmp_path / "out.jsonl.part").mkdir()
    assert main(("export", "--store", url, "--output", str(occupied))) == 69
    assert "out.jsonl: Is a directory" in capsys.readouterr().err
    assert not occupied.exists()


def test_a_reader_that_has_enough_is_no_error(url: str, tmp_path: Path) -> None:
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        store.add([matched(f"p{n}") for n in range(3000)], now_ns=T0)
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "shadowmesh", "export", "--store", url], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    os.read(read, 100)
    os.close(read)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_the_command_line_starts_without_a_database() -> None:
    imported = "import sys, shadowmesh.cli.main; print(sorted({'sqlalchemy', 'alembic', 'pyarrow'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"
