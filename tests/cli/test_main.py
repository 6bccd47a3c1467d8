"""The command line: one clear line and a code at or above 64 for everything that is no result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shadowmesh.cli.main import main

GOOD = """
experiments:
  - name: x
    methods: ["/a.B/*"]
    targets: [{name: candidate, address: "127.0.0.1:1"}]
"""


NO_PACKAGE = """
import sys
sys.modules[{name!r}] = None
from shadowmesh.cli.main import main
sys.exit(main({arguments!r}))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shadowmesh", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("bogus",), ("--bogus",), ("check-config",), ("demo", "--seconds", "x")])
def test_wrong_usage_is_64_and_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 64
    error = capsys.readouterr().err
    assert error.startswith("shadowmesh: ")
    assert error.count("\n") == 1


def test_what_is_wrong_comes_without_words_of_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(()) == 64
    assert capsys.readouterr().err == "shadowmesh: a command is missing; see shadowmesh --help\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("processor",),
        ("gate", "--store", "sqlite:///none.db", "--wait", "1h"),
        ("report", "--store", "sqlite:///none.db"),
        ("export", "--store", "sqlite:///none.db"),
    ],
)
def test_the_extra_whose_package_is_missing_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = NO_PACKAGE.format(name="sqlalchemy", arguments=arguments)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    said = "shadowmesh: sqlalchemy is missing: pip install 'shadowmesh[processor]'\n"
    assert (ended.returncode, ended.stderr) == (69, said)


def test_every_command_is_told_in_one_line_of_80_columns() -> None:
    commands = run("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert len(commands) == 11
    assert [line for line in commands if line.startswith("   ") or "..." in line] == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("name: x", "nam: x"), "experiments[0].nam"),
        (('methods: ["/a.B/*"]', "methods: [a.B]"), "experiments[0].methods"),
        (('address: "127.0.0.1:1"', "address: 7"), "experiments[0].targets[0].address"),
        (("name: candidate,", "name: candidate, rate: 1.5,"), "experiments[0].targets[0].rate"),
        (("name: candidate,", "name: candidate, rate: lots,"), "experiments[0].targets[0].rate"),
        (("name: candidate,", "name: candidate, kind: rival,"), "experiments[0].targets[0].kind"),
        (("name: candidate,", "name: candidate, deadline: soon,"), "experiments[0].targets[0].deadline"),
        (("name: candidate,", "name: candidate, metadata: [authorization],"), "experiments[0].targets[0].metadata"),
        (("targets:", "protocol: morse\n    targets:"), "experiments[0].protocol"),
        (("experiments:", "mirror: {carrier: pigeon}\nexperiments:"), "mirror.carrier"),
    ],
)
@pytest.mark.parametrize("command", [("check-config",), ("processor", "--config")])
def test_a_wrong_key_is_named_with_file_and_path_and_nothing_starts(
    command: tuple[str, ...], change: tuple[str, str], key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(GOOD.replace(*change))
    assert main((*command, str(file))) == 64
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert str(file) in captured.err
    assert key in captured.err
    assert captured.out == ""


def test_a_good_file_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(GOOD)
    assert main(("check-config", str(file))) == 0
    assert "candidate" in capsys.readouterr().out
    assert main(("check-config", "--json", str(file))) == 0
    assert '"rate": 1.0' in capsys.readouterr().out


def test_help_and_version_are_0() -> None:
    assert run("--help").returncode == 0
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("shadowmesh ")


def test_a_file_that_cannot_be_read_is_64_in_a_process_of_its_own(tmp_path: Path) -> None:
    result = run("check-config", str(tmp_path / "none.yaml"))
    assert result.returncode == 64
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_a_file_nobody_would_write_is_no_traceback_either(tmp_path: Path) -> None:
    (tmp_path / "shadowmesh.yaml").write_text("[" * 5000)
    result = run("check-config", str(tmp_path / "shadowmesh.yaml"))
    assert result.returncode == 64
    assert "Traceback" not in result.stderr
