"""The rate of an open loop: what the whole chain sustains in every mode that mirrors, with room to spare."""

from __future__ import annotations

from dataclasses import replace

from bench.modes import Mode
from bench.plan import Settings, Shape
from bench.stage import Stage
from bench.window import measure

ENOUGH = 0.99
"""Share of the calls that must reach the shadow."""
_KEPT = 0.97
_FIRST, _STEP, _ROOM = 0.7, 0.8, 0.85
_TRIES = 6
_LEAST_SECONDS = 1.0
_CHANCES = 2
_IN_FLIGHT = 8


def with_rates(shapes: tuple[Shape, ...], stage: Stage, settings: Settings) -> tuple[Shape, ...]:
    """Return the shapes, each open one without a rate given one."""
    patient = replace(settings, seconds=max(settings.seconds, _LEAST_SECONDS))
    return tuple(
        shape if shape.concurrency or shape.rate else shape.at(_rate(shape, stage, patient)) for shape in shapes
    )


def _rate(shape: Shape, stage: Stage, settings: Settings) -> float:
    modes = [mode for mode in stage.modes if mode.mirrors and shape.takes(mode)]
    saturated = replace(shape, concurrency=_IN_FLIGHT)
    rate = _FIRST * min(
        sample.rps * sample.mirrored_share
        for mode in modes
        for sample in measure(stage, [mode], saturated, settings, settings.seed)
    )
    for _ in range(_TRIES):
        if all(_sustains(mode, shape.at(rate), stage, settings) for mode in modes):
            break
        rate *= _STEP
    return float(f"{rate * _ROOM:.2g}")


def _sustains(mode: Mode, shape: Shape, stage: Stage, settings: Settings) -> bool:
    # One hiccup of the machine says nothing about the rate.
    samples = (measure(stage, [mode], shape, settings, settings.seed + chance)[0] for chance in range(_CHANCES))
    return any(sample.mirrored_share >= ENOUGH and sample.rps >= _KEPT * shape.rate for sample in samples)
