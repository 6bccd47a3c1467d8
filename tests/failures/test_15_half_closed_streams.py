"""15. Half-closed streams: the shadow's requests end with the live call's, and an early end of it is its own."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from support.meshes import target
from support.worlds import LIVE, WORLDS, Conversation, world

from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend, ReceivedCall


def echo(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from requests


def early(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Answer once and end with OK, whatever else the client has to say."""
    yield next(requests)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_shadow_is_half_closed_when_the_live_call_is_and_not_before(kind: str, carrier: str) -> None:
    answered = 3
    with Backend(echo) as backend, world(kind, carrier, target(backend.address)) as it:
        conversation = Conversation(it.server, None)
        for number in range(answered):
            assert conversation.say(b"%d" % number) == b"read %d" % number
        received = backend.wait_for_calls(1)[0]
        # Half-closed only after the client has half-closed: until then the backend's call cannot end.
        assert not received.ended.is_set()
        assert conversation.end() is grpc.StatusCode.OK
        assert received.ended.wait(30)
        assert received.half_closed
        assert len(received.requests) == 1 + answered
        legs = it.settle(1, grace=5)
        assert (legs["candidate"][0].status, legs["candidate"][0].message_count) == ("OK", 1 + answered)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_closes_early_does_not_close_the_live_calls_send_side(kind: str, carrier: str) -> None:
    with Backend(early) as backend, world(kind, carrier, target(backend.address)) as it:
        conversation = Conversation(it.server, 50)
        assert conversation.say(b"first") == b"read first"
        assert backend.wait_for_calls(1)[0].ended.wait(30)
        for number in range(49):
            assert conversation.say(b"%d" % number) == b"read %d" % number
        assert conversation.end() is grpc.StatusCode.OK
        legs = it.settle(1, grace=5)
        # The backend's own status, though it came while there was more to send.
        assert (legs["candidate"][0].status, legs["candidate"][0].end) == ("OK", CallEnd.COMPLETED)
        assert legs[LIVE][0].message_count == 50


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_live_handler_that_ends_early_half_closes_the_shadow(kind: str, carrier: str) -> None:
    with Backend(echo) as backend, world(kind, carrier, target(backend.address)) as it:
        # One message is read; then the handler is done, though the client never half-closed.
        conversation = Conversation(it.server, 1)
        assert conversation.say(b"only") == b"read only"
        assert conversation.call.code() is grpc.StatusCode.OK
        assert backend.wait_for_calls(1)[0].ended.wait(30)
        legs = it.settle(1, grace=5)
        assert (legs[LIVE][0].status, legs["candidate"][0].status) == ("OK", "OK")
        conversation.end()
