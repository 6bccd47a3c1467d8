"""
A client that gives up its upload has not ended it, and no shadow is told so.

A synchronous server tells a handler in 3 to 10 of 100 such uploads that they have ended, and more than a millisecond
later the rest: ``tests/mirror/test_engine_live_cancel.py`` has those that are seen in time.

grpc shows a handler the requests of a client who has left as if he had ended them, and that he has left a moment later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from support.meshes import target
from support.request_ends import RequestEnds
from support.resources import until
from support.scripts import script
from support.worlds import LIVE, world

from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend, ReceivedCall

UPLOADS = 100
AIO = (("aio", "loop"), ("aio", "thread"), ("aio read-write", "loop"), ("proxy", "loop"))


class Uploading:
    """What a client sends until it is let go: what its handler does, and a message."""

    def __init__(self, *steps: list[Any]) -> None:
        self._first = script(*steps)
        self.let_go = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield b"a"
        self.let_go.wait(20)


def has_both(call: ReceivedCall) -> bool:
    return len(call.requests) == 2


def counted(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield b"%d" % sum(1 for _ in requests)


@pytest.mark.parametrize(("kind", "carrier"), AIO)
def test_the_shadow_of_an_upload_that_is_given_up_is_not_told_that_it_is_whole(kind: str, carrier: str) -> None:
    with Backend(counted) as backend, RequestEnds(backend.port) as relay:
        candidate = target(relay.address, breaker={"enabled": False})
        with world(kind, carrier, candidate) as it:
            tell = it.server.call("stream_unary")
            for number in range(UPLOADS):
                upload = Uploading(["read_all"], ["wait"])
                call: Any = tell.future(iter(upload), timeout=20)
                shadow = backend.wait_for_calls(number + 1)[-1]
                assert until(partial(has_both, shadow))
                call.cancel()
                upload.let_go.set()
            legs = it.settle(UPLOADS, grace=20)
        assert until(lambda: relay.ends.total() == UPLOADS)
    # A process that is held up between the two may be too late; without waiting it is 90 and more.
    assert relay.ends["half-closed"] < 5
    assert {leg.end for leg in legs[LIVE]} == {CallEnd.CANCELLED}
    assert sum(leg.end == CallEnd.CANCELLED for leg in legs["candidate"]) > UPLOADS - 5


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), *AIO])
def test_the_shadow_of_an_upload_that_ends_is_told_so_while_the_live_handler_works_on(kind: str, carrier: str) -> None:
    with Backend(counted) as backend, world(kind, carrier, target(backend.address)) as it:
        upload = Uploading(["read_all"], ["wait"])
        upload.let_go.set()
        call: Any = it.server.call("stream_unary").future(iter(upload), timeout=20)
        shadow = backend.wait_for_calls(1)[0]
        assert shadow.ended.wait(20)
        assert (len(shadow.requests), shadow.half_closed, call.done()) == (2, True, False)
        call.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            call.result()
        legs = it.settle(1, grace=20)
    assert (legs[LIVE][0].end, legs["candidate"][0].status) == (CallEnd.CANCELLED, "OK")
