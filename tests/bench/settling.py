"""What comes before the first window of new live servers: the mirror's own processes are up, and off the live core."""

from __future__ import annotations

import time
from dataclasses import replace

from bench.plan import Shape
from bench.stage import Stage
from bench.window import send

_WITHIN = 15.0
_FEW = Shape("settling", connections=1, concurrency=1)
_SECONDS = 0.02


def settle(stage: Stage) -> None:
    """
    Send each mode a few calls, which start what starts lazily, and wait until shadows arrive.

    Raises:
        RuntimeError: the live process of a mode that should start processes of its own has not.
    """
    for mode in stage.modes:
        until = time.monotonic() + _WITHIN
        arrived = stage.shadows.calls(mode.shadow)
        up = not mode.mirrors
        few = replace(_FEW, metadata=bool(mode.policies))
        while not up:
            send(stage, [mode], few.job([stage.ports(mode)], _SECONDS, 0))
            has_children = stage.pin_children(mode)
            mirrors = mode.shadow == "dead" or stage.shadows.calls(mode.shadow) > arrived
            up = mirrors and (has_children or not mode.has_children)
            if not up and time.monotonic() > until:
                raise RuntimeError(f"{mode.name}: nothing is mirrored {_WITHIN:.0f} s after the start")
