"""
Presets: documented sets of defaults for an experiment. What the file says itself always wins, key by key.

- ``careful`` is for the first day in front of paying customers: few calls, five a second at most, few at once, a
  breaker that gives up early, and an end after ten thousand pairs.
- ``standard`` is for an experiment that gathers evidence: a tenth of the calls, fifty a second at most.
- ``load-test`` finds out what a candidate bears: every call, many at once, shadows that run to their own end, and a
  breaker that opens only when hardly anything comes back. It is dear, and meant for an hour.

Without a preset every key has the default that stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from shadowmesh.names import TargetKind


class Preset(StrEnum):
    """The names."""

    CAREFUL = "careful"
    STANDARD = "standard"
    LOAD_TEST = "load-test"


Defaults = Mapping[str, Any]

EXPERIMENT: Mapping[Preset, Defaults] = {
    Preset.CAREFUL: {"time_box": {"pairs": 10_000}},
    Preset.STANDARD: {},
    Preset.LOAD_TEST: {},
}
"""Of the experiment itself."""

TARGET: Mapping[Preset, Defaults] = {
    Preset.CAREFUL: {
        "rate": 0.01,
        "max_rate": 5.0,
        "deadline": 30.0,
        "max_in_flight": 4,
        "breaker": {"failures": 0.2, "least_calls": 5, "open": 30.0, "open_most": 600.0, "probes": 1},
    },
    Preset.STANDARD: {"rate": 0.1, "max_rate": 50.0, "max_in_flight": 32},
    Preset.LOAD_TEST: {
        "max_in_flight": 1000,
        "on_live_cancel": "detach",
        "breaker": {"failures": 0.9, "least_calls": 100},
    },
}
"""Of every target."""

CONTROL: Mapping[Preset, Defaults] = {
    Preset.CAREFUL: {"rate": 0.002},
    Preset.STANDARD: {"rate": 0.02},
    Preset.LOAD_TEST: {"rate": 0.02},
}
"""Of control targets besides: the noise floor needs fewer pairs than the candidate, and the live model bears them."""


def with_preset(values: object) -> object:
    """Return the keys of an experiment, with what its preset says of those that are not there; checks nothing."""
    if not isinstance(values, Mapping) or values.get("preset") not in list(Preset):
        # What is wrong here, the settings say, and where.
        return values
    preset = Preset(values["preset"])
    filled = _filled(values, EXPERIMENT[preset])
    targets = values.get("targets")
    if isinstance(targets, (list, tuple)):
        filled["targets"] = [_target(target, preset) for target in targets]
    return filled


def _target(target: object, preset: Preset) -> object:
    if not isinstance(target, Mapping):
        return target
    if target.get("kind") == TargetKind.CONTROL:
        target = _filled(target, CONTROL[preset])
    return _filled(target, TARGET[preset])


def _filled(values: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    filled = dict(values)
    for key, default in defaults.items():
        if key not in filled:
            filled[key] = default
        elif isinstance(default, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], default)
    return filled
