"""An error inside a stream that names no request: of the only one that waits, or of none, and then it is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from support.dialects.spoken import view
from support.meshes import target
from support.servers import is_aio
from support.worlds import LIVE, WORLDS, world

from shadowmesh.schema.descriptors import message_class
from shadowmesh.testing import Backend, ReceivedCall

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
REQUEST = message_class("shadowmesh.views.oip.ModelInferRequest")
ERROR = view("oip.ModelStreamInferResponse", error_message="unreadable").SerializeToString()


def asked(identity: str, *, model: str = "llm") -> bytes:
    return view("oip.ModelInferRequest", id=identity, model_name=model).SerializeToString()


def answered(data: bytes) -> bytes:
    """Answer a request, or say that it fails and not which one it is."""
    request: Any = REQUEST.FromString(data)
    if request.model_name == "none":
        return ERROR
    ends = {"triton_final_response": {"bool_param": True}}
    answer = view("oip.ModelStreamInferResponse", infer_response={"id": request.id, "parameters": ends})
    return answer.SerializeToString()


class Triton(grpc.GenericRpcHandler):
    """Answers each request when it comes; with ``late``, all of them when the last one has come."""

    def __init__(self, kind: str, *, late: bool = False) -> None:
        self._aio = is_aio(kind)
        self._late = late

    def service(self, handler_call_details: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._aio_infer if self._aio else self._infer)

    def _infer(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from map(answered, list(requests) if self._late else requests)

    async def _aio_infer(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        waiting: list[bytes] = []
        async for request in requests:
            waiting.append(request)
            if not self._late:
                yield answered(waiting.pop())
        for request in waiting:
            yield answered(request)


def shadow(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield from map(answered, requests)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_only_request_that_waits_has_failed(kind: str, carrier: str) -> None:
    settings: dict[str, Any] = {"methods": (STREAM,), "protocol": "oip_triton"}
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(shadow))
        with world(kind, carrier, target(backend.address), handler=Triton(kind), **settings) as it:
            outbox: SimpleQueue[bytes | None] = SimpleQueue()
            talk: Any = it.server.channel.stream_stream(STREAM)
            call = talk(iter(outbox.get, None), timeout=20)
            # The next one is asked when the one before has its answer.
            for request in (asked("a"), asked("b", model="none"), asked("c")):
                outbox.put(request)
                assert next(call) == answered(request)
            outbox.put(None)
            assert list(call) == []
            legs = it.settle(3, grace=20.0)
            faults = it.mesh.faults()
    assert [leg.status for leg in legs[LIVE]] == ["OK", "UNKNOWN", "OK"]
    assert [leg.message_count for leg in legs[LIVE]] == [1, 1, 1]
    assert not any("x/live" in cause for cause in faults)


def test_where_several_wait_it_is_counted_and_nobody_s() -> None:
    settings: dict[str, Any] = {"methods": (STREAM,), "protocol": "oip_triton"}
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(shadow))
        with world("sync", "thread", target(backend.address), handler=Triton("sync", late=True), **settings) as it:
            talk: Any = it.server.channel.stream_stream(STREAM)
            requests = [asked("a", model="none"), asked("b"), asked("c")]
            assert len(list(talk(iter(requests), timeout=20))) == 3
            legs = it.settle(3, grace=20.0)
            faults = it.mesh.faults()
    assert [leg.status for leg in legs[LIVE]][1:] == ["OK", "OK"]
    assert (legs[LIVE][0].complete, legs[LIVE][0].message_count) == (False, 0)
    assert faults["x/live: errors on a stream that name none of the requests that waited"] == 1
