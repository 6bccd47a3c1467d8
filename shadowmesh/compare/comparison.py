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

from shadowmesh.model import Change, Comparison, Leg, Pair
from shadowmesh.names import CallEnd, Check, Outcome

# The live client or our own drain ended these before the backend had its say, so they show nothing about it.
_INTERRUPTED = frozenset({CallEnd.SHED, CallEnd.CUT, CallEnd.CANCELLED})


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
    return Comparison(
        outcome=Outcome.MATCHED,
        duration=_change(live.duration, shadow.duration),
        time_to_first_chunk=_change(live.time_to_first_chunk, shadow.time_to_first_chunk),
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
