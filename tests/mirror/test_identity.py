"""Where the spans of a call hang, from what its caller sent."""

from __future__ import annotations

from support.resources import until

from shadowmesh.mirror.frames import Caller
from shadowmesh.mirror.identity import new_pair_id, trace_of
from shadowmesh.telemetry.propagation import SAMPLED

HEADER = f"00-{5:032x}-{6:016x}-00"


def test_a_remote_caller_s_span_is_the_parent_of_an_inbound_span_of_ours() -> None:
    trace = trace_of(Caller(HEADER, "vendor=1"))
    assert (trace.trace_id, trace.remote_span_id, trace.flags, trace.state) == (5, 6, 0, "vendor=1")
    assert trace.inbound_is_ours
    assert trace.inbound_span_id not in (0, 6)


def test_a_span_that_another_instrumentation_made_here_is_the_inbound_span() -> None:
    trace = trace_of(Caller(HEADER, "", instrumented=True))
    assert (trace.trace_id, trace.inbound_span_id, trace.remote_span_id) == (5, 6, 0)
    assert not trace.inbound_is_ours


def test_without_a_header_or_with_a_bad_one_a_new_sampled_trace_begins() -> None:
    for caller in (Caller(), Caller("not a header", "vendor=1"), Caller(f"00-{0:032x}-{6:016x}-01")):
        trace = trace_of(caller)
        assert trace.trace_id
        assert (trace.remote_span_id, trace.flags, trace.state) == (0, SAMPLED, "")
        assert trace.inbound_is_ours


def test_no_two_exchanges_share_their_pair_id() -> None:
    assert len({new_pair_id() for _ in range(1000)}) == 1000


def test_pair_ids_sort_by_when_they_were_made() -> None:
    first = new_pair_id()
    assert until(lambda: new_pair_id() >> 80 > first >> 80)
    ids = [new_pair_id() for _ in range(1000)]
    assert all(first < one < 1 << 128 for one in ids)
    assert [one >> 80 for one in ids] == sorted(one >> 80 for one in ids)
