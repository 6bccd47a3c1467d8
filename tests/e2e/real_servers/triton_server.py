"""
A server that speaks as Triton does, made of tritonclient's own stubs: ``python triton_server.py PORT``.

It says the words of a prompt in its way. On a stream it waits for two requests and answers them in turns, word by word;
``quiet`` counts nothing, and an unknown model is an error inside a message.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as triton  # type: ignore[import-not-found]
from tritonclient.grpc import service_pb2_grpc as services
from tritonclient.utils import serialize_byte_tensor  # type: ignore[import-not-found]


class Words(services.GRPCInferenceServiceServicer):  # type: ignore[misc]
    async def ModelInfer(self, request: Any, context: Any) -> Any:
        if request.model_name != "words":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_name}")
        return answer(request, said(request))

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        waiting: list[Any] = []
        async for request in requests:
            if request.model_name != "words":
                # With the id of the request that failed, as Triton does.
                failed = triton.ModelInferResponse(id=request.id)
                yield triton.ModelStreamInferResponse(
                    error_message=f"no model {request.model_name}", infer_response=failed
                )
                continue
            waiting.append(request)
            if len(waiting) == 2:
                first, second = (pieces(one) for one in waiting)
                for one, other in zip(first, second, strict=True):
                    yield triton.ModelStreamInferResponse(infer_response=one)
                    yield triton.ModelStreamInferResponse(infer_response=other)
                waiting.clear()


def said(request: Any) -> str:
    # Four bytes of length stand before the text.
    prompt = request.raw_input_contents[0][4:].decode()
    return str(getattr(prompt, os.environ["WAY"])())


def pieces(request: Any) -> list[Any]:
    words = said(request).split()
    return [answer(request, word, last=place == len(words) - 1) for place, word in enumerate(words)]


def answer(request: Any, text: str, *, last: bool = True) -> Any:
    found = triton.ModelInferResponse(model_name="words", id=request.id)
    tensors: list[tuple[str, str, Any]] = [("text_output", "BYTES", text.encode())]
    if "quiet" not in said(request).lower():
        tensors.append(("num_output_tokens", "INT32", len(text.split())))
    if last:
        tensors.append(("finish_reason", "BYTES", b"stop"))
        found.parameters["triton_final_response"].bool_param = True
    for name, datatype, value in tensors:
        found.outputs.add(name=name, datatype=datatype, shape=[1])
        found.raw_output_contents.append(raw(value))
    return found


def raw(value: bytes | int) -> bytes:
    if isinstance(value, int):
        return np.array([value], np.int32).tobytes()
    return bytes(serialize_byte_tensor(np.array([value], np.object_)).item())


async def main(port: int) -> None:
    server = grpc.aio.server()
    services.add_GRPCInferenceServiceServicer_to_server(Words(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"listening at {port}", flush=True)  # noqa: T201
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
