"""
A client with MLServer's own stubs: ``python ask_stream.py ADDRESS PROMPT...`` writes each stream as a line of JSON.

tritonclient cannot read these streams: under the same method MLServer answers with another message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from mlserver.codecs import StringCodec  # type: ignore[import-not-found]
from mlserver.grpc import converters  # type: ignore[import-not-found]
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest  # type: ignore[import-not-found]


async def main(address: str, prompts: list[str]) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for number, prompt in enumerate(prompts):
            call = stub.ModelStreamInfer(asked(f"call-{number}", prompt), timeout=30)
            answers = [values(answer) async for answer in call]
            code = await call.code()
            print(json.dumps({"answers": answers, "status": str(code)}))  # noqa: T201
        call = stub.ModelStreamInfer(asked("x", "two words", model="unknown"), timeout=30)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            print(json.dumps({"status": str(error.code()), "message": error.details()}))  # noqa: T201


async def asked(call: str, prompt: str, model: str = "words") -> AsyncIterator[Any]:
    request = InferenceRequest(id=call, inputs=[StringCodec.encode_input("text_input", [prompt])])
    yield converters.ModelInferRequestConverter.from_types(request, model_name=model, model_version=None)


def values(message: Any) -> dict[str, Any]:
    answer = converters.ModelInferResponseConverter.to_types(message)
    return {
        output.name: [one.decode() if isinstance(one, bytes) else one for one in output.data]
        for output in answer.outputs
    }


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
