"""A runtime for MLServer with a model that has no weights: it says the words of the prompt again, in its way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import StringCodec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    Parameters,
    ResponseOutput,
)


class Words(MLModel):  # type: ignore[misc]
    """Says all in one answer, or word by word; counts are tensors, by the names of Triton's backends."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        prompt = prompt_of(payload)
        return self._answer(payload, say(prompt), [tensor("num_input_tokens", len(prompt.split())), *ended(prompt)])

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            prompt = prompt_of(payload)
            words = [f"{word} " for word in prompt.split()]
            for number, word in enumerate(words, 1):
                last = [tensor("num_input_tokens", len(words)), reason()] if number == len(words) else []
                yield self._answer(payload, say(word), [tensor("num_output_tokens", 1), *last])

    def _answer(self, payload: InferenceRequest, text: str, more: list[ResponseOutput]) -> InferenceResponse:
        outputs = [StringCodec.encode_output("text_output", [text]), *more]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)


def prompt_of(payload: InferenceRequest) -> str:
    (given,) = [one for one in payload.inputs if one.name == "text_input"]
    (prompt,) = StringCodec.decode_input(given)
    return str(prompt)


def say(text: str) -> str:
    return str(getattr(text, os.environ["WAY"])())


def ended(prompt: str) -> list[ResponseOutput]:
    return [tensor("num_output_tokens", len(prompt.split())), reason()]


def tensor(name: str, value: int) -> ResponseOutput:
    return ResponseOutput(name=name, shape=[1], datatype="INT32", data=[value], parameters=Parameters())


def reason() -> ResponseOutput:
    return StringCodec.encode_output("finish_reason", ["stop"])
