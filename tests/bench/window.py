"""One window: a shape of load put on one mode for a while, and what it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bench.plan import Mode, Settings, Shape
from bench.stage import Stage

SPANS_PER_CALL = 3
"""Inbound, live and shadow: our client sends no trace context, so the inbound span is the mesh's to make."""
_SPANS_WITHIN = 3.0
_SPANS_STALL = 0.8
_ANSWERS_WITHIN = 40.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one window, as the text of ``overhead.py`` explains them."""

    rps: float
    p50_us: float
    p99_us: float
    cpu_us_per_call: float
    cpu_us_all: float
    live_busy: float
    load_busy: float
    mirrored_share: float
    admitted_share: float
    exported_share: float
    calls: int
    bad: int
    shed: dict[str, int]
    faults: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Account:
    """What the processes have counted so far: the live one's funnel and errors, the shadow's calls, spans received."""

    mirrored: int
    shed: dict[str, int]
    faults: dict[str, int]
    shadow_calls: int
    spans: int


def measure(stage: Stage, mode: Mode, shape: Shape, settings: Settings, seed: int) -> Sample:
    """Warm up, then measure all calls begun within the window, and all that they cause."""
    live = stage.live(mode)
    children = (live, stage.shadow, stage.sink, stage.load)
    _run(stage, mode, shape.job(live.port, settings.warm_up, seed + 1))
    before = _account(stage, mode)
    cpu_before = [child.cpu_ns() for child in children]
    result, cpu_loaded = _run(stage, mode, shape.job(live.port, settings.seconds, seed))
    used = [child.cpu_ns() - ns for child, ns in zip(children, cpu_before, strict=True)]
    after = _account(stage, mode)
    calls, lasted = max(result["calls"], 1), result["seconds"]
    return Sample(
        rps=result["calls"] / lasted,
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        cpu_us_per_call=used[0] / calls / 1e3,
        cpu_us_all=sum(used[:3]) / calls / 1e3,
        live_busy=(cpu_loaded - cpu_before[0]) / lasted / 1e9,
        load_busy=used[3] / lasted / 1e9,
        mirrored_share=(after.shadow_calls - before.shadow_calls) / calls,
        admitted_share=(after.mirrored - before.mirrored) / calls,
        exported_share=(after.spans - before.spans) / SPANS_PER_CALL / calls,
        calls=result["calls"],
        bad=result["bad"],
        shed={reason: count - before.shed.get(reason, 0) for reason, count in after.shed.items()},
        faults={cause: count - before.faults.get(cause, 0) for cause, count in after.faults.items()},
    )


def _run(stage: Stage, mode: Mode, job: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """
    Do one job of the load generator and wait until everything it caused is over: every span has arrived, or none
    come any more. Return its result and the live CPU clock at the last answer.
    """
    spans = stage.sink.ask()["spans"]
    result = stage.load.ask(within=job["seconds"] + _ANSWERS_WITHIN, **job)
    cpu = stage.live(mode).cpu_ns()
    expected = spans + (SPANS_PER_CALL * result["calls"] if mode.mirrors else 0)
    now = changed = time.monotonic()
    until = now + _SPANS_WITHIN
    while spans < expected and now < min(until, changed + _SPANS_STALL):
        time.sleep(0.01)
        now = time.monotonic()
        seen = stage.sink.ask()["spans"]
        if seen != spans:
            spans, changed = seen, now
    return result, cpu


def _account(stage: Stage, mode: Mode) -> _Account:
    live = stage.live(mode).ask()
    return _Account(
        mirrored=live["mirrored"],
        shed=live["shed"],
        faults=live["faults"],
        shadow_calls=stage.shadow.ask()["calls"],
        spans=stage.sink.ask()["spans"],
    )
