"""A shadow whose request is a stream: what it is told after it was stopped reaches nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from support.resources import until
from support.shadows import answering

from shadowmesh.mirror.shadow import Dispatch
from shadowmesh.mirror.shadow_stream import ShadowStream
from shadowmesh.mirror.tap import Capture
from shadowmesh.names import CallEnd
from shadowmesh.policy.limits import Tokens
from shadowmesh.rpc import Arity
from shadowmesh.testing import Backend


class LateCall:
    """Calls at once, and hands the call over when it is let go, as a thread does that is not scheduled meanwhile."""

    def __init__(self, multicallable: Any) -> None:
        self._multicallable = multicallable
        self.let_go = threading.Event()

    def __call__(self, requests: Iterator[bytes], **how: Any) -> Any:
        call = self._multicallable(requests, **how)
        self.let_go.wait(20)
        return call


def dispatch(loop: asyncio.AbstractEventLoop, multicallable: Any, finished: Callable[[], None]) -> Dispatch:
    return Dispatch(
        loop=loop,
        multicallable=multicallable,
        arity=Arity.STREAM_STREAM,
        metadata=(),
        span_id=1,
        deadline=20.0,
        capture=Capture(Tokens(9), 1 << 20),
        let_go=lambda _: None,
        clock=time.monotonic_ns,
        finished=finished,
    )


async def test_the_end_of_the_requests_after_a_hole_in_them_is_never_said_to_the_backend() -> None:
    over = asyncio.Event()
    with Backend(answering) as backend, grpc.insecure_channel(backend.address) as channel:

        def goes_on() -> bool:
            return backend.calls[0].half_closed or len(backend.calls[0].requests) > 1

        late = LateCall(channel.stream_stream("/acme.Model/Talk"))
        shadow = ShadowStream(dispatch(asyncio.get_running_loop(), late, over.set))
        shadow.send(b"a")
        assert await asyncio.to_thread(until, lambda: [call.requests for call in backend.calls] == [[b"a"]])
        # The second message was let go, so nothing that follows is what the live server was asked.
        shadow.stop(CallEnd.CUT)
        shadow.send(b"c")
        shadow.half_close()
        assert not await asyncio.to_thread(until, goes_on, 0.2)
        late.let_go.set()
        await asyncio.wait_for(over.wait(), 20)
    seen = shadow.observation
    assert (seen.end, seen.status, seen.sent) == (CallEnd.CUT, "CANCELLED", 1)
