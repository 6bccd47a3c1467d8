"""The pure part of the proxy's benchmark: what is compared with Envoy, and when a ratio of throughput means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bench import figures
from bench.pinning import Cores
from bench.proxy_expected import expectations
from bench.proxy_plan import ENVOY, MODES, PROXIES, PROXY, SHAPES
from bench.schedule import Visit
from bench.window import Sample

BARE = Sample(
    rps=1000, p50_us=300, p99_us=900, cpu_us_per_call=200, cpu_us_hop=0, cpu_us_path=200, cpu_us_raw=200,
    cpu_us_all=200, live_busy=0.2, load_busy=0.1, foreign_busy=0, slowdown=1, hop_slowdown=1, mirrored_share=0,
    admitted_share=0, exported_share=0, calls=140, bad=0, shed={}, faults={}, latencies_us=(),
)  # fmt: skip


def judged(shape_name: str, hop_busy: float, **samples: Sample) -> list[dict[str, Any]]:
    shape = next(shape for shape in SHAPES if shape.name == shape_name)
    samples = {"bare": BARE, **samples}
    visits = {shape_name: [Visit(number, name, one) for number in range(3) for name, one in samples.items()]}
    modes = tuple(mode for mode in MODES if mode.name in samples)
    rows = figures.rows(visits, modes, (shape,), 1)
    return expectations([{**row, "hop_busy": hop_busy} for row in rows], visits, (shape,), 1)


def test_the_proxys_cpu_is_judged_as_a_ratio_to_envoys_of_the_same_round() -> None:
    (found,) = judged("unary_16", 1.0, **{PROXY: replace(BARE, cpu_us_hop=300), ENVOY: replace(BARE, cpu_us_hop=100)})
    assert (found["value"], found["limit"], found["met"], found["certain"], found["void"]) == (3.0, 4.0, True, True, "")


@pytest.mark.parametrize(
    ("live_busy", "hop_busy", "void"),
    [
        (0.5, 1.95, ""),
        (0.95, 1.95, "the live server was the limit (0.95)"),
        (0.5, 1.5, "its workers had 1.50 of 2 cores"),
    ],
)
def test_a_throughput_that_something_else_limits_says_nothing(live_busy: float, hop_busy: float, void: str) -> None:
    samples = {PROXY: BARE, PROXIES: replace(BARE, rps=1900, live_busy=live_busy)}
    (found,) = judged("unary_64", hop_busy, **samples)
    assert (found["value"], found["met"], found["void"]) == (1.9, True, void)


def test_a_second_worker_gets_a_core_of_its_own_where_there_is_one() -> None:
    assert Cores([0], [1], [2, 3]).of_hop(1) == [1]
    assert Cores([0], [1], [2, 3]).of_hop(2) == [1, 2]
    assert Cores([0], [0], [0]).of_hop(2) == [0]
