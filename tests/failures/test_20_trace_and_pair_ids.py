"""20. A shadow has a span of its own, a link to the live one and the caller's sampled flag; pairs are kept whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.scripts import script
from support.shadows import answering
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import META_PAIR_ID, META_ROLE, META_TRACEPARENT, PAIR_ID, Role
from shadowmesh.testing import Backend


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("flag", ["00", "01"])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_shadow_joins_the_callers_trace_with_its_own_span_and_the_callers_flag(
    kind: str, carrier: str, flag: str
) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address)) as it:
        metadata = ((META_TRACEPARENT, f"00-{TRACE}-{PARENT}-{flag}"),)
        it.server.call("unary_unary")(script(["send", "x"]), metadata=metadata, timeout=20)
        received = dict(backend.wait_for_calls(1)[0].metadata)
        legs = it.settle(1, grace=5)
        live, shadow = legs[LIVE][0], legs["candidate"][0]
        spans = {context_of(span).span_id: span for span in it.sink.spans}
    assert received[META_TRACEPARENT] == f"00-{TRACE}-{shadow.span_id:016x}-{flag}"
    assert received[META_ROLE] == Role.SHADOW
    assert received[META_PAIR_ID] == live.pair_id == shadow.pair_id
    # Recorded whatever the caller's flag: the experiment's rate is the sampling.
    assert f"{live.trace_id:032x}" == f"{shadow.trace_id:032x}" == TRACE
    assert len({live.span_id, shadow.span_id, int(PARENT, 16)}) == 3
    assert [link.context.span_id for link in spans[shadow.span_id].links] == [live.span_id]
    assert spans[live.span_id].links == ()
    assert live.parent_span_id == shadow.parent_span_id
    if carrier != "process":
        # OTLP as the SDK writes it, in which a worker's spans come, leaves the flag out.
        assert context_of(spans[shadow.span_id]).trace_flags == int(flag, 16)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_ids_are_unique_and_pairs_are_whole_with_several_targets(kind: str, carrier: str) -> None:
    calls = 10 * len(ARITIES)
    with (
        Backend(answering, workers=64) as one,
        Backend(answering, workers=64) as other,
        world(kind, carrier, target(one.address, "one"), target(other.address, "other", kind="control")) as it,
    ):
        for arity in ARITIES * 10:
            see(it.server, arity, SCENARIOS["answers"])
        legs = it.settle(calls, grace=10)
        spans = it.sink.spans
    all_legs = [leg for found in legs.values() for leg in found]
    # No caller's trace: every call has one of its own, with the inbound span and three legs in it.
    assert len({leg.trace_id for leg in all_legs}) == calls
    assert all(re.fullmatch("[0-9a-f]{32}", leg.pair_id) for leg in all_legs)
    assert all(leg.leg_count == (3 if leg.role == Role.LIVE else leg.leg_count) for leg in all_legs)
    by_trace = whole(spans)
    assert len(by_trace) == calls
    assert {len(found) for found in by_trace.values()} == {4}


def whole(spans: Sequence[ReadableSpan]) -> dict[int, set[int]]:
    """Return the span ids by trace; no span came twice."""
    found: dict[int, set[int]] = defaultdict(set)
    for span in spans:
        context = context_of(span)
        assert context.span_id not in found[context.trace_id]
        found[context.trace_id].add(context.span_id)
    assert {PAIR_ID in (span.attributes or {}) for span in spans} == {True, False}
    return found
