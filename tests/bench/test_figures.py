"""The pure part of the benchmark: what is compared with what, and what is said about it."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from bench.expected import expectations
from bench.figures import rows
from bench.load import turns
from bench.modes import MODES, Mode
from bench.plan import MODEL, SHAPES, Shape
from bench.schedule import Visit, order, pairs, together
from bench.series import middle, quantile_added
from bench.steady import at_one_pace
from bench.window import Sample

OPEN = next(shape for shape in SHAPES if shape.name == "unary_open").at(700)
BARE = Sample(
    rps=700, p50_us=300, p99_us=900, cpu_us_per_call=200, cpu_us_hop=0, cpu_us_path=200, cpu_us_raw=200, cpu_us_all=200,
    live_busy=0.2, load_busy=0.1, foreign_busy=0, slowdown=1, hop_slowdown=1, mirrored_share=0, admitted_share=0,
    exported_share=0, calls=140, bad=0, shed={}, faults={}, latencies_us=(),
)  # fmt: skip
MIRRORED = replace(BARE, mirrored_share=1.0, admitted_share=1.0, exported_share=1.0)


def modes(*names: str) -> tuple[Mode, ...]:
    return tuple(mode for mode in MODES if mode.name in names)


def visits(*samples: tuple[int, str, Sample]) -> list[Visit]:
    return [Visit(*sample) for sample in samples]


def live(cpu: float, of: Sample = BARE, hop: float = 0.0) -> Sample:
    return replace(of, cpu_us_per_call=cpu, cpu_us_hop=hop, cpu_us_path=cpu + hop)


def test_every_mode_is_visited_once_with_the_bare_server_around_it() -> None:
    names = [mode.name for mode in order(modes("bare", "bare_again", "off", "loop"), 2, 1, random.Random(1))]
    assert [place for place, name in enumerate(names) if name == "bare"] == [0, 3, 5]
    assert sorted(set(names)) == ["bare", "bare_again", "loop", "off"]


def test_a_window_is_compared_with_the_bare_windows_beside_it_in_its_round() -> None:
    made = visits(
        (0, "bare", live(1)), (0, "off", live(2)), (0, "bare", live(3)), (1, "bare", live(4)), (1, "off", live(5))
    )
    compared = [(number, own.cpu_us_path, [b.cpu_us_path for b in bare]) for number, own, bare in pairs(made, "off")]
    assert compared == [(0, 2, [1, 3]), (1, 5, [4])]


def test_one_wild_round_does_not_move_the_middle() -> None:
    generator = np.random.default_rng(1)
    assert middle([1.0, 2.0, 3.0, 1000.0], generator).value == 2.5


def test_a_slow_core_is_no_cost_of_the_mode_that_met_it() -> None:
    made = visits(
        *((n, "bare", replace(live(200.0 * pace), slowdown=pace)) for n, pace in enumerate((1.0, 1.2, 1.5) * 4)),
        *((n, "off", replace(live(210.0 * 1.5), slowdown=1.5)) for n in range(12)),
    )
    off = [visit.sample.cpu_us_path for visit in at_one_pace(made) if visit.mode == "off"]
    bare = [visit.sample.cpu_us_path for visit in at_one_pace(made) if visit.mode == "bare"]
    assert np.mean(off) / np.mean(bare) == pytest.approx(1.05, rel=0.01)


def test_what_envoy_uses_counts_as_put_into_the_path_and_ours_must_be_less_at_equal_share() -> None:
    made = {
        OPEN.name: visits(*(
            (number, name, sample)
            for number in range(4)
            for name, sample in (
                ("bare", live(200)),
                ("process", live(220, MIRRORED)),
                ("envoy_mirror", live(180, MIRRORED, hop=150)),
            )
        ))
    }  # fmt: skip
    table = rows(made, modes("bare", "process", "envoy_mirror"), (OPEN,), 1)
    assert {row["mode"]: row["cpu_us_path_added"] for row in table} == {"bare": 0, "process": 20, "envoy_mirror": 130}
    by_figure = {found["figure"]: found for found in judged(table, made, OPEN) if found["against"]}
    path = by_figure["cpu_us_path_added"]
    assert (path["value"], path["met"], path["certain"], path["void"]) == (-110, True, True, "")
    table[-1]["mirrored_share"] = 0.9
    voids = {found["void"] for found in judged(table, made, OPEN) if found["against"]}
    assert voids == {"the shares are 1.000 and 0.900"}


def test_the_p99_of_a_slow_model_means_nothing_where_the_bare_server_differs_from_itself() -> None:
    slow, fast = (replace(BARE, latencies_us=(value,) * 200) for value in (20_600, 20_000))
    made = {
        MODEL.name: visits(*(
            (number, name, sample)
            for number in range(3)
            for name, sample in (("bare", fast), ("bare_again", slow), ("process", fast))
        ))
    }  # fmt: skip
    added = quantile_added(made[MODEL.name], "bare_again", 0.99, np.random.default_rng(1))
    assert added.value == pytest.approx(3.0)
    (process,) = judged(rows(made, modes("bare", "bare_again", "process"), (MODEL,), 1), made, MODEL)
    assert (process["met"], process["void"]) == (True, "bare_again shows +3")


def test_servers_that_are_measured_together_get_their_calls_in_turns() -> None:
    calls = turns(50, 2.0, 3, random.Random(1))
    times = [at for at, _ in calls]
    assert times == sorted(times)
    # Two calls are never due closer together than half a turn.
    assert min(later - at for at, later in pairwise(times)) >= 0.02 / 3 / 2
    for cycle in range(100):
        assert sorted(server for _, server in calls[3 * cycle : 3 * cycle + 3]) == [0, 1, 2]
    assert [at for at, server in calls if server == 0][99] == pytest.approx(1.98, abs=0.02)


def test_every_mode_of_a_slow_model_is_measured_together_with_both_bare_servers() -> None:
    groups = together(modes("bare", "bare_again", "process", "process_dead"), random.Random(1))
    names = [[mode.name for mode in group] for group in groups]
    assert sorted(names) == [["bare", "bare_again", "process"], ["bare", "bare_again", "process_dead"]]


def judged(table: list[dict[str, object]], made: dict[str, list[Visit]], shape: Shape) -> list[dict[str, object]]:
    return expectations(table, made, (shape,), 1)
