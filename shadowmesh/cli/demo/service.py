"""
The reference model API on top of a language model, written the way a user writes a servicer.

Nothing here knows that calls may be mirrored.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.language_model import Finish, LanguageModel, Piece, Sampling
from shadowmesh.schema.messages import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    GenerateDelta,
    GenerateRequest,
    GenerateResponse,
    IngestRequest,
    IngestResponse,
    Usage,
)

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_TOKENS = 64
MOST_TOKENS = 512
"""Tokens a request gets when it does not say, and at most."""

_FINISH = {Finish.STOP: FINISH_REASON_STOP, Finish.LENGTH: FINISH_REASON_LENGTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a model is: seconds to read and to write a token; how much both vary (log-normal sigma)."""

    read: float = 0.0
    write: float = 0.0
    jitter: float = 0.0

    def pauses(self, input_tokens: int, seed: str) -> Iterator[float]:
        """Yield the seconds before each output token; the first comes after the whole input was read."""
        generator = random.Random(seed)
        # A call as a whole has its luck (a busy batch), and so has each token.
        call = generator.lognormvariate(0, self.jitter)
        pause = self.read * input_tokens + self.write
        while True:
            yield pause * call * generator.lognormvariate(0, self.jitter)
            pause = self.write


class InferenceService:
    """`shadowmesh.v1.Inference` for one model."""

    def __init__(self, model: LanguageModel, *, name: str, pace: Pace) -> None:
        self._model = model
        self._name = name
        self._pace = pace

    async def Generate(self, request: GenerateRequest, context: Context) -> GenerateResponse:  # noqa: N802
        """Answer as a whole."""
        text, usage, finish = "", Usage(), Finish.STOP
        async for piece in self._pieces(request, context):
            text += piece.text
            if piece.finish is not None:
                usage, finish = _usage(request, piece), piece.finish
        return GenerateResponse(
            request_id=request.request_id,
            model=self._name,
            text=text,
            finish_reason=_FINISH[finish],
            usage=usage,
        )

    async def StreamGenerate(  # noqa: N802
        self, request: GenerateRequest, context: Context
    ) -> AsyncIterator[GenerateDelta]:
        """Answer as deltas; the last one has finish reason and usage."""
        async for piece in self._pieces(request, context):
            delta = GenerateDelta(request_id=request.request_id, model=self._name, delta=piece.text)
            if piece.finish is not None:
                delta.finish_reason = _FINISH[piece.finish]
                delta.usage.CopyFrom(_usage(request, piece))
            elif not piece.text:
                continue
            yield delta

    async def Converse(  # noqa: N802
        self, requests: AsyncIterator[GenerateRequest], context: Context
    ) -> AsyncIterator[GenerateDelta]:
        """Answer request after request on one stream."""
        async for request in requests:
            if not request.request_id:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "request_id is needed on Converse")
            async for delta in self.StreamGenerate(request, context):
                yield delta

    async def Ingest(self, chunks: AsyncIterator[IngestRequest], _context: Context) -> IngestResponse:  # noqa: N802
        """Count what came in; the model stays as it is."""
        request_id, count, documents = "", 0, dict[str, str]()
        async for chunk in chunks:
            request_id, count = request_id or chunk.request_id, count + 1
            # A word may be cut between two chunks, so tokens are counted when the document is whole.
            documents[chunk.document_id] = documents.get(chunk.document_id, "") + chunk.text
        read = sum(len(corpus.tokens(text)) for text in documents.values())
        return IngestResponse(
            request_id=request_id,
            model=self._name,
            documents=len(documents),
            chunks=count,
            usage=Usage(input_tokens=read),
        )

    async def _pieces(self, request: GenerateRequest, context: Context) -> AsyncIterator[Piece]:
        prompt = _prompt(request)
        try:
            sampling = _sampling(request)
            if not prompt:
                raise ValueError("there is neither a prompt nor a message")
        except ValueError as problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        # Two models that answer the same request are not lucky together.
        pauses = self._pace.pauses(len(corpus.tokens(prompt)), f"{self._name} {sampling.seed}")
        for piece, pause in zip(self._model.generate(prompt, sampling), pauses, strict=False):
            await asyncio.sleep(pause)
            yield piece


def _prompt(request: GenerateRequest) -> str:
    return request.prompt or " ".join(message.content for message in request.messages.messages)


def _sampling(request: GenerateRequest) -> Sampling:
    asked = request.sampling
    return Sampling(
        max_tokens=min(request.max_tokens, MOST_TOKENS) if request.HasField("max_tokens") else DEFAULT_TOKENS,
        temperature=asked.temperature if asked.HasField("temperature") else 1.0,
        top_k=asked.top_k if asked.HasField("top_k") else None,
        top_p=asked.top_p if asked.HasField("top_p") else None,
        stop=tuple(asked.stop),
        seed=request.seed if request.HasField("seed") else random.getrandbits(64),
    )


def _usage(request: GenerateRequest, last: Piece) -> Usage:
    return Usage(input_tokens=len(corpus.tokens(_prompt(request))), output_tokens=last.output_tokens)
