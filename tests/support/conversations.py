"""A live server that answers every request of a stream as it comes: several exchanges on one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from support.experiments import CONVERSE
from support.servers import Server, is_aio

from shadowmesh.schema.messages import FINISH_REASON_STOP, GenerateDelta, GenerateRequest, Usage


def answer(request: GenerateRequest) -> list[GenerateDelta]:
    """Return a delta for every word of the prompt, and the one that ends the exchange."""
    words = request.prompt.split()
    deltas = [GenerateDelta(request_id=request.request_id, delta=word) for word in words]
    usage = Usage(input_tokens=1, output_tokens=len(words))
    last = GenerateDelta(request_id=request.request_id, finish_reason=FINISH_REASON_STOP, usage=usage)
    return [*deltas, last]


class Conversation(grpc.GenericRpcHandler):
    """The server's handler, of its ``kind``."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def sync(requests: Iterator[GenerateRequest], context: Any) -> Iterator[GenerateDelta]:
            for request in requests:
                yield from answer(request)

        async def aio(requests: AsyncIterator[GenerateRequest], context: Any) -> AsyncIterator[GenerateDelta]:
            async for request in requests:
                for delta in answer(request):
                    yield delta

        return grpc.stream_stream_rpc_method_handler(
            aio if is_aio(self._kind) else sync,
            request_deserializer=GenerateRequest.FromString,
            response_serializer=GenerateDelta.SerializeToString,
        )


def converse(server: Server, exchanges: int, prompt: str = "a b c") -> list[GenerateDelta]:
    """Have so many exchanges on one call, one request after another, and return every answer."""
    requests = [GenerateRequest(request_id=f"r{number}", prompt=prompt) for number in range(exchanges)]
    call: Any = server.channel.stream_stream(CONVERSE, GenerateRequest.SerializeToString, GenerateDelta.FromString)
    return list(call(iter(requests), timeout=20))
