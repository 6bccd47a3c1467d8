"""``shadowmesh report``: what it writes where, and the codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.judged_stores import judged_store
from support.legs import T0

from shadowmesh.cli.main import main
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store whose candidate may not go live."""
    return judged_store(f"sqlite:///{tmp_path}/judged.db", pairs=600, failing=0.1)


def test_it_is_drawn_on_the_terminal_and_the_code_is_not_the_verdicts(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--store", url]) == 0
    said = capsys.readouterr().out
    assert "candidate of summaries: NO GO" in said
    assert "RESOURCE_EXHAUSTED" in said


def test_it_is_written_as_one_file(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    assert main(["report", "--store", url, "--html", str(file), "--jaeger", "http://127.0.0.1:16686/"]) == 0
    page = file.read_text()
    assert "May candidate go live?" in page
    assert 'href="http://127.0.0.1:16686/trace/' in page
    assert str(file) in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_home_that_cannot_be_written_to_is_no_trouble(url: str, tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), "/proc/nowhere")
    ended = subprocess.run(
        [sys.executable, "-m", "shadowmesh", "report", "--store", url, "--html", str(tmp_path / "report.html")],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_json_and_page_can_be_had_together(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    assert main(["report", "--store", url, "--json", "--html", str(file)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["judgement"]["answer"] == "NO_GO"
    assert file.exists()


def test_no_evidence_is_a_report_too(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", url, "--since", "1h"]) == 0
    assert "There is no evidence about any candidate in this period" in capsys.readouterr().out


def test_an_empty_store_is_a_report_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0).close()
    file = tmp_path / "report.html"
    assert main(["report", "--store", url, "--html", str(file)]) == 0
    assert "no pair was stored" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--store", "sqlite:///none.db"], 69, "no store"),
        ([], 64, "shadowmesh: --store or --config says whose evidence to judge"),
        (["--store", "sqlite:///none.db", "--html", "no/such/folder/x.html"], 64, "no directory"),
        (["--store", "sqlite:///none.db", "--jaeger", "javascript:alert(1)"], 64, "not http"),
        (["--store", "sqlite:///none.db", "--since", "yesterday"], 64, "yesterday"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code_that_is_no_verdict(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_the_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from shadowmesh.cli.main import main\n"
        f"sys.exit(main(['report', '--store', 'sqlite:///none.db', '--html', {str(tmp_path / 'x.html')!r}]))"
    )
    ended = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (69, 1)
    assert "pip install 'shadowmesh[report]'" in ended.stderr
