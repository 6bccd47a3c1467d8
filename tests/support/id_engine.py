"""
An engine that knows its requests by their ids, as those do that routers speak to: it refuses an id that runs already,
and ends what it is told to.

It serves several servers at once, so that a live server and a shadow may be one and the same engine.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import Message
from support.dialects.spoken import view
from support.servers import is_aio

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.identity import Identity
from shadowmesh.testing import Backend, ReceivedCall

SECONDS = 20.0


class Protocol(NamedTuple):
    """What two requests and two answers of a protocol are; ``in_json`` is the field whose JSON has the id."""

    name: str
    generate: str
    request: str
    id_field: str
    piece: Message
    end: Message
    in_json: str = ""

    @property
    def abort(self) -> str:
        """Return the method that ends others."""
        found = builtin().protocols[self.name][self.generate].abort
        assert found is not None
        return found.method

    @property
    def identity(self) -> Identity:
        found = builtin().protocols[self.name][self.generate].identity
        assert found is not None
        return found

    def asked(self, live_id: str) -> bytes:
        """Return the request of a call with this id."""
        fields: dict[str, Any] = {self.id_field: live_id} if live_id else {}
        if self.in_json:
            fields = {self.in_json: json.dumps({"messages": [], **fields}).encode()}
        return view(self.request, **fields).SerializeToString()

    def aborting(self, *ids: str) -> bytes:
        """Return the request that ends these."""
        found = builtin().protocols[self.name][self.generate].abort
        assert found is not None
        return b"".join(map(found.request, ids))


def _smg(name: str, generate: str, prefix: str, **more: Any) -> Protocol:
    answer = f"smg.{prefix}GenerateResponse"
    piece = view(answer, chunk={"token_ids": [7], "prompt_tokens": 3, "completion_tokens": 1}, **more)
    end = view(answer, complete={"output_ids": [7], "finish_reason": "abort", "prompt_tokens": 3}, **more)
    return Protocol(name, generate, f"smg.{prefix}GenerateRequest", "request_id", piece, end)


VLLM = _smg("vllm_smg", "/vllm.grpc.engine.VllmEngine/Generate", "Vllm")
SGLANG_SMG = _smg("sglang_smg", "/sglang.grpc.scheduler.SglangScheduler/Generate", "Sglang")
MLX = _smg("mlx", "/mlx.grpc.engine.MlxEngine/Generate", "Mlx")
TOKENSPEED = _smg("tokenspeed", "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate", "TokenSpeed")
SGLANG = Protocol(
    "sglang",
    "/sglang.runtime.v1.SglangService/TextGenerate",
    "sglang.TextGenerateRequest",
    "rid",
    view("sglang.TextGenerateResponse", text="four"),
    view("sglang.TextGenerateResponse", text="four", finished=True),
)
SGLANG_JSON = Protocol(
    "sglang",
    "/sglang.runtime.v1.SglangService/ChatComplete",
    "sglang.OpenAiRequest",
    "rid",
    view("sglang.OpenAiChunk", json_chunk=b'{"choices":[{"index":0,"delta":{"content":"four"}}]}'),
    view("sglang.OpenAiChunk", finished=True),
    in_json="json_body",
)
OPENENGINE = Protocol(
    "openengine",
    "/openengine.v1.Inference/Generate",
    "openengine.GenerateRequest",
    "request_id",
    view("openengine.GenerateResponse", token={"text": "four"}),
    view("openengine.GenerateResponse", finished={"reason": "FINISH_REASON_CANCELLED"}),
)
TRTLLM = Protocol(
    "trtllm",
    "/trtllm.TrtllmService/Generate",
    "smg.TrtllmGenerateRequest",
    "request_id",
    view("smg.TrtllmGenerateResponse", chunk={"token_ids": [7]}),
    view("smg.TrtllmGenerateResponse", complete={"output_token_ids": [7], "finish_reason": "abort"}),
)
PROTOCOLS = (VLLM, SGLANG_SMG, TRTLLM, MLX, TOKENSPEED, SGLANG, SGLANG_JSON, OPENENGINE)


class IdEngine:
    """Its requests run until they are aborted, let go, or their client leaves."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.refusing = False
        self.started: list[str] = []
        self.refused: list[str] = []
        self.aborted: list[tuple[str, ...]] = []
        self.aborts: list[ReceivedCall] = []
        self._running: dict[str, threading.Event] = {}
        self._changed = threading.Condition()

    def wait_for(self, running: int) -> None:
        """Wait until so many requests run."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._running) == running, SECONDS), self._running

    def wait_for_aborts(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.aborted) >= count, SECONDS), self.aborted

    @property
    def running(self) -> set[str]:
        with self._changed:
            return set(self._running)

    def let_go(self) -> None:
        """End whatever runs, as if it were complete."""
        with self._changed:
            for over in self._running.values():
                over.set()

    def begin(self, data: bytes) -> tuple[str, threading.Event] | None:
        """Take a request on; ``None`` where its id runs already."""
        own = self.protocol.identity.of(data, ())
        with self._changed:
            taken = own in self._running
            (self.refused if taken else self.started).append(own)
            over = None if taken else self._running.setdefault(own, threading.Event())
            self._changed.notify_all()
        return None if over is None else (own, over)

    def end(self, own: str) -> None:
        with self._changed:
            self._running.pop(own, None)
            self._changed.notify_all()

    def abort(self, data: bytes) -> None:
        found = builtin().protocols[self.protocol.name][self.protocol.generate].abort
        assert found is not None
        ids = tuple(found.ids(data))
        with self._changed:
            self.aborted.append(ids)
            for one in ids:
                if one in self._running:
                    self._running[one].set()
            self._changed.notify_all()

    # --- as a shadow -----------------------------------------------------------------------------------------------

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Play one call of a :class:`Backend`."""
        data = next(requests, b"")
        if call.method == self.protocol.abort:
            self.aborts.append(call)
            self.abort(data)
            yield b""
            return
        begun = self.begin(data)
        if begun is None:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "the id runs already")
        own, over = begun
        context.add_callback(over.set)
        yield self.protocol.piece.SerializeToString()
        over.wait(SECONDS)
        self.end(own)
        yield self.protocol.end.SerializeToString()

    def backend(self) -> Backend:
        return Backend(self)


class IdHandlers(grpc.GenericRpcHandler):
    """The same engine as a live server, in the colour of ``kind``."""

    def __init__(self, kind: str, engine: IdEngine) -> None:
        self._aio = is_aio(kind)
        self._engine = engine

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method == self._engine.protocol.abort:
            return grpc.unary_unary_rpc_method_handler(self._aio_abort if self._aio else self._abort)
        return grpc.unary_stream_rpc_method_handler(self._aio_generate if self._aio else self._generate)

    def _abort(self, request: bytes, context: Any) -> bytes:
        if self._engine.refusing:
            context.abort(grpc.StatusCode.INTERNAL, "as told")
        self._engine.abort(request)
        return b""

    async def _aio_abort(self, request: bytes, context: Any) -> bytes:
        if self._engine.refusing:
            await context.abort(grpc.StatusCode.INTERNAL, "as told")
        self._engine.abort(request)
        return b""

    def _generate(self, request: bytes, context: Any) -> Iterator[bytes]:
        begun = self._engine.begin(request)
        if begun is None:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "the id runs already")
            return
        own, over = begun
        context.add_callback(over.set)
        try:
            yield self._engine.protocol.piece.SerializeToString()
            over.wait(SECONDS)
        finally:
            self._engine.end(own)
        yield self._engine.protocol.end.SerializeToString()

    async def _aio_generate(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        begun = self._engine.begin(request)
        if begun is None:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the id runs already")
            return
        own, over = begun
        try:
            yield self._engine.protocol.piece.SerializeToString()
            await asyncio.to_thread(over.wait, SECONDS)
        finally:
            over.set()
            self._engine.end(own)
        yield self._engine.protocol.end.SerializeToString()


class Client:
    """Calls of one client, each of which goes on until it is ended."""

    def __init__(self, channel: grpc.Channel, protocol: Protocol) -> None:
        self._protocol = protocol
        self._generate: Any = channel.unary_stream(protocol.generate)
        self._abort: Any = channel.unary_unary(protocol.abort)

    def begin(self, live_id: str, **options: Any) -> Any:
        """Start a call, and take its first message."""
        call = self._generate(self._protocol.asked(live_id), timeout=SECONDS, **options)
        assert next(call) == self._protocol.piece.SerializeToString()
        return call

    def abort(self, *ids: str) -> None:
        assert self.send(self._protocol.aborting(*ids)) == b""

    def send(self, data: bytes, **options: Any) -> bytes:
        answer: bytes = self._abort(data, timeout=SECONDS, **options)
        return answer


def rest(call: Any) -> list[bytes]:
    """Return what is left of a call's answer; it ends with OK."""
    messages = list(call)
    assert call.code() is grpc.StatusCode.OK
    return messages
