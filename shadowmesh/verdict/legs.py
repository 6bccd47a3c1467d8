"""
What a leg that did not end well still says: an interval for its latency and for its error, never a gap.

Dropping time-outs flatters the slow (2.1 % of them hid 11 % of a P95 ratio in a simulation), and so does a candidate
that fails fast. So every leg has a least and a greatest value, and each test takes the one that is worse for what it
wants to show: PASS the live leg low and the shadow high, FAIL the other way round.

A call whose client left says nothing of latency. Its length is the client's choice, made by the live answer alone, so
to leave such calls out is to speak of those whose clients stayed. Clients that leave because live is slow take long
live legs with them, which makes the candidate look slower and never quicker: of equal models whose slowest 3 % of live
calls are left (correlation 0.6) the P95 ratio reads 1.08, and one of 1.2 fails; a control reads as much. So the verdict
says what share has left. Taken as a live leg of at least that length and a shadow of any, 3 % of them would keep every
P95 open for ever.

Of a leg that failed by itself the latency has a code of its own. PASS takes it as it takes everything unknown. FAIL
leaves the pair out, and so speaks of the exchanges that both have answered: a leg that failed is not a slow one, and
taken as a live leg of any length one failure in a hundred hides a P95 that is 1.3 times as long. Whoever fails fast
instead of answering slowly escapes that FAIL, but neither the criterion of errors nor the pessimism of PASS.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shadowmesh.verdict import bins
from shadowmesh.verdict.bins import Codes
from shadowmesh.verdict.facts import Floats, Ints, LegColumns, Mask, State, States

STATES: Final = len(State)
# Looking up a member of an enumeration takes as long as comparing a thousand legs with it.
_OK, _FAILED, _TIMED_OUT = int(State.OK), int(State.FAILED), int(State.TIMED_OUT)
_STOPPED = int(State.STOPPED)

# By state. Whoever was stopped with its client had not failed until then; whoever was never seen may have.
_FEWEST_ERRORS: Final = np.array([0, 1, 1, 0, 0, 0, 0, 0])
_MOST_ERRORS: Final = np.array([0, 1, 1, 0, 1, 1, 0, 0])

_KNOWN: Final[Mask] = np.array([True, True, True, True, False, False, False, False])
_ENDED_EARLY: Final = np.array([False, False, True, True, False, False, False, False])
_LEFT_OUT: Final[Mask] = np.array([False, False, False, False, False, False, True, True])
_CODE_WITHOUT: Final = np.where(np.arange(STATES) == _FAILED, bins.FAILED, bins.LOST)

# The same of both legs at once.
_LIVE, _SHADOW = np.divmod(np.arange(STATES**2), STATES)
_BOTH_KNOWN: Final[Mask] = _KNOWN[_LIVE] & _KNOWN[_SHADOW]
_EVIDENCE: Final[Mask] = ~(_LEFT_OUT[_LIVE] | _LEFT_OUT[_SHADOW])
_MOST_MORE: Final = _MOST_ERRORS[_SHADOW] - _FEWEST_ERRORS[_LIVE]
_FEWEST_MORE: Final = _FEWEST_ERRORS[_SHADOW] - _MOST_ERRORS[_LIVE]


def seen(state: States) -> Mask:
    """Return of which legs it is known how they ended."""
    known: Mask = _KNOWN[state]
    return known


def more_errors(states: Ints) -> tuple[Ints, Ints]:
    """
    Return by how much the shadow's errors exceed live's: at most (for PASS) and at least (for FAIL); -1, 0 or 1.

    Args:
        states: ``live * STATES + shadow``.
    """
    return _MOST_MORE[states], _FEWEST_MORE[states]


def evidence(states: Ints) -> Mask:
    """Return which pairs are evidence at all: none of their legs was left out, as if it had not been sampled."""
    found: Mask = _EVIDENCE[states]
    return found


def compared(states: Ints) -> Mask:
    """Return whether it is known of both legs how they ended."""
    known: Mask = _BOTH_KNOWN[states]
    return known


def assumed(states: Ints) -> Mask:
    """Return whether one of the legs was shed or never seen, so that its errors are assumed."""
    missing: Mask = _EVIDENCE[states] & ~_BOTH_KNOWN[states]
    return missing


def latency_codes(live: LegColumns, shadow: LegColumns, measure: str) -> tuple[Mask, Codes, Codes]:
    """
    Return which pairs say something of the measure, and for those what is known of both legs.

    A pair says nothing of a stream's figures when a live leg that ended well has none: it is no stream, or too short.
    Where live has one, a shadow that ended well without any has lost it, or answering nothing would be the quickest
    answer. The duration of a leg that ended well and has none is lost too. So is that of a live leg that timed out,
    since its deadline is its caller's and no measure of the model.
    """
    live_seconds, shadow_seconds = getattr(live, measure), getattr(shadow, measure)
    asked = live.state != _STOPPED
    if measure != "duration":
        unknown = np.isnan(live_seconds)
        if unknown.any():
            asked &= ~unknown | (live.state != _OK)
            asked &= ~unknown | (shadow.state != _OK) | ~np.isnan(shadow_seconds)
    live_state, shadow_state = live.state, shadow.state
    if not asked.all():
        live_state, shadow_state = live_state[asked], shadow_state[asked]
        live_seconds, shadow_seconds = live_seconds[asked], shadow_seconds[asked]
    live_codes = _codes(live_state, live_seconds)
    live_codes[live_state == _TIMED_OUT] = bins.LOST
    return asked, live_codes, _codes(shadow_state, shadow_seconds)


def _codes(state: States, seconds: Floats) -> Codes:
    codes = bins.bins_of(seconds)
    codes[np.isnan(seconds)] = bins.LOST
    # Mostly they are few.
    odd = (state != _OK).nonzero()[0]
    if len(odd):
        how, known = state[odd], codes[odd]
        early = _ENDED_EARLY[how] & (known != bins.LOST)
        codes[odd] = np.where(early, bins.at_least(known), _CODE_WITHOUT[how])
    return codes
