"""Pairs as the verdict takes them: drawn from a model of two services, or any at all for property tests."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
from hypothesis import strategies as st

from shadowmesh.model import PROMPT_BUCKETS, PROMPT_PLACES, PROMPT_RANKS
from shadowmesh.verdict.facts import NO_PROMPT, Floats, Ints, LegColumns, PairColumns, State, TextColumns
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger

START_NS = 29_000_000 * MINUTE_NS
GUARDS = ("numbers", "refusal")

_SECONDS = st.one_of(st.just(np.nan), st.floats(1e-6, 1e5), st.sampled_from([0.1, 0.12, 0.1 * 1.2**2]))
_SHARES = st.one_of(st.just(np.nan), st.floats(0, 1), st.sampled_from([0.0, 1.0]))
_FLAGS = st.sampled_from([0.0, 1.0, np.nan])
_TOKENS = st.one_of(st.just(np.nan), st.integers(0, 1 << 42).map(float))
_MINUTES = st.one_of(st.integers(0, 5), st.integers(0, 1_000_000))
_CALLS = st.one_of(st.just(np.nan), st.floats(1, 1e5), st.sampled_from([1.0, 2.0, 4.0]))
_LEGS = st.tuples(st.sampled_from(list(State)), _SECONDS, _SECONDS, _SECONDS, *[_TOKENS] * 4, _CALLS)
_BUCKETS = st.one_of(st.just(NO_PROMPT), st.integers(0, PROMPT_BUCKETS - 1))
_PAIRS = st.tuples(
    _MINUTES,
    st.integers(0, 59_999_999_999),
    *[_LEGS] * 3,
    _FLAGS,
    *[_SHARES] * 2,
    *[_FLAGS] * 4,
    st.one_of(_SECONDS, st.just(0.0)),
    _BUCKETS,
)


def a_batch(max_size: int = 30) -> st.SearchStrategy[PairColumns]:
    """Return a strategy for pairs of every kind, plausible or not."""
    return st.lists(_PAIRS, max_size=max_size).map(_of_rows)


def drawn(
    pairs: int,
    *,
    seed: int = 0,
    minutes: int = 120,
    ratio: float = 1.0,
    live_errors: float = 0.005,
    shadow_errors: float = 0.005,
    correlation: float = 0.6,
    similarity: float | None = None,
    floor: float | None = None,
    control_ratio: float | None = None,
) -> PairColumns:
    """
    Draw pairs of a live service and a candidate: lognormal latencies, failures one by one, spread evenly over time.

    Args:
        ratio: of the candidate's latency; ``control_ratio`` of live's through the shadow path, ``None``: no control.
        similarity: mean between live and shadow, ``floor`` between live and control; ``None``: no text.
    """
    random = np.random.default_rng(seed)
    normal = random.standard_normal((4, pairs))
    shared, own = np.sqrt(correlation) * normal[0], np.sqrt(1 - correlation)
    seconds = [0.5 * np.exp(0.6 * (shared + own * normal[at])) for at in (1, 2, 3)]
    control = None if control_ratio is None else leg(np.zeros(pairs), seconds[2] * control_ratio)
    return PairColumns(
        dispatched_ns=np.sort(random.integers(0, minutes * MINUTE_NS, pairs)) + START_NS,
        live=leg(random.random(pairs) < live_errors, seconds[0]),
        shadow=leg(random.random(pairs) < shadow_errors, seconds[1] * ratio),
        control=control,
        exact=np.full(pairs, np.nan),
        texts=None if similarity is None else _texts(random, pairs, similarity, floor),
        lag=np.full(pairs, 1e-4),
        prompt=of_prompts(np.arange(pairs)),
    )


def of_prompts(numbers: Ints) -> Ints:
    """Return the buckets of prompts that have numbers: equal ones have equal buckets."""
    # Bits of splitmix64, whose constants these are.
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    place, rest = (mixed % np.uint64(PROMPT_PLACES)).astype(np.int64), (mixed >> np.uint64(32)).astype(np.int64)
    rank = np.log2(np.maximum(rest & -rest, 1)).astype(np.int64)
    buckets: Ints = place * PROMPT_RANKS + np.minimum(rank, PROMPT_RANKS - 1)
    return buckets


def leg(failed: Floats | Ints | np.ndarray[tuple[int], np.dtype[np.bool_]], seconds: Floats) -> LegColumns:
    """Return legs that ended well or failed, streams of 100 tokens."""
    return LegColumns(
        state=np.asarray(failed, np.uint8),
        duration=seconds,
        first_chunk=seconds * 0.2,
        per_token=seconds * 0.008,
        input_tokens=np.full(len(seconds), 50.0),
        cached_tokens=np.full(len(seconds), 10.0),
        output_tokens=np.full(len(seconds), 100.0),
        cost=seconds * 1e-3,
        in_flight=1.0 + seconds,
    )


def scaled(columns: PairColumns, bins: int) -> PairColumns:
    """Return the same with all durations longer by a whole number of bins."""
    factor = exp(bins * log(1.2) / 20)
    return replace(columns, live=_times(columns.live, factor), shadow=_times(columns.shadow, factor))


def ledger_of(*batches: PairColumns, currency: str | None = "USD") -> Ledger:
    """Return a ledger of these batches, one after the other."""
    ledger = Ledger(currency=currency)
    for batch in batches:
        ledger.add(batch)
    return ledger


def _times(one: LegColumns, factor: float) -> LegColumns:
    return replace(one, duration=one.duration * factor, first_chunk=one.first_chunk * factor)


def _texts(random: np.random.Generator, pairs: int, similarity: float, floor: float | None) -> TextColumns:
    def around(mean: float) -> Floats:
        return np.clip(mean + 0.05 * random.standard_normal(pairs), 0, 1)

    floors = np.full(pairs, np.nan) if floor is None else around(floor)
    return TextColumns(similarity=around(similarity), floor=floors, guards={})


def _of_rows(rows: list[tuple[object, ...]]) -> PairColumns:
    minutes, offsets, lives, shadows, controls, exact, similarity, floor, *more = (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(14)]
    )
    *found, lag = (np.array(each, np.float64) for each in more[:-1])
    return PairColumns(
        dispatched_ns=START_NS + np.array(minutes, np.int64) * MINUTE_NS + np.array(offsets, np.int64),
        live=_legs(lives),
        shadow=_legs(shadows),
        control=_legs(controls),
        exact=np.array(exact, np.float64),
        texts=TextColumns(
            similarity=np.array(similarity, np.float64),
            floor=np.array(floor, np.float64),
            guards=dict(zip(GUARDS, ((found[0], found[1]), (found[2], found[3])), strict=True)),
        ),
        lag=lag,
        prompt=np.array(more[-1], np.int64),
    )


def _legs(rows: list[object]) -> LegColumns:
    columns = np.array(rows, np.float64).reshape(len(rows), 9)
    state, duration, first_chunk, per_token, input_tokens, cached_tokens, output_tokens, cost, in_flight = columns.T
    return LegColumns(
        state=state.astype(np.uint8),
        duration=duration,
        first_chunk=first_chunk,
        per_token=per_token,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        cost=cost,
        in_flight=in_flight,
    )
