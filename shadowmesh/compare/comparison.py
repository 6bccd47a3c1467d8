"""
What a pair shows: its outcome, the changes from live to shadow, and the checks.

Three rules keep a candidate from looking better than it is:

1. A shadow that failed with a known status is a result: the pair is matched and its status check mismatches.
2. Nothing is measured on a failure. Changes need both legs to have succeeded and to be complete, because a
   call that fails at once is quick, short and cheap.
3. What one side does not say is unknown. It is never equal and never 0.
"""

from __future__ import annotations

import math

from shadowmesh.compare.pace import pace_of
from shadowmesh.model import Change, Comparison, Leg, Pair
from shadowmesh.names import CallEnd, Check, Outcome

# The live client or our own drain ended these before the backend had its say, so they show nothing about it.
_INTERRUPTED = frozenset({CallEnd.SHED, CallEnd.CUT, CallEnd.CANCELLED})

_Shape = tuple[Change | None, Change | None, Change | None, Change | None, Change | None]
"""Of two streams: time per output token, output rate, chunk gap at the 95th percentile and at most, stalls."""
_NO_SHAPE: _Shape = (None, None, None, None, None)


def compare(pair: Pair) -> Comparison:
    """Return what the pair shows; never raises."""
    live, shadow = pair.live, pair.shadow
    if shadow is None:
        return Comparison(outcome=Outcome.LIVE_ONLY)
    if live is None:
        return Comparison(outcome=Outcome.SHADOW_ONLY)
    if not (_conclusive(live) and _conclusive(shadow)):
        return Comparison(outcome=Outcome.NOT_COMPARABLE, matches=dict.fromkeys(Check, None))
    matches = _matches(live, shadow)
    if not (succeeded(live) and succeeded(shadow)):
        return Comparison(outcome=Outcome.MATCHED, matches=matches)
    cost, currency = _cost(live, shadow)
    per_token, rate, p95, longest, stalls = _stream(live, shadow)
    return Comparison(
        outcome=Outcome.MATCHED,
        duration=_change(live.duration, shadow.duration),
        time_to_first_chunk=_change(live.time_to_first_chunk, shadow.time_to_first_chunk),
        time_per_output_token=per_token,
        output_rate=rate,
        chunk_gap_p95=p95,
        chunk_gap_max=longest,
        stall_count=stalls,
        input_tokens=_change(live.fields.input_tokens, shadow.fields.input_tokens),
        output_tokens=_change(live.fields.output_tokens, shadow.fields.output_tokens),
        cost=cost,
        currency=currency,
        matches=matches,
    )


def succeeded(leg: Leg) -> bool:
    """Return whether the leg's own figures may be measured: it ended with OK and nothing of it is missing."""
    return leg.status == "OK" and leg.complete and leg.end == CallEnd.COMPLETED


def _conclusive(leg: Leg) -> bool:
    return leg.status is not None and leg.end not in _INTERRUPTED


def _matches(live: Leg, shadow: Leg) -> dict[str, bool | None]:
    return {
        Check.STATUS_CODE: live.status == shadow.status,
        Check.FINISH_REASON: _equal(live.fields.finish_reasons, shadow.fields.finish_reasons),
        Check.OUTPUT_EXACT: _equal(live.output_digest, shadow.output_digest),
    }


def _equal(live: object, shadow: object) -> bool | None:
    return live == shadow if live and shadow else None


def _stream(live: Leg, shadow: Leg) -> _Shape:
    """Return the shape of two streams; nothing where one of them is none."""
    if live.time_to_first_chunk is None or shadow.time_to_first_chunk is None:
        return _NO_SHAPE
    per_token = rate = p95 = longest = stalls = None
    live_pace, shadow_pace = pace_of(live), pace_of(shadow)
    if live_pace is not None and shadow_pace is not None:
        per_token = _change(live_pace.per_token, shadow_pace.per_token)
        rate = _change(live_pace.rate, shadow_pace.rate)
    # Where a client was slow that is in the live gaps too, and nobody can take it off again.
    if not live.write_stall:
        live_gaps, shadow_gaps = live.chunk_gaps, shadow.chunk_gaps
        if live_gaps is not None and shadow_gaps is not None:
            p95 = _change(live_gaps.p95, shadow_gaps.p95)
            longest = _change(live_gaps.max, shadow_gaps.max)
        stalls = _change(live.stall_count, shadow.stall_count)
    return per_token, rate, p95, longest, stalls


def _cost(live: Leg, shadow: Leg) -> tuple[Change | None, str | None]:
    if live.cost is None or shadow.cost is None or live.cost.currency != shadow.cost.currency:
        return None, None
    return _change(live.cost.amount, shadow.cost.amount), live.cost.currency


def _change(live: float | None, shadow: float | None) -> Change | None:
    if live is None or shadow is None:
        return None
    ratio = shadow / live if live else math.inf
    # A ratio to nothing, or to next to nothing, is no number a histogram could hold.
    return Change(live=live, shadow=shadow, delta=shadow - live, ratio=ratio if math.isfinite(ratio) else None)
