"""``shadowmesh gate``: the exit code is the answer, and nothing that goes wrong is taken for one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.evidence import configured, of, pairs, plan_of, stored
from support.legs import T0
from support.verdicts import judgement, verdict

from shadowmesh.cli.gate import until_decided
from shadowmesh.cli.main import main
from shadowmesh.errors import ShadowMeshError, StartError, StoreError
from shadowmesh.testing import FakeClock
from shadowmesh.verdict.document import from_document
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Reason

GO, NO_GO, NOT_YET = 0, 1, 2


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where a store may be."""
    return f"sqlite:///{tmp_path}/pairs.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with small criteria."""
    return configured(tmp_path)


def said(capsys: pytest.CaptureFixture[str]) -> Judgement:
    return from_document(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("candidate", "code", "answer"),
    [({}, GO, "GO"), ({"slower": 2.5}, NO_GO, "NO GO"), ({"failing": 4}, NO_GO, "NO GO")],
)
def test_the_code_is_the_answer(
    url: str, file: Path, candidate: dict[str, Any], code: int, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(url, pairs(1500, **candidate, **of(plan_of(file))))
    assert main(("gate", "--store", url, "--config", str(file))) == code
    shown = capsys.readouterr()
    assert shown.out.startswith(f"candidate of summaries: {answer}")
    assert shown.err == ""


def test_too_few_pairs_are_not_yet(url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(url, pairs(100, **of(plan_of(file))))
    assert main(("gate", "--store", url, "--config", str(file))) == NOT_YET
    assert "coverage, more pairs" in capsys.readouterr().out


def test_a_store_without_pairs_is_not_yet(url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(url)
    assert main(("gate", "--store", url)) == NOT_YET
    assert "there is no evidence about any candidate" in capsys.readouterr().out
    assert main(("gate", "--store", url, "--config", str(file), "--json")) == NOT_YET
    (one,) = said(capsys).verdicts
    assert (one.key, one.pairs) == (plan_of(file).evidence_keys()[0], 0)


def test_a_store_that_is_not_there_is_an_error_and_is_not_made(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for waiting in ((), ("--wait", "1h")):
        assert main(("gate", "--store", url, *waiting)) == 69
        assert capsys.readouterr().err == f"shadowmesh: {url}: there is no store\n"
    assert list(tmp_path.iterdir()) == []


def test_of_several_candidates_the_worst_decides(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configured(tmp_path, "good", "bad", "new")
    plan = plan_of(file)
    stored(
        url,
        pairs(1500, target="good", **of(plan, "good")),
        pairs(1500, target="bad", slower=2.5, **of(plan, "bad")),
    )
    command = ("gate", "--store", url, "--config", str(file), "--json")
    assert main(command) == NO_GO
    answers = {one.key.target: one.answer for one in said(capsys).verdicts}
    # One without evidence is not left out.
    assert answers == {"good": Answer.GO, "bad": Answer.NO_GO, "new": Answer.NOT_YET}
    assert [main((*command, "--target", name)) for name in ("good", "bad", "new")] == [GO, NO_GO, NOT_YET]


def test_evidence_of_another_configuration_decides_nothing(
    url: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = plan_of(file)
    stored(url, pairs(1500, **of(before)))
    changed = configured(tmp_path, version="2")
    assert main(("gate", "--store", url, "--config", str(changed), "--json")) == NOT_YET
    (one,) = said(capsys).verdicts
    assert one.findings[0].reason is Reason.OTHER_CONFIG
    assert before.config_digest in one.reason
    assert plan_of(changed).config_digest in one.reason


def test_other_criteria_are_another_configuration(
    url: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(url, pairs(1500, slower=2.5, **of(plan_of(file))))
    lenient = configured(tmp_path, criteria={"latency": [{"ratio": 5.0}]})
    assert main(("gate", "--store", url, "--config", str(lenient))) == NOT_YET
    assert "other config" in capsys.readouterr().out


def test_without_a_file_the_criteria_are_the_defaults_and_it_says_so(
    url: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(url, pairs(1500, **of(plan_of(file))))
    assert main(("gate", "--store", url)) == NOT_YET
    shown = " ".join(capsys.readouterr().out.split())
    assert "coverage, more pairs" in shown
    assert "judged by the default criteria" in shown


def test_a_chosen_beginning_is_an_attempt_more(url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(url, pairs(1500, **of(plan_of(file))))
    command = ("gate", "--store", url, "--config", str(file), "--json")
    main((*command, "--since", "2023-11-14T22:28:20Z"))
    later = said(capsys)
    (one,) = later.verdicts
    assert (one.attempt, one.alpha, one.pairs) == (1, 0.025, 750)
    assert later.since_ns == T0 + 900 * 10**9
    main(command)
    assert said(capsys).verdicts[0].attempt == 0


@pytest.mark.parametrize(("since", "code"), [("0001-01-01", GO), ("9999-12-31", NOT_YET)])
def test_a_beginning_may_be_any_moment(url: str, file: Path, since: str, code: int) -> None:
    stored(url, pairs(1500, **of(plan_of(file))))
    assert main(("gate", "--store", url, "--config", str(file), "--since", since)) == code


def test_the_store_of_a_file_is_that_of_its_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configured(tmp_path)
    file.write_text(f"{file.read_text()}\nprocessor: {{data: {tmp_path}}}\n")
    stored(f"sqlite:///{tmp_path}/pairs.db", pairs(1500, **of(plan_of(file))))
    assert main(("gate", "--config", str(file))) == GO
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "one of --store, --config and --processor"),
        (("--store", "pairs.db"), "--store: not a store's URL"),
        (("--store", "URL", "--since", "yesterday"), "says otherwise) nor how long ago (36h)"),
        (("--store", "URL", "--wait", "soon"), "soon: not a quantity"),
        (("--store", "URL", "--wait", "-5"), "-5: not a quantity"),
        (("--store", "URL", "--config", "FILE", "--experiment", "sumaries"), "has no experiment sumaries"),
        (("--store", "URL", "--config", "FILE", "--target", "control"), "has no candidate control"),
        (("--store", "URL", "--config", "/no/such/file"), "/no/such/file"),
        (("--processor", "127.0.0.1:1", "--store", "URL"), "its own store and criteria"),
        (("--store", "URL", "--token", "FILE"), "--token and --roots are of --processor"),
    ],
)
def test_wrong_usage_is_64_and_one_line(
    url: str, file: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(url)
    given = {"URL": url, "FILE": str(file)}
    assert main(("gate", *(given.get(one, one) for one in arguments))) == 64
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert says in captured.err


@pytest.mark.parametrize("command", ["gate", "report"])
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("--experiment", "nope"), "there is no experiment nope, only summaries"),
        (("--target", "nope"), "there is no candidate nope, only candidate"),
        (("--experiment", "summaries", "--target", "nope"), "there is no candidate nope in summaries, only candidate"),
    ],
)
def test_a_name_that_is_not_in_the_store_is_64_unless_there_is_none(
    url: str, command: str, names: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(url)
    assert main((command, "--store", url, *names)) == (NOT_YET if command == "gate" else 0)
    capsys.readouterr()
    stored(url, pairs(10, target_digest="a", config_digest="c"))
    assert main((command, "--store", url, *names)) == 64
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"shadowmesh: {says}\n")


def looks(*found: Answer | Exception, then: Answer = Answer.NOT_YET, eta: float | None = None) -> Callable[[], Any]:
    """Return what sees these one after the other, and ``then`` from there on."""
    coming = list(found)

    def look() -> Judgement:
        one = coming.pop(0) if coming else then
        if isinstance(one, Exception):
            raise one
        return judgement(verdict(one, eta_seconds=eta))

    return look


class Waiting:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pauses: list[float] = []
        self.said: list[str] = []

    def until(self, look: Callable[[], Any], patience: float) -> Answer:
        found: Judgement = until_decided(
            look, patience, monotonic=lambda: self.clock() / 1e9, pause=self._pause, say=self.said.append
        )
        return found.answer

    def _pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.clock.advance(seconds)


def test_waiting_ends_with_an_answer() -> None:
    waiting = Waiting()
    assert waiting.until(looks(Answer.NOT_YET, Answer.NOT_YET, then=Answer.NO_GO), 3600) is Answer.NO_GO
    assert waiting.pauses == [30.0, 30.0]
    assert waiting.said == ["NOT_YET: errors: more pairs are needed"]


def test_without_patience_it_looks_once() -> None:
    waiting = Waiting()
    assert waiting.until(looks(), 0) is Answer.NOT_YET
    assert (waiting.pauses, waiting.said) == ([], [])


def test_waiting_ends_when_the_time_is_over_with_a_last_look() -> None:
    waiting = Waiting()
    assert waiting.until(looks(Answer.NOT_YET, Answer.NOT_YET, then=Answer.GO), 40) is Answer.GO
    assert waiting.pauses == [30.0, 10.0]
    assert waiting.until(looks(), 40) is Answer.NOT_YET


@pytest.mark.parametrize(("eta", "pause"), [(5.0, 2.0), (100.0, 10.0), (86400.0, 30.0), (None, 30.0)])
def test_it_looks_the_more_often_the_sooner_there_may_be_an_answer(eta: float | None, pause: float) -> None:
    waiting = Waiting()
    waiting.until(looks(Answer.NOT_YET, then=Answer.GO, eta=eta), 3600)
    assert waiting.pauses == [pause]


@pytest.mark.parametrize("passing", [StoreError("locked", retryable=True), StartError("nobody answers")])
def test_what_may_pass_is_waited_for_and_raised_at_the_end(passing: ShadowMeshError) -> None:
    waiting = Waiting()
    assert waiting.until(looks(passing, then=Answer.GO), 3600) is Answer.GO
    assert waiting.said == [str(passing)]
    with pytest.raises(type(passing)):
        Waiting().until(looks(passing, passing, passing), 40)
    with pytest.raises(type(passing)):
        Waiting().until(looks(passing), 0)


def test_what_does_not_pass_is_raised_at_once() -> None:
    waiting = Waiting()
    with pytest.raises(StoreError):
        waiting.until(looks(StoreError("there is no store")), 3600)
    assert waiting.pauses == []


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_has_gone_is_not_taken_for_an_answer(url: str, form: tuple[str, ...]) -> None:
    stored(url, pairs(20))
    command = [sys.executable, "-m", "shadowmesh", "gate", "--store", url, *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (74, b"")


def test_a_terminal_that_knows_few_letters_shows_the_answer_all_the_same(url: str) -> None:
    stored(url, pairs(20))
    command = [sys.executable, "-m", "shadowmesh", "gate", "--store", url]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (NOT_YET, "")
    assert done.stdout.startswith("candidate of summaries: NOT YET")


def test_ctrl_c_while_it_waits_is_130_without_a_traceback(url: str) -> None:
    stored(url)
    command = [sys.executable, "-m", "shadowmesh", "gate", "--store", url, "--wait", "1h"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stderr is not None
        first = run.stderr.readline()
        run.send_signal(signal.SIGINT)
        out, rest = run.communicate(timeout=20)
    assert first == "waiting, NOT_YET: there is no evidence about any candidate\n"
    assert (run.returncode, out, rest) == (130, "", "")
