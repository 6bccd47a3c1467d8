"""One window: a shape of load put on one mode for a while, and what it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.accounts import Account, Clocks
from bench.modes import Mode
from bench.plan import Settings, Shape
from bench.stage import Stage

SPANS_PER_CALL = 3
"""Inbound, live and shadow: our client sends no trace context, so the inbound span is the mesh's to make."""
_ENDS_WITHIN = 3.0
_STALLS_AFTER = 0.8
_ANSWERS_WITHIN = 40.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one window, as the text of ``overhead.py`` explains them."""

    rps: float
    p50_us: float
    p99_us: float
    cpu_us_per_call: float
    cpu_us_hop: float
    cpu_us_path: float
    cpu_us_raw: float
    cpu_us_all: float
    live_busy: float
    load_busy: float
    foreign_busy: float
    slowdown: float
    hop_slowdown: float
    mirrored_share: float
    admitted_share: float
    exported_share: float
    calls: int
    bad: int
    shed: dict[str, int]
    faults: dict[str, int]
    latencies_us: tuple[int, ...]


def measure(stage: Stage, modes: Sequence[Mode], shape: Shape, settings: Settings, seed: int) -> list[Sample]:
    """
    Warm up, then measure all calls begun within the window, and all that they cause; one sample per mode.

    Several modes are measured at the same time, and share the live core.
    """
    paces = [[(pace, pace.meter.read()) for pace in stage.paces(mode)] for mode in modes]
    seconds, warm_up = shape.seconds or settings.seconds, shape.warm_up or settings.warm_up
    ports = [stage.ports(mode) for mode in modes]
    send(stage, modes, shape.job(ports, warm_up, seed + 1))
    for mode in modes:
        # Those that were started again have inherited the live server's core.
        stage.pin_children(mode)
    before = [Account.of(stage, mode) for mode in modes]
    started = [Clocks.read(stage, mode) for mode in modes]
    result, answered = send(stage, modes, shape.job(ports, seconds, seed))
    used = [Clocks.read(stage, mode) - then for mode, then in zip(modes, started, strict=True)]
    counted = [Account.of(stage, mode) - then for mode, then in zip(modes, before, strict=True)]
    until_answered = [clock - then for clock, then in zip(answered, started, strict=True)]
    ours = sum(clock.live for clock in until_answered)
    return [
        _sample(
            result["servers"][place],
            result["seconds"],
            used[place],
            until_answered[place],
            ours,
            counted[place],
            [pace.slowdown(reading) for pace, reading in paces[place]],
        )
        for place in range(len(modes))
    ]


def _sample(
    seen: dict[str, Any],
    lasted: float,
    used: Clocks,
    answered: Clocks,
    live_ns: int,
    counted: Account,
    slowdowns: list[float],
) -> Sample:
    """Put a sample together; ``live_ns`` is what all live servers of the window used until the last answer."""
    calls = max(seen["calls"], 1)
    return Sample(
        rps=seen["calls"] / lasted,
        p50_us=seen["p50_us"],
        p99_us=seen["p99_us"],
        cpu_us_per_call=used.live / calls / 1e3,
        cpu_us_hop=used.hop / calls / 1e3,
        cpu_us_path=(used.live + used.hop) / calls / 1e3,
        cpu_us_raw=(used.live + used.hop) / calls / 1e3,
        cpu_us_all=used.all / calls / 1e3,
        live_busy=answered.live / lasted / 1e9,
        load_busy=used.load / lasted / 1e9,
        foreign_busy=max((answered.foreign - live_ns) / lasted / 1e9, 0.0),
        slowdown=slowdowns[0],
        hop_slowdown=slowdowns[-1],
        mirrored_share=counted.shadow_calls / calls,
        admitted_share=counted.mirrored / calls,
        exported_share=counted.spans / SPANS_PER_CALL / calls,
        calls=seen["calls"],
        bad=seen["bad"],
        shed=counted.shed,
        faults=counted.faults,
        latencies_us=tuple(seen["latencies_us"]),
    )


def send(stage: Stage, modes: Sequence[Mode], job: dict[str, Any]) -> tuple[dict[str, Any], list[Clocks]]:
    """
    Do one job of the load generator and wait until everything it caused is over: every shadow call and every span
    has arrived, or none come any more. Return its result and the clocks at the last answer.

    At most one of the modes may mirror: nobody could tell whose shadow calls and spans those of two are.
    """
    (mirroring,) = [mode for mode in modes if mode.mirrors] or [modes[0]]
    before = _arrived(stage, mirroring)
    result = stage.load.ask(within=job["seconds"] + _ANSWERS_WITHIN, **job)
    clocks = [Clocks.read(stage, mode) for mode in modes]
    calls = result["servers"][modes.index(mirroring)]["calls"]
    shadows = calls if mirroring.mirrors and mirroring.shadow != "dead" else 0
    spans = SPANS_PER_CALL * calls if mirroring.records and mirroring.shadow != "hanging" else 0
    expected = before[0] + shadows, before[1] + spans
    seen = before
    now = changed = time.monotonic()
    until = now + _ENDS_WITHIN
    while (seen[0] < expected[0] or seen[1] < expected[1]) and now < min(until, changed + _STALLS_AFTER):
        time.sleep(0.01)
        now = time.monotonic()
        arrived = _arrived(stage, mirroring)
        if arrived != seen:
            seen, changed = arrived, now
    return result, clocks


def _arrived(stage: Stage, mode: Mode) -> tuple[int, int]:
    if not mode.mirrors:
        return 0, 0
    return stage.shadows.calls(mode.shadow), stage.sink.ask()["spans"]
