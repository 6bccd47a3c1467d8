"""A live model, a candidate and, where content is kept, a control: all that a whole verdict is asked of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from sim.draws import Floats, Ints, Random, down_at, latencies, similarities

from shadowmesh.verdict.facts import LegColumns, PairColumns, State, States, TextColumns

_BEGIN_NS = 1_700_000_000_000_000_000
_NS = 1_000_000_000
_TOKENS_PER_SECOND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    The truth. Pairs come evenly, and one pair's draws say nothing of another's but in outages and slow spells.

    Args:
        ratio: of all quantiles of the durations, shadow to live; ``sixth``: that of every sixth pair is so many times
            as great, the last of six methods.
        correlation: of the logarithms of the durations.
        live_errors, shadow_errors: chance of a failure, which takes as long as an answer.
        outage: seconds; failures come in outages of that length, of each side alone. 0: one by one.
        slow: of the time each side is in a spell in which it takes twice as long, of ``spell`` seconds.
        similarity: mean of live and shadow; ``None`` where no content is kept.
        floor: the same of live and control; ``None``: there is none.
        lost: share of the shadows, the longest ones, the shortest or any, that end as ``lost_as`` says.
        deadline: seconds after which shadows are ended; ``patience``: after which clients leave. 0: never.
        path: so many times as long everything takes on the shadow's way, and a control target shows it. 0: no control.
        judged: share of the pairs that a judge reads; of those ``ties``, and of the others ``won`` for the shadow.
        pairs_per_second: so a dispatch minute is a block of 60 times as many.
    """

    ratio: float = 1.0
    sixth: float = 1.0
    correlation: float = 0.6
    live_errors: float = 0.005
    shadow_errors: float = 0.005
    outage: float = 0.0
    slow: float = 0.0
    spell: float = 60.0
    similarity: float | None = None
    floor: float | None = None
    lost: float = 0.0
    lost_as: State = State.MISSING
    lost_are: Literal["longest", "shortest", "any"] = "longest"
    deadline: float = 0.0
    patience: float = 0.0
    path: float = 0.0
    judged: float = 0.0
    ties: float = 0.4
    won: float = 0.5
    pairs_per_second: float = 5 / 3

    def draw(self, random: Random, size: int) -> PairColumns:
        """Draw the first ``size`` pairs in order of dispatch."""
        moments = np.arange(size) / self.pairs_per_second
        live, shadow = latencies(random, (size,), ratio=self.ratio, correlation=self.correlation)
        live *= self._slowness(random, moments)
        shadow *= self._slowness(random, moments) * (self.path or 1.0)
        shadow[5::6] *= self.sixth
        shadow_states = self._states(random, moments, self.shadow_errors)
        if self.lost:
            order = random.random(size) if self.lost_are == "any" else shadow
            order = -order if self.lost_are == "shortest" else order
            shadow_states[order > np.quantile(order, 1 - self.lost)] = self.lost_as
        if self.deadline:
            shadow_states[shadow > self.deadline] = State.TIMED_OUT
            shadow = np.minimum(shadow, self.deadline)
        pairs = PairColumns(
            dispatched_ns=_BEGIN_NS + (moments * _NS).astype(np.int64),
            live=_leg(self._states(random, moments, self.live_errors), live),
            shadow=_leg(shadow_states, shadow),
            control=None if self.floor is None else _leg(np.zeros(size, dtype=np.uint8), live),
            exact=np.full(size, np.nan),
            texts=self._texts(random, size),
            lag=np.full(size, np.nan),
        )
        if self.path:
            again = latencies(random, (size,), ratio=self.path, correlation=self.correlation, given=live)[1]
            pairs = replace(pairs, control=_leg(np.zeros(size, dtype=np.uint8), again))
        return _until_clients_leave(pairs, self.patience) if self.patience else pairs

    def judgements(self, random: Random, size: int) -> Ints:
        """Draw what a judge says of each pair: 0 for the shadow, 1 a tie, 2 for live, 3 where it was not asked."""
        decisive = 1 - self.ties
        said = self.judged * np.array([self.won * decisive, self.ties, (1 - self.won) * decisive])
        return random.choice(4, size, p=[*said, 1 - self.judged])

    def _slowness(self, random: Random, moments: Floats) -> Floats:
        return np.where(down_at(random, moments, share=self.slow, outage=self.spell), 2.0, 1.0)

    def _states(self, random: Random, moments: Floats, failing: float) -> States:
        if self.outage:
            failed = down_at(random, moments, share=failing, outage=self.outage)
        else:
            failed = random.random(len(moments)) < failing
        return np.where(failed, State.FAILED, State.OK).astype(np.uint8)

    def _texts(self, random: Random, size: int) -> TextColumns | None:
        if self.similarity is None:
            return None
        floor = np.full(size, np.nan) if self.floor is None else similarities(random, (size,), mean=self.floor)
        return TextColumns(similarity=similarities(random, (size,), mean=self.similarity), floor=floor, guards={})


def _until_clients_leave(pairs: PairColumns, patience: float) -> PairColumns:
    """Return the same where the clients leave that live lets wait for longer, and what still runs then is stopped."""
    left = pairs.live.duration > patience

    def stopped(leg: LegColumns) -> LegColumns:
        early = left & (leg.duration > patience)
        states = np.where(early, State.STOPPED, leg.state).astype(np.uint8)
        return replace(leg, state=states, duration=np.where(early, patience, leg.duration))

    control = None if pairs.control is None else stopped(pairs.control)
    return replace(pairs, live=stopped(pairs.live), shadow=stopped(pairs.shadow), control=control)


def _leg(state: States, duration: Floats) -> LegColumns:
    unknown = np.full(len(duration), np.nan)
    return LegColumns(
        state=state,
        duration=duration,
        first_chunk=unknown,
        per_token=unknown,
        input_tokens=unknown,
        cached_tokens=unknown,
        output_tokens=np.ceil(_TOKENS_PER_SECOND * duration),
        cost=unknown,
        in_flight=unknown,
    )
