"""Under what circumstances pairs were compared, on every page that shows a verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from support.columns import drawn, ledger_of
from support.reports import candidate, report
from support.verdicts import judgement, verdict

from shadowmesh.report import ledger_views, report_tables, verdict_table
from shadowmesh.report.candidate import LoadStep
from shadowmesh.report.candidate_text import load_words
from shadowmesh.report.circumstances_text import facts
from shadowmesh.report.html_page import page
from shadowmesh.report.report_document import to_document
from shadowmesh.verdict import document
from shadowmesh.verdict.records import Cached, Circumstances, Lag, Load, Prompts

AROUND = Circumstances(
    warm_up=1_200,
    prompts=Prompts(distinct=3_210, pairs=10_500),
    load=Load(live_mean=3.14, shadow_mean=120.4, live_median=3.0, shadow_median=112.0, pairs=10_500),
    cached=Cached(live=0.4, shadow=0.021, pairs=9_000),
    lag=Lag(p95=0.0012, first_answer=0.3, pairs=10_500),
)
SAID = {
    "different prompts": "about 3,210 of 10,500 pairs",
    "calls in flight": "3.1 live, 120 shadow on average; median 3 and 112",
    "input tokens from a cache": "40.0 % live, 2.10 % shadow",
    "shadows begin behind live": "1.20 ms (P95), 0.40 % of live's time to answer",
    "left out as warm-up": "1,200 pairs",
}


def drawn_text(width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(verdict_table.judgement(judgement(verdict(circumstances=AROUND))))
    return captured.get()


def test_what_is_known_is_said_in_short_and_what_is_not_is_not() -> None:
    assert dict(facts(AROUND)) == SAID
    assert facts(Circumstances()) == []


def test_a_terminal_and_a_page_say_it_beside_the_numbers() -> None:
    lines = drawn_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(drawn_text().split())
    for label, said in SAID.items():
        assert f"{label}: {said}" in text
    one = candidate()
    shown = page(report(replace(one, verdict=replace(one.verdict, circumstances=AROUND))))
    for label, said in SAID.items():
        assert label in shown
        assert said.replace("'", "&#39;") in shown


def test_the_document_of_a_verdict_says_it_and_is_read_back() -> None:
    asked = judgement(verdict(circumstances=AROUND))
    written = json.loads(json.dumps(document.to_document(asked)))
    assert written["verdicts"][0]["circumstances"]["prompts"] == {"distinct": 3_210, "pairs": 10_500}
    assert document.from_document(written) == asked
    del written["verdicts"][0]["circumstances"]
    assert document.from_document(written).verdicts[0].circumstances == Circumstances(), "of an earlier version"


def test_latencies_are_shown_by_how_many_calls_were_in_flight() -> None:
    columns = drawn(4000, live_errors=0, shadow_errors=0)
    busy = np.arange(4000) % 2 == 0
    live = replace(columns.live, in_flight=np.where(busy, 5.0, 1.0), duration=np.where(busy, 2.0, 1.0))
    shadow = replace(columns.shadow, in_flight=np.full(4000, 1.5), duration=np.full(4000, 0.5))
    one, more = ledger_views.by_load(ledger_of(replace(columns, live=live, shadow=shadow)))
    assert (one.calls, one.live, one.shadow) == (1, 2000, 4000)
    assert (more.calls, more.live, more.shadow) == (4, 2000, 0)
    assert one.live_p50 == pytest.approx(1.0, rel=0.2)
    assert one.shadow_p95 == pytest.approx(0.5, rel=0.2)
    assert more.live_p95 == pytest.approx(2.0, rel=0.2)
    assert more.shadow_p95 is None


def test_where_load_was_all_the_same_there_is_no_table_of_it() -> None:
    columns = drawn(1000)
    alone = [replace(leg, in_flight=np.full(1000, 1.0)) for leg in (columns.live, columns.shadow)]
    assert ledger_views.by_load(ledger_of(replace(columns, live=alone[0], shadow=alone[1]))) == ()
    unknown = replace(columns.live, in_flight=np.full(1000, np.nan))
    assert ledger_views.by_load(ledger_of(replace(columns, live=unknown))) == ()


def test_every_report_has_the_table() -> None:
    steps = (LoadStep(1, 900, 950, 0.2, 0.5, 0.21, 0.6), LoadStep(1024, 12, 3))
    shown = report(candidate(by_load=steps))
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(report_tables.report(shown))
    lines = [line.split() for line in captured.get().splitlines()]
    assert ["1", "to", "2", "900", "200.0", "ms", "500.0", "ms", "950", "210.0", "ms", "600.0", "ms"] in lines
    assert ["1,024", "to", "2,048", "12", "–", "–", "3", "–", "–"] in lines
    assert "1,024 to 2,048" in page(shown)
    assert load_words(steps[0]) == "1 to 2"
    (written,) = to_document(shown)["candidates"]
    assert written["latency_by_load"][0] == steps[0]._asdict()
