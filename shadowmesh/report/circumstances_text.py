"""Under what circumstances pairs were compared, as short text: what decides nothing and tells how far numbers carry."""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh.report import units
from shadowmesh.report.candidate_text import percent
from shadowmesh.verdict.records import Circumstances


class Fact(NamedTuple):
    """One of them: what it is about, and what is known of it."""

    label: str
    text: str


def facts(around: Circumstances) -> list[Fact]:
    """Return what is known, in the order in which it is shown."""
    found = []
    if around.prompts is not None:
        count = f"about {around.prompts.distinct:,} of {around.prompts.pairs:,} pairs"
        found.append(Fact("different prompts", count))
    if around.load is not None:
        load = around.load
        means = f"{_calls(load.live_mean)} live, {_calls(load.shadow_mean)} shadow on average"
        medians = f"median {_calls(load.live_median)} and {_calls(load.shadow_median)}"
        found.append(Fact("calls in flight", f"{means}; {medians}"))
    if around.cached is not None:
        shares = f"{percent(around.cached.live)} live, {percent(around.cached.shadow)} shadow"
        found.append(Fact("input tokens from a cache", shares))
    if around.lag is not None:
        part = f"{percent(around.lag.share)} of live's time to answer"
        found.append(Fact("shadows begin behind live", f"{units.duration(around.lag.p95)} (P95), {part}"))
    if around.warm_up:
        found.append(Fact("left out as warm-up", f"{around.warm_up:,} pairs"))
    return found


def _calls(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or float(number).is_integer() else f"{number:.2g}"
