"""Verdicts as a terminal shows them: everything that was found, at 80 columns and in plain text."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from rich.console import Console
from support.verdicts import FINDINGS, finding, judgement, key, verdict

from shadowmesh.report import verdict_table
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Gate, Reason, Result

FAILED = finding("latency.duration.p95", Result.FAIL, detail="the opposite is shown")


def drawn(asked: Judgement, width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(verdict_table.judgement(asked))
    return captured.get()


def row(text: str, begins: str) -> list[str]:
    """Return the words of the first line that begins so."""
    return next(words(line) for line in text.splitlines() if line.startswith(begins))


def words(line: str) -> list[str]:
    return line.split()


def test_every_criterion_has_its_numbers_in_a_row() -> None:
    text = drawn(judgement(verdict()))
    assert row(text, "latency P95") == words("latency P95, margin 1.03 0.994 … 1.06 1.2 42 / 3 PASS")
    assert row(text, "errors") == words("errors, margin 0.0004 −0.0021 … 0.0051 0.005 2.1 / 3 NOT YET")
    assert row(text, "coverage") == words("coverage 12,345 – 10,000 – PASS")


def test_it_fits_80_columns() -> None:
    widest = (
        finding("latency.first_chunk.p99.9", Result.NOT_YET, interval=(-1234.5, inf), estimate=-0.00123, limit=12345.6,
                evidence=-123.4, threshold=4.605, stratum="/acme.v1.Models/GenerateSomethingVeryLong"),
        *FINDINGS,
    )  # fmt: skip
    text = drawn(judgement(verdict(findings=widest), verdict(target="x" * 60)))
    assert max(map(len, text.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}\n" not in text


def test_the_answer_comes_first_with_its_reason() -> None:
    first = drawn(judgement(verdict())).splitlines()[0]
    assert first == "candidate of summaries: NOT YET  errors: the evidence points to PASS"


def test_what_is_open_says_why_and_how_much_longer() -> None:
    text = " ".join(drawn(judgement(verdict())).split())
    assert "errors, margin, more pairs: the evidence points to PASS" in text
    assert "0.12% of its pairs are assumed either way; about 2,400 more pairs, 21 min at this rate" in text


def test_what_takes_no_part_is_named_and_has_no_row() -> None:
    text = drawn(judgement(verdict()))
    assert "not asked: similarity, vs floor (no content), judge (switched off)" in text
    assert not any(line.startswith("judge") for line in text.splitlines())


def test_of_a_failure_the_evidence_against_is_shown() -> None:
    failed = finding("errors", Result.FAIL, evidence=-9.0, threshold=3.0, evidence_against=7.5, threshold_against=4.6)
    text = drawn(judgement(verdict(Answer.NO_GO, findings=(failed,))))
    assert row(text, "errors")[-4:] == ["7.5", "/", "4.6", "FAIL"]


def test_of_what_is_open_the_side_is_shown_that_it_points_to() -> None:
    leaning = finding("x", Result.NOT_YET, evidence=-7.0, threshold=3.0, evidence_against=4.1, threshold_against=4.6)
    assert row(drawn(judgement(verdict(findings=(leaning,)))), "x")[-5:-2] == ["4.1", "/", "4.6"]


def test_what_is_only_reported_is_shown_without_a_result() -> None:
    reported = finding("exact", Result.OFF, gate=Gate.REPORT, estimate=0.31, reason=Reason.SWITCHED_OFF)
    text = drawn(judgement(verdict(findings=(reported,))))
    assert row(text, "exact") == words("exact 0.31 – – – –")
    assert "not asked" not in text


def test_several_that_decide_are_named_and_each_says_why_below() -> None:
    open_ones = [finding(name, Result.NOT_YET, detail=f"because of {name}") for name in ("errors", "coverage")]
    text = drawn(judgement(verdict(findings=open_ones, reason="very long")))
    assert text.splitlines()[0] == "candidate of summaries: NOT YET  still open: errors, coverage"
    assert "because of errors" in text
    assert "very long" not in text


def test_what_is_worse_in_one_method_only_says_in_which() -> None:
    alone = replace(FAILED, stratum="/acme.v1.Models/Generate")
    text = drawn(judgement(verdict(Answer.NO_GO, findings=(alone,))))
    assert text.splitlines()[0] == "candidate of summaries: NO GO  worse than allowed: latency P95 in Generate"


def test_a_guard_that_is_open_is_not_what_is_waited_for() -> None:
    two = [
        finding(name, Result.NOT_YET, detail="few", gate=gate)
        for name, gate in (("errors", Gate.CRITERION), ("x", Gate.GUARD))
    ]
    assert drawn(judgement(verdict(findings=two))).splitlines()[0] == "candidate of summaries: NOT YET  errors: few"


def test_what_is_shown_is_said_without_its_reason() -> None:
    text = drawn(judgement(verdict(Answer.NO_GO, findings=(FAILED,))))
    assert "  latency P95: the opposite is shown\n" in text


def test_a_reason_that_is_called_like_the_finding_is_said_once() -> None:
    chosen = finding("sample_ratio", Result.NOT_YET, reason=Reason.SAMPLE_RATIO, detail="20% sampled instead of 50%")
    assert "  sample ratio: 20% sampled instead of 50%\n" in drawn(judgement(verdict(findings=(chosen, FAILED))))


def test_all_who_decide_are_named_and_of_many_how_many_more() -> None:
    bad = [verdict(Answer.NO_GO, target=f"t{number}", findings=(FAILED,)) for number in range(6)]
    last = " ".join(drawn(judgement(*bad)).partition("all candidates")[2].split())
    assert all(f"summaries/t{number}: worse than allowed: latency P95" in last for number in range(4))
    assert last.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("value", "said"), [(99.7, "99.7"), (999.7, "1,000"), (0.0123, "0.0123"), (-99.96, "\N{MINUS SIGN}100")]
)
def test_a_number_has_no_exponent(value: float, said: str) -> None:
    weighed = finding("x", Result.NOT_YET, estimate=value, evidence=99.7, threshold=3.0)
    cells = row(drawn(judgement(verdict(findings=(weighed,)))), "x")
    assert (cells[1], cells[4]) == (said, "100")


def test_no_line_ends_in_a_space() -> None:
    text = drawn(judgement(verdict(), verdict(target="x" * 90)))
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    console = Console(width=80, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(verdict_table.judgement(judgement(verdict())))
    assert "\x1b[32mPASS\x1b[0m\n" in captured.get()


def test_criteria_come_before_guards_and_these_before_reports() -> None:
    mixed = [finding(gate.value, gate=gate) for gate in (Gate.REPORT, Gate.GUARD, Gate.CRITERION)]
    lines = drawn(judgement(verdict(findings=mixed))).splitlines()
    begins = [words(line)[0] for line in lines if line]
    assert begins[-3:] == ["criterion", "guard", "report"]


def test_more_candidates_have_one_answer_at_the_end_and_none_has_one_too() -> None:
    two = drawn(judgement(verdict(Answer.GO), verdict(Answer.NO_GO, target="other", findings=(FAILED,))))
    assert two.splitlines()[-1] == "all candidates: NO GO  summaries/other: worse than allowed: latency P95"
    assert drawn(judgement()) == "no candidate: NOT YET  there is no evidence about any candidate\n"


def test_without_pairs_it_says_so() -> None:
    empty = verdict(pairs=0, comparable=0, first_ns=0, last_ns=0, findings=(), reason="no evidence")
    assert drawn(judgement(empty)) == "candidate of summaries: NOT YET  no evidence\nno committed pairs\n"


def test_an_attempt_that_is_not_the_first_says_what_is_left_of_alpha() -> None:
    assert "attempt 3: α 0.0125" in " ".join(drawn(judgement(verdict(attempt=2, alpha=0.0125))).split())


def test_warnings_are_notes() -> None:
    assert "note: 5 pairs are in another currency" in drawn(
        judgement(verdict(warnings=("5 pairs are in another currency",)))
    )


@pytest.mark.parametrize("hostile", ["\x1b[31mGO", "a\nb", "[bold]x[/bold]"])
def test_names_from_the_wire_cannot_draw(hostile: str) -> None:
    named = replace(verdict(), key=key(hostile), reason=hostile, warnings=(hostile,))
    text = drawn(
        judgement(replace(named, findings=(finding(hostile, Result.FAIL, detail=hostile, reason=Reason.BURSTS),)))
    )
    assert "\x1b" not in text
    assert hostile.replace("\x1b", "\N{REPLACEMENT CHARACTER}").replace("\n", "\N{REPLACEMENT CHARACTER}") in text
