"""Pairs that have ended, to be stored, and strategies for pairs of every shape."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from support.legs import SECOND, T0, live, shadow

from shadowmesh.compare.comparison import compare
from shadowmesh.model import PROMPT_BUCKETS, ChunkGaps, Comparison, Cost, Fields, Leg, Pair
from shadowmesh.names import CallEnd, Check, CostSource, Outcome
from shadowmesh.store.records import PairRecord


def ended(live_leg: Leg | None, shadow_leg: Leg | None, *, evicted: bool = False) -> PairRecord:
    """Return the pair of two legs, one of which may be missing."""
    leg = live_leg or shadow_leg
    assert leg is not None
    target = shadow_leg.target if shadow_leg is not None else leg.expected_targets[0]
    pair = Pair(pair_id=leg.pair_id, target=target, live=live_leg, shadow=shadow_leg)
    return PairRecord(pair, Comparison(outcome=Outcome.EVICTED) if evicted else compare(pair))


def matched(pair_id: str, *, at: float = 0.0, **changes: Any) -> PairRecord:
    """Return a pair with both legs, dispatched ``at`` seconds after :data:`T0`."""
    times: dict[str, Any] = {"started_ns": T0 + round(at * SECOND), "ended_ns": T0 + round((at + 0.2) * SECOND)}
    return ended(live(pair_id, **times, **changes), shadow(pair_id, **times, **changes))


def live_only(pair_id: str) -> PairRecord:
    """Return the half of a pair whose shadow never came."""
    return ended(live(pair_id), None)


def shadow_only(pair_id: str) -> PairRecord:
    """Return the half of a pair whose live leg never came."""
    return ended(None, shadow(pair_id))


_words = st.text(max_size=20)
_names = st.sampled_from(["a", "llama-3", "χ", "a\0b", "x" * 300])
_counts = st.integers(min_value=0, max_value=2**63 - 1)
_seconds = st.floats(min_value=0, max_value=1e6)
_maybe = {
    "status": st.sampled_from(["OK", "INTERNAL", "CANCELLED"]),
    "drop_reason": st.sampled_from(["queue_full", "budget"]),
    "time_to_first_chunk": _seconds,
    "chunk_gaps": st.builds(ChunkGaps, p50=_seconds, p95=_seconds, max=_seconds),
    "stall_count": _counts,
    "queue_time": _seconds,
    "deadline": _seconds,
    "concurrency": _seconds,
    "server_address": _names,
    "server_port": st.integers(0, 65535),
    "output_digest": st.sampled_from(["aa", "bb"]),
    "request_digest": st.sampled_from(["cc", "dd"]),
    "target_digest": _names,
    "config_digest": _names,
    "cost": st.builds(
        Cost,
        amount=_seconds,
        currency=st.sampled_from(["USD", "EUR"]),
        source=st.sampled_from(CostSource).map(str),
        pricing_version=st.none() | _names,
    ),
}
_fields = st.builds(
    Fields,
    operation=st.none() | _names,
    provider=st.none() | _names,
    request_model=st.none() | _names,
    response_model=st.none() | _names,
    response_id=st.none() | st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    max_tokens=st.none() | _counts,
    temperature=st.none() | _seconds,
    top_p=st.none() | _seconds,
    top_k=st.none() | _seconds,
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop_sequences=st.lists(_words, max_size=3).map(tuple),
    input_tokens=st.none() | _counts,
    output_tokens=st.none() | st.integers(0, 10_000),
    cached_input_tokens=st.none() | _counts,
    reasoning_output_tokens=st.none() | _counts,
    usage_source=st.none() | _names,
    finish_reasons=st.lists(_words, max_size=3).map(tuple),
)


@st.composite
def _facts(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what one side of a pair may say that the other one does not."""
    # Whole microseconds, which every reader of a file can tell.
    started = T0 + 1000 * draw(st.integers(0, 10**9))
    said = {name: draw(st.none() | values) for name, values in _maybe.items()}
    return said | {
        "span_id": draw(st.integers(1, 2**64 - 1)),
        "trace_id": draw(st.integers(1, 2**128 - 1)),
        "started_ns": started,
        "ended_ns": started + draw(st.integers(0, 10**12)),
        "end": draw(st.sampled_from(CallEnd)).value,
        "streaming": draw(st.booleans()),
        "complete": draw(st.booleans()),
        "message_count": draw(_counts),
        "write_stall": draw(_seconds),
        "attempt": draw(st.integers(1, 5)),
        "probability": draw(st.floats(min_value=1e-9, max_value=1)),
        "experiment_version": draw(_names),
        "method": draw(_names),
        "decision": draw(st.sampled_from(["mirrored", "dropped"])),
        "warm_up": draw(st.booleans()),
        "fields": draw(_fields),
    }


@st.composite
def records(draw: st.DrawFn, pair_id: str = "p1") -> PairRecord:
    """Draw a pair of any shape: one side missing, evicted, or with captured text that was compared."""
    common: dict[str, Any] = {"exchange_index": draw(st.none() | st.integers(0, 1000))}
    sides = draw(st.sampled_from(["both", "both", "live", "shadow"]))
    buckets: dict[str, Any] = {"prompt_bucket": draw(st.none() | st.integers(0, PROMPT_BUCKETS - 1))}
    live_leg = live(pair_id, **draw(_facts()), **buckets, **common) if sides != "shadow" else None
    shadow_leg = shadow(pair_id, **draw(_facts()), **common) if sides != "live" else None
    record = ended(live_leg, shadow_leg, evicted=sides == "live" and draw(st.booleans()))
    if not record.comparison.matches or draw(st.booleans()):
        return record
    shown = {**record.comparison.matches, Check.OUTPUT_EXACT: False}
    changed = {name: getattr(record.comparison, name) for name in Comparison.__dataclass_fields__}
    return PairRecord(record.pair, Comparison(**changed | {"matches": shown}))
