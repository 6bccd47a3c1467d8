"""What a verdict does not decide by, and whoever reads it should know."""

from __future__ import annotations

from collections.abc import Iterator

from shadowmesh.verdict.coverage import Coverage, shed_by_length
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Cached, Circumstances, Lag, Load, Prompts
from shadowmesh.verdict.settings import CriteriaSettings

_WORTH_SAYING = 0.01
_FEW = 100
"""Fewer pairs say little of how the others were compared."""
_PROMPTS = 0.5
"""
Different prompts to a pair. Where answers to one prompt are all alike, sums vary ``pairs / prompts`` times more than
those of as many independent pairs: below one half, intervals ought to be more than 1.4 times as wide as is said.
"""
_LOAD = 2.0
"""
Times as many calls in flight. At equal rates of calls they are in proportion to latency (Little's law), so that a
candidate at a limit of 1.2 has 1.2 times as many by itself, and 1.5 is nothing strange either.
"""
_UNCACHED = 1.1
"""
Times as many input tokens that came out of no cache. The work before the first token grows with them, so a tenth is
half of what a criterion of 1.2 allows.
"""
_LAG = 0.02
"""The P95 of the lag, as a share of live's time to the first answer."""


def caveats(
    whole: Ledger, found: Coverage, around: Circumstances, criteria: CriteriaSettings, alpha: float
) -> list[str]:
    """Return what is to be said of the pairs, of those that were not compared and of the others, a sentence each."""
    said = []
    if found.shed > criteria.coverage.shed_warning:
        said.append(f"{found.shed:.1%} of the exchanges were held back or cut, for reasons that may matter")
    if found.lost > criteria.coverage.shed_warning:
        said.append(f"of {found.lost:.1%} of the exchanges one leg was never seen")
    if found.skipped > _WORTH_SAYING:
        said.append(
            f"{found.skipped:.1%} of the sampled exchanges went to no shadow, by policy (limits, budgets, effects, "
            "translation): the answer is about the others"
        )
    if found.stopped > _WORTH_SAYING:
        said.append(
            f"of {found.stopped:.1%} of the exchanges the client left: latency is that of calls whose clients stayed, "
            "of which live had the quicker ones if it was slowness that made them leave"
        )
    long = shed_by_length(whole, alpha)
    if long is not None:
        said.append(
            f"what was held back or cut has to do with length: {long:.0%} of it had longer answers than half of all"
        )
    return [*said, *_of(around)]


def _of(around: Circumstances) -> Iterator[str]:
    if around.prompts is not None and around.prompts.pairs >= _FEW:
        yield from _repeated(around.prompts)
    if around.load is not None and around.load.pairs >= _FEW:
        yield from _unlike_load(around.load)
    if around.cached is not None and around.cached.pairs >= _FEW:
        yield from _unlike_caches(around.cached)
    if around.lag is not None and around.lag.pairs >= _FEW:
        yield from _late(around.lag)


def _repeated(prompts: Prompts) -> Iterator[str]:
    if prompts.distinct < _PROMPTS * prompts.pairs:
        yield (
            f"of {prompts.pairs:,} pairs only about {prompts.distinct:,} have different prompts: where answers to one "
            "prompt are alike they say no more than as many pairs, and intervals are wider than said"
        )


def _unlike_load(load: Load) -> Iterator[str]:
    if not 1 / _LOAD <= load.shadow_mean / load.live_mean <= _LOAD:
        yield (
            f"beside a live leg {_calls(load.live_mean)} calls were in flight on average, beside a shadow leg "
            f"{_calls(load.shadow_mean)}: latency was compared at unlike load"
        )


def _calls(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def _unlike_caches(cached: Cached) -> Iterator[str]:
    low, high = sorted((1 - cached.live, 1 - cached.shadow))
    if high - low > _WORTH_SAYING and high > _UNCACHED * low:
        yield (
            f"{cached.live:.1%} of live's input tokens came out of a cache, and {cached.shadow:.1%} of the shadow's: "
            "time to the first chunk and cost were compared with unlike caches"
        )


def _late(lag: Lag) -> Iterator[str]:
    if lag.share > _LAG:
        yield (
            f"shadow legs began up to {1e3 * lag.p95:.3g} ms after their live legs (P95), {lag.share:.1%} of the "
            "median time to live's first answer: what carries them is busy, and its own time may show in latency"
        )
