"""Shares, moments and what is still needed, as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.reports import verdict, worst

from shadowmesh.processor.funnel import Account
from shadowmesh.report.candidate import Moment, Timeline
from shadowmesh.report.candidate_text import FunnelRow, funnel_rows, needed, percent, step, trouble


@pytest.mark.parametrize(
    ("pairs", "seconds", "said"),
    [
        (1200, 90.0, "about 1,200 more pairs, about 1 min 30 s"),
        (1200, None, "about 1,200 more pairs"),
        (0, 3600.0, "about 1 h"),
        (0, None, ""),
        (None, None, ""),
    ],
)
def test_what_is_needed_is_said_where_it_is_known(pairs: int | None, seconds: float | None, said: str) -> None:
    assert needed(verdict(eta_pairs=pairs, eta_seconds=seconds)) == said


def test_drops_hang_under_their_decision_the_most_frequent_first() -> None:
    account = Account("e", "t", {"dropped": 4, "mirrored": 12}, {"oversize": 1, "queue_full": 3}, {"matched": 12})
    assert funnel_rows(account) == [
        FunnelRow("exchanges seen", 16, 0, None),
        FunnelRow("dropped", 4, 1, 0.25),
        FunnelRow("queue full", 3, 2, 0.75),
        FunnelRow("oversize", 1, 2, 0.25),
        FunnelRow("mirrored", 12, 1, 0.75),
        FunnelRow("pairs stored", 12, 0, None),
        FunnelRow("matched", 12, 1, 1.0),
    ]
    assert funnel_rows(None) == []
    assert funnel_rows(Account("e", "t", {"dropped": 0}, {"x": 0}, {})) == []


def test_a_share_that_is_not_nothing_is_not_written_as_nothing() -> None:
    assert [percent(share) for share in (0.0, 0.00001, 0.0123, 0.5, 1.0)] == [
        *("0.00 %", "< 0.01 %", "1.23 %", "50.0 %", "100.0 %")
    ]


def test_a_pair_says_by_how_much_it_is_bad() -> None:
    latency, status, similarity = worst()
    said = [trouble(pair, pair.trouble) for pair in (latency, status, similarity)]
    assert said == ["×13.5", "", "31.0 %"]
    assert trouble(replace(latency, live_duration=None), latency.trouble) == ""


def test_a_dot_stands_for_the_usual_distance_to_the_next() -> None:
    moments = tuple(Moment(minute * 60 * 10**9, 1, None, None) for minute in (0, 5, 10, 40))
    assert step(Timeline(moments=moments)) == "about 5 min"
    assert step(Timeline(moments=moments[:1])) == "a part"
