"""`make servers` itself, as a process, with a stand-in for the interpreter that makes the environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stack.servers import SERVERS, find, folder
from support.resources import until

ROOM = Path(__file__).parent
# Makes an environment whose interpreter is itself, and writes down what it is asked to install.
PYTHON = f"""#!{sys.executable}
import os, pathlib, sys
if sys.argv[1:3] == ["-m", "venv"]:
    bin = pathlib.Path(sys.argv[-1]) / "bin"
    bin.mkdir(parents=True, exist_ok=True)
    (bin / "python").write_text(pathlib.Path(__file__).read_text())
    (bin / "python").chmod(0o755)
if sys.argv[1:3] == ["-m", "pip"]:
    assert "--require-hashes" in sys.argv
    if sys.argv[-1] == os.environ.get("PIP_FAILS_AT"):
        sys.exit("no such package")
    if sys.argv[-1] == os.environ.get("PIP_HANGS_AT"):
        sys.stdin.read()
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty place for the environments, and what makes them there."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setenv("SHADOWMESH_STACK", str(tmp_path / "stack"))
    return [sys.executable, str(ROOM / "servers.py"), "--python", str(python)]


def make(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_makes_what_is_missing_and_then_nothing_more(command: list[str]) -> None:
    assert [find(name) for name in SERVERS] == [None, None]
    first = make(command)
    assert first.returncode == 0, first.stdout
    assert [find(name) for name in SERVERS] == [folder(name) / "bin" for name in SERVERS]
    second = make(command, PIP_FAILS_AT="mlserver.lock")
    assert second.returncode == 0
    assert second.stdout.splitlines() == [f"{name}: there, in {folder(name)}" for name in SERVERS]


def test_what_could_not_be_installed_is_not_taken_for_whole(command: list[str]) -> None:
    done = make(command, PIP_FAILS_AT="kserve.lock")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "no such package"
    assert (find("mlserver"), find("kserve")) == (folder("mlserver") / "bin", None)


def test_a_killed_run_is_begun_anew(command: list[str]) -> None:
    environment = os.environ | {"PIP_HANGS_AT": "kserve.lock"}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert until((folder("kserve") / "bin" / "python").exists)
        process.kill()
        process.wait()
    assert find("kserve") is None
    assert make(command).returncode == 0
    assert find("kserve") is not None


def test_a_changed_lock_is_another_folder_beside_the_stack(tmp_path: Path) -> None:
    for room in ("stack", "environments"):
        shutil.copytree(ROOM.parent / room, tmp_path / room)
    ask = [sys.executable, "-c", "from stack.servers import folder; print(folder('kserve'))"]
    environment = {"PYTHONPATH": str(tmp_path), "SHADOWMESH_STACK": str(tmp_path / "cache")}
    before, again = (subprocess.check_output(ask, env=environment, text=True) for _ in range(2))
    assert Path(before).parent == tmp_path / "cache" / "servers"
    with (tmp_path / "environments" / "kserve.lock").open("a") as lock:
        lock.write("# another version\n")
    assert before == again != subprocess.check_output(ask, env=environment, text=True)
