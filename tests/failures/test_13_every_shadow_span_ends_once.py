"""13. However a shadow ends, cancelled or never read to its end: it has one span, which has ended, with a status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from support import peers
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.scripts import script
from support.shadows import SCRIPTS
from support.worlds import WORLDS, world

from shadowmesh.names import CallEnd, Role
from shadowmesh.testing import Backend, ReceivedCall


def endless(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Stream until cancelled."""
    while not call.ended.is_set():
        yield b"x" * 1000
        call.ended.wait(0.01)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_cancelled_and_unfinished_shadows_have_one_ended_span_each(kind: str, carrier: str) -> None:
    with ExitStack() as stack:
        addresses = {
            name: stack.enter_context(Backend(play, workers=32)).address
            for name, play in (SCRIPTS | {"endless": endless}).items()
        }
        addresses["gone"] = stack.enter_context(peers.refused())
        targets = [target(address, name) for name, address in addresses.items()]
        it = stack.enter_context(world(kind, carrier, *targets))
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        # And one that the client cancels in the middle.
        call: Any = it.server.call("unary_stream")(script(["send", "one"], ["wait"]), timeout=20)
        assert next(call) == b"one"
        call.cancel()
        legs = it.settle(len(ARITIES) + 1)
        spans = [span for span in it.sink.spans if (span.attributes or {}).get("shadowmesh.role") == Role.SHADOW]
        assert (
            Counter(context.span_id for span in spans if (context := span.get_span_context())).most_common(1)[0][1] == 1
        )
        assert all(span.start_time and span.end_time and span.end_time >= span.start_time for span in spans)
    for name in addresses:
        for leg in legs[name]:
            # Cut legs may not know their status; every other has one.
            assert leg.status is not None or leg.end == CallEnd.CUT, name
            assert leg.end in set(CallEnd), name
