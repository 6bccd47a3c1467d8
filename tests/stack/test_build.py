"""`make stack` itself, as a process, with a stand-in for Go that writes scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stack.parts import PROGRAMS, folder
from support.resources import until

ROOM = Path(__file__).parent
NAMES = [program.name for program in PROGRAMS]
GO = f"""#!{sys.executable}
import os, pathlib, sys
if sys.argv[1] == "env":
    sys.exit(print(os.environ.get("GO_VERSION", "go1.99.0")))
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
if out.name == os.environ.get("GO_HANGS_AT"):
    sys.exit(sys.stdin.read())
says = os.environ.get("BUILT_SAYS", "{" ".join(program.version for program in PROGRAMS)}")
out.write_text("#!{sys.executable}\\nprint('" + says + "')")
out.chmod(0o755)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for the stack, and a folder with the stand-in for Go as the whole PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(GO)
    (tools / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("SHADOWMESH_STACK", str(tmp_path / "stack"))
    return folder()


def make_stack(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOM / "build.py")],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def there(place: Path) -> list[str]:
    """Return the names of what was built, and of what a build has left behind."""
    return sorted(path.name for path in place.glob("*") if path.name != "lock")


def test_it_builds_what_is_missing_and_then_needs_go_no_more(place: Path) -> None:
    first = make_stack()
    assert first.returncode == 0, first.stdout
    assert there(place) == sorted(NAMES)
    (place / "promtool").unlink()
    second = make_stack()
    assert [line for line in second.stdout.splitlines() if "building" in line] == ["promtool 3.14.0: building"]
    third = make_stack(PATH="/nowhere")
    assert (third.returncode, third.stdout) == (0, f"stack: all there, in {place}\n")


@pytest.mark.parametrize(
    ("environment", "says"),
    [({"PATH": "/nowhere"}, "and there is no go in PATH"), ({"GO_VERSION": "go1.21.13"}, "and this is go1.21.13")],
)
def test_without_a_go_that_is_new_enough_it_says_so_in_one_line(
    place: Path, environment: dict[str, str], says: str
) -> None:
    done = make_stack(**environment)
    assert (done.returncode, done.stderr) == (69, "")
    assert done.stdout == f"make stack needs Go 1.25.8 or later, {says}\n"
    assert there(place) == []


def test_what_is_not_of_the_pinned_version_is_not_put_in_its_place(place: Path) -> None:
    done = make_stack(BUILT_SAYS="0.158.0")
    assert done.returncode == 1
    assert done.stdout.endswith("otelcol is not 0.159.0, but says: 0.158.0\n")
    assert there(place) == []


def test_a_killed_build_leaves_nothing_half_and_is_taken_up_again(place: Path) -> None:
    command = [sys.executable, str(ROOM / "build.py")]
    environment = os.environ | {"GO_HANGS_AT": "jaeger"}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert until(lambda: (place / "otelcol").exists() and any(place.glob("unfinished-*/jaeger/go.mod")))
        process.kill()
        process.wait()
        otelcol, unfinished = there(place)
        assert otelcol == "otelcol"
        assert unfinished.startswith("unfinished-")
    assert make_stack().returncode == 0
    assert there(place) == sorted(NAMES)


def test_a_changed_pin_is_another_folder(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOM, tmp_path / "stack")
    ask = [sys.executable, "-c", "from stack.parts import key; print(key())"]
    environment = {"PYTHONPATH": str(tmp_path)}
    before, again = (subprocess.check_output(ask, env=environment) for _ in range(2))
    with (copy / "pins" / "jaeger" / "go.mod").open("a") as pin:
        pin.write("// another version\n")
    assert before == again != subprocess.check_output(ask, env=environment)
