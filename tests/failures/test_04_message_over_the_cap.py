"""4. A body or message over the cap: the shadow is skipped and counted with a reason, the live call gets every byte."""

from __future__ import annotations

import grpc
import pytest
from support.calls import ARITIES, see
from support.meshes import target
from support.scripts import script
from support.shadows import answering
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.testing import Backend

CAP = {"max_message_bytes": 10_000, "max_call_bytes": 50_000}
LARGE = "x" * 20_000


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_single_request_over_the_cap_is_shed_as_oversize(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address), mirror=CAP) as it:
        for arity in ("unary_unary", "unary_stream"):
            assert see(it.server, arity, [["send", LARGE]]).messages == (LARGE.encode(),)
        legs = it.settle(2, grace=5)
        assert [(leg.end, leg.drop_reason) for leg in legs["candidate"]] == [(CallEnd.SHED, DropReason.OVERSIZE)] * 2
        assert [leg.status for leg in legs[LIVE]] == ["OK", "OK"]
        assert it.decided() == {(Decision.DROPPED, DropReason.OVERSIZE): 2}
        assert backend.calls == []


@pytest.mark.parametrize("what", ["one large message", "many small messages"])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_request_stream_over_the_cap_cuts_the_shadow_and_reaches_the_live_handler_whole(
    kind: str, carrier: str, what: str
) -> None:
    messages = [LARGE.encode()] if what == "one large message" else [b"%d" % number * 500 for number in range(100)]
    with Backend(answering) as backend, world(kind, carrier, target(backend.address), mirror=CAP) as it:
        for arity in ("stream_unary", "stream_stream"):
            requests = iter((script(["read_all"]), *messages))
            answer = it.server.call(arity)(requests, timeout=20)
            got = [answer] if arity == "stream_unary" else list(answer)
            expected = [b"read " + message for message in messages]
            assert got == (expected[-1:] if arity == "stream_unary" else expected)
        legs = it.settle(2, grace=5)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}
        assert {leg.complete for leg in legs["candidate"]} == {False}
        reason = DropReason.OVERSIZE if what == "one large message" else DropReason.OVERSIZE_CALL
        assert {leg.drop_reason for leg in legs["candidate"]} == {reason}
        assert [leg.status for leg in legs[LIVE]] == ["OK", "OK"]


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_an_answer_over_the_cap_reaches_the_client_whole_and_is_still_counted(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address), mirror=CAP) as it:
        for arity in ARITIES:
            seen = see(it.server, arity, [["flood", 3]])
            assert seen.code is grpc.StatusCode.OK
            assert {len(message) for message in seen.messages} == {100_000}
        legs = it.settle(len(ARITIES), grace=5)
        assert [leg.message_count for leg in legs[LIVE]] == [1, 3, 1, 3]
        assert {leg.status for leg in legs["candidate"]} == {"OK"}
