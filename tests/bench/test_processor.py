"""The processor's benchmark sends what it says, and reads its own measurements right."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from bench.processor_figures import expectations, headline, notes
from bench.processor_requests import Template, attribute_counts, mirrored_pairs
from bench.processor_window import Look, Window, lags_of
from support.legs import SECOND, T0
from support.otlp import legs_of

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Leg, Pair
from shadowmesh.names import Check

NOW = T0 + 5 * SECOND
COUNT = 16


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(mirrored_pairs(COUNT, Random(3)))


def filled(template: Template, seed: int = 1) -> list[Leg]:
    return legs_of(template.fill(np.random.default_rng(seed), NOW))


def test_a_live_leg_has_twenty_attributes_and_its_shadow_two_more() -> None:
    assert attribute_counts() == [20, 22]


def test_a_request_holds_pairs_whose_legs_find_each_other(template: Template) -> None:
    legs = filled(template)
    for live, shadow in zip(legs[::2], legs[1::2], strict=True):
        assert (live.role, shadow.role) == ("live", "shadow")
        assert live.expected_targets == (shadow.target,)
        for name in ("pair_id", "trace_id", "parent_span_id", "experiment"):
            assert getattr(live, name) == getattr(shadow, name)


def test_every_id_is_new_in_every_request(template: Template) -> None:
    legs = filled(template, 1) + filled(template, 2)
    assert len({leg.span_id for leg in legs}) == 4 * COUNT
    for name in ("pair_id", "trace_id", "parent_span_id"):
        assert len({getattr(leg, name) for leg in legs}) == 2 * COUNT
    assert len({leg.time_to_first_chunk for leg in legs}) == 4 * COUNT


def test_calls_ended_when_the_request_was_due_or_shortly_before(template: Template) -> None:
    for leg in filled(template):
        assert NOW - SECOND // 10 < leg.ended_ns < NOW
        assert 0.1 < leg.duration < 2


def test_nothing_is_changed_but_what_is_each_exchange_s_own(template: Template) -> None:
    numbers = ("trace_id", "span_id", "parent_span_id", "started_ns", "ended_ns", "time_to_first_chunk", "queue_time")
    own: dict[str, Any] = {"pair_id": "", "output_digest": "", **dict.fromkeys(numbers, 0)}
    one, other = ([replace(leg, **own) for leg in filled(template, seed)] for seed in (1, 2))
    assert one == other


def test_one_pair_in_eight_differs_in_its_output(template: Template) -> None:
    legs = filled(template)
    pairs = [Pair(pair_id=live.pair_id, target=shadow.target, live=live, shadow=shadow)
             for live, shadow in zip(legs[::2], legs[1::2], strict=True)]  # fmt: skip
    assert [compare(pair).matches[Check.OUTPUT_EXACT] for pair in pairs] == [number % 8 > 0 for number in range(COUNT)]


def test_one_side_can_be_sent_alone() -> None:
    alone = Template(mirrored_pairs(COUNT, Random(3)), sides=slice(0, 1))
    assert [leg.role for leg in filled(alone)] == ["live"] * COUNT


def look(seconds: float, done: int, cpu_seconds: float = 0.0) -> Look:
    return Look(seconds, T0 + round(seconds * SECOND), done, round(cpu_seconds * SECOND))


def test_a_lag_lasts_until_the_first_look_that_saw_the_pair() -> None:
    looks = [look(0, 10), look(1, 12), look(2, 12), look(3, 14)]
    ended = [T0, T0 + SECOND // 2, T0, T0 + 2 * SECOND]
    assert lags_of(looks, 11, ended).tolist() == [1.0, 0.5, 3.0, 1.0]


def test_a_window_is_from_the_first_request_until_all_is_done_less_what_is_waited_on_purpose() -> None:
    window = Window({"busy": 0.1, "refused": 2, "failed": 0}, [look(1, 10), look(6, 1010, 2.0)], 1.0, 3.0)
    assert window.figures() == {
        "pairs": 1000, "seconds": 4.0, "pairs_per_s": 250, "cpu_us_per_pair": 2000.0, "busy": 0.5,
        "others_on_core": 0.25, "load_busy": 0.1, "refused": 2, "failed": 0,
    }  # fmt: skip


def test_who_works_while_it_waits_is_given_no_more_than_a_core() -> None:
    window = Window({}, [look(1, 10), look(6, 1010, 4.5)], 1.0, 5.0)
    assert window.seconds == 4.5


def row(subject: str, pairs_per_s: float, cpu: float, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "pairs_per_s": pairs_per_s, "cpu_us_per_pair": cpu, "others_on_core": 0.0,
            "load_busy": 0.1, "refused": 0, "rate": 1, **more}  # fmt: skip


def test_figures_are_medians_and_without_a_collector_its_own_are_absent() -> None:
    ours = [row("processor", 8000, 120.0), row("processor", 2, 100.0), row("processor", 9000, 130.0)]
    alone = headline(ours)
    assert alone == {"pairs_per_s": 8000, "spans_per_s": 16000, "pairs_per_cpu_s": 8333, "cpu_us_per_pair": 120.0}
    both = headline([*ours, row("collector", 16000, 60.0)])
    assert (both["collector_spans_per_s"], both["ratio"], both["ratio_cpu"]) == (32000, 0.5, 0.5)


def report(**changes: Any) -> dict[str, Any]:
    rows = {"saturation": [row("processor", 1, 1.0)], "load": [row("", 1, 1.0)],
            "growth": [row("", 1, 100.0), row("", 1, 130.0)]}  # fmt: skip
    return {**rows, "pairs_per_s": 8000, "pairs_per_cpu_s": 7999, "bytes_per_open_pair": 2048, "ratio": 1.0, **changes}


def test_what_was_expected_stands_beside_what_was_measured() -> None:
    met = {one["figure"]: one["met"] for one in expectations(report())}
    assert met == {"pairs_per_s": True, "pairs_per_cpu_s": False, "bytes_per_open_pair": True, "growth_of_cost": False}


def test_whoever_reads_is_told_what_makes_a_figure_doubtful() -> None:
    assert notes(report()) == []
    without = report()
    del without["ratio"]
    for doubtful in (
        without,
        report(load=[row("", 1, 1.0, others_on_core=0.2)]),
        report(growth=[row("", 1, 1.0, load_busy=0.95)]),
        report(load=[row("", 1, 1.0, refused=3)]),
    ):
        assert len(notes(doubtful)) == 1
