"""The rounds of a run: new live servers, then every shape on every mode, as long as there is time."""

from __future__ import annotations

import random
import time
from collections import defaultdict

from bench.plan import Settings, Shape
from bench.schedule import Visit, order, together
from bench.settling import settle
from bench.stage import Stage
from bench.window import measure
from rich.progress import Progress


def measure_rounds(
    stage: Stage, shapes: tuple[Shape, ...], settings: Settings, began: float, progress: Progress
) -> tuple[dict[str, list[Visit]], int]:
    """Return the windows of each shape and how many rounds there were; one that would end too late is not begun."""
    chance = random.Random(settings.seed)
    visits: dict[str, list[Visit]] = defaultdict(list)
    task = progress.add_task("", total=settings.rounds)
    longest: dict[int, float] = {}
    for number in range(settings.rounds):
        due = [shape for shape in chance.sample(shapes, len(shapes)) if number % shape.every == 0]
        expected = longest.get(len(due), max(longest.values(), default=0.0))
        if number and time.monotonic() - began + expected > settings.most_seconds:
            return visits, number
        round_began = time.monotonic()
        if number:
            stage.renew()
            settle(stage)
        for shape in due:
            progress.update(task, description=f"round {number + 1}: {shape.name}")
            visits[shape.name] += _round(stage, shape, settings, number, chance)
        progress.advance(task)
        longest[len(due)] = max(longest.get(len(due), 0.0), time.monotonic() - round_began)
    return visits, settings.rounds


def _round(stage: Stage, shape: Shape, settings: Settings, number: int, chance: random.Random) -> list[Visit]:
    stage.set_up(shape)
    seed = chance.getrandbits(32)
    modes = [mode for mode in stage.modes if shape.takes(mode)]
    if shape.pooled:
        groups = together(modes, chance)
        # Each is compared with those it was measured with, and with no others.
        return [
            Visit(number * len(groups) + place, mode.name, sample)
            for place, group in enumerate(groups)
            for mode, sample in zip(group, measure(stage, group, shape, settings, seed + 2 * place), strict=True)
        ]
    return [
        Visit(number, mode.name, *measure(stage, [mode], shape, settings, seed))
        for mode in order(modes, shape.bare_every, shape.passes, chance)
    ]
