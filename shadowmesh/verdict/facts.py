"""
What the verdict needs of pairs, a column each: entry ``i`` of every array belongs to pair ``i`` of the batch.

Durations are float seconds, NaN where nobody knows one or there is none to know.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
States = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MEASURES = ("duration", "first_chunk", "per_token")
"""The latencies that a verdict knows; each is a field of :class:`LegColumns`."""


NO_SESSION = -1
"""The bucket of a pair of which nobody knows to what session it belongs."""
NO_PROMPT = -1
"""The bucket of a pair whose prompt nobody has read."""


class State(IntEnum):
    """What became of a leg, as far as the verdict cares; the numbers are stored in ledgers."""

    OK = 0
    """Ended with OK and complete."""
    FAILED = 1
    """Ended with another status, by itself."""
    TIMED_OUT = 2
    """Its deadline passed: it takes at least as long as it did, and failed."""
    STOPPED = 3
    """The live client left, and the leg was ended at the same elapsed time: it takes at least that long."""
    MISSING = 4
    """Its span never came, or its status is unknown."""
    SHED = 5
    """
    We held it back or cut it for a reason that may have to do with the exchange or the candidate: queue, size, in
    flight, breaker.
    """
    SKIPPED = 6
    """
    We held it back for a reason that has not: rate limit, budget, time-box, shutdown, switched off. As if not sampled.
    """
    WARM_UP = 7
    """Its target was still warming up, by a rule fixed beforehand. As if not sampled, whatever became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegColumns:
    """Legs of one side. Figures of a leg that is not ``OK`` are elapsed times until its end, or NaN."""

    state: States
    duration: Floats
    first_chunk: Floats
    """Time to the first chunk; NaN for what is no stream."""
    per_token: Floats
    """Time per output token after the first chunk; NaN where the tokens are unknown or at most one."""
    input_tokens: Floats
    cached_tokens: Floats
    """Those of the input tokens that came out of a cache; NaN where the protocol does not say."""
    output_tokens: Floats
    cost: Floats
    """In the ledger's currency; NaN where it is unknown."""
    in_flight: Floats
    """How many calls its side had in flight while it ran, on average and this one included; NaN where it is unknown."""

    def where(self, picked: Mask | Ints) -> LegColumns:
        """Return the legs that a mask or an order picks."""
        return LegColumns(**{each.name: getattr(self, each.name)[picked] for each in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumns:
    """What the captured texts show; NaN where one of the two was not captured whole."""

    similarity: Floats
    """Between the outputs of live and shadow, 0 to 1."""
    floor: Floats
    """Between the outputs of live and control of the same exchange, 0 to 1."""
    guards: dict[str, tuple[Floats, Floats]]
    """By name of the guard: what it says (0 or 1, 1 is bad) of the shadow, and of what it is compared with."""

    def where(self, picked: Mask | Ints) -> TextColumns:
        """Return the pairs that a mask or an order picks."""
        guards = {name: (shadow[picked], other[picked]) for name, (shadow, other) in self.guards.items()}
        return TextColumns(similarity=self.similarity[picked], floor=self.floor[picked], guards=guards)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairColumns:
    """
    A batch of pairs of one target under one configuration and of one stratum.

    ``exact`` is 1 where the outputs are equal, 0 where not, NaN where unknown. ``control`` is the leg of the same
    exchange at the control target, ``MISSING`` where there is none. ``lag`` are the seconds that the shadow leg began
    behind the live one, NaN where one of them never did. ``session`` is the bucket of the session that each belongs to,
    :data:`NO_SESSION` where nobody knows, and ``prompt`` that of its prompt, :data:`NO_PROMPT` where nobody knows;
    ``None`` where nobody knows any.
    """

    dispatched_ns: Ints
    live: LegColumns
    shadow: LegColumns
    control: LegColumns | None
    exact: Floats
    texts: TextColumns | None
    lag: Floats
    session: Ints | None = None
    prompt: Ints | None = None

    def __len__(self) -> int:
        return len(self.dispatched_ns)

    def where(self, picked: Mask | Ints) -> PairColumns:
        """Return the pairs that a mask or an order picks."""
        return PairColumns(
            dispatched_ns=self.dispatched_ns[picked],
            live=self.live.where(picked),
            shadow=self.shadow.where(picked),
            control=None if self.control is None else self.control.where(picked),
            exact=self.exact[picked],
            texts=None if self.texts is None else self.texts.where(picked),
            lag=self.lag[picked],
            session=None if self.session is None else self.session[picked],
            prompt=None if self.prompt is None else self.prompt[picked],
        )
