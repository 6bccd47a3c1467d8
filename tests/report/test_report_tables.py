"""A report on a terminal, and as a document."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from support.reports import TRACE, candidate, report, verdict, worst

from shadowmesh.report.candidate import CandidateReport, StatusRow, Trouble
from shadowmesh.report.report_document import to_document
from shadowmesh.report.report_tables import report as drawn


def text(*candidates: CandidateReport) -> str:
    sink = io.StringIO()
    Console(file=sink, width=80, highlight=False).print(drawn(report(*candidates)))
    return sink.getvalue()


def test_it_fits_eighty_columns_and_keeps_trace_ids_whole() -> None:
    said = text(candidate())
    assert max(map(len, said.splitlines())) <= 80
    for part in ("NOT YET", "P95", "Switching would save about", "RESOURCE_EXHAUSTED", "exchanges seen", TRACE):
        assert part in said


def test_a_status_in_the_list_of_the_worst_is_one_word() -> None:
    said = text(candidate(worst=tuple(replace(one, shadow_status="RESOURCE_EXHAUSTED") for one in worst())))
    assert said.count(" resource_exhausted\n") == len(worst())


def test_what_is_unknown_is_left_out() -> None:
    bare = CandidateReport(verdict=verdict(pairs=0, findings=()))
    assert "worst in" not in text(bare)
    assert "no pair was stored" in text()


def test_names_from_the_wire_move_no_cursor() -> None:
    hostile = "\x1b[2J\u202e[red]x[/red]"
    bad = replace(worst()[1], shadow_status=hostile)
    said = text(candidate(statuses=(StatusRow(hostile, hostile, 1),), worst=(bad,)))
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "[red]x" in said


def test_the_worst_of_every_kind_comes_before_the_second_worst_of_any() -> None:
    latency, status, similarity = worst()
    said = text(candidate(worst=(latency, latency, status, similarity)))
    kinds = [line.split()[0] for line in said.splitlines() if TRACE in line]
    assert kinds == ["latency", "status", "similarity", "latency"]


def test_a_pair_that_is_bad_in_two_ways_stands_there_once_with_both() -> None:
    both = replace(worst()[0], also=(Trouble.SIMILARITY,), similarity=0.2)
    said = text(candidate(worst=(both,)))
    assert said.count(TRACE) == 1
    assert "latency ×13.5 " in said
    assert "\nsimilarity 20.0 %\n" in said
    assert to_document(report(candidate(worst=(both,))))["candidates"][0]["worst"][0]["also"] == ["similarity"]
    assert max(map(len, said.splitlines())) <= 80
    assert [line for line in said.splitlines() if line != line.rstrip()] == []


def test_the_document_is_json_and_holds_no_captured_text() -> None:
    document = to_document(report(candidate(), CandidateReport(verdict=verdict(findings=()))))
    said = json.dumps(document, allow_nan=False)
    assert document["schema"] == "shadowmesh.report/1"
    assert document["judgement"]["schema"] == "shadowmesh.verdict/1"
    whole, bare = document["candidates"]
    assert whole["use"]["per_call"]["live"]["cost"] == pytest.approx(0.00274)
    assert whole["worst"][0]["trace_id"] == TRACE
    assert (bare["timeline"], bare["use"], bare["funnel"], bare["latency"]) == (None, None, None, {})
    assert "50 mg" not in said
