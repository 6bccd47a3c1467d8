"""A live server of the reference API that answers whatever it is asked, mirrored by any experiments."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import grpc
from support.experiments import CONVERSE, GENERATE
from support.meshes import running_mesh
from support.servers import Server, interceptor_of, is_aio, live_server
from support.wire import delta, response
from support.worlds import with_mirror

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.names import WITHOUT_LEGS, Decision, Role
from shadowmesh.testing import SpanSink

ANSWER = response("four")


class Handlers(grpc.GenericRpcHandler):
    """``Generate``, and ``Converse``, which answers each message; in the colour of ``kind``."""

    def __init__(self, kind: str) -> None:
        self._aio = is_aio(kind)
        self.streams = threading.Semaphore(0)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method == CONVERSE:
            return grpc.stream_stream_rpc_method_handler(self._aio_converse if self._aio else self._converse)
        return grpc.unary_unary_rpc_method_handler(self._aio_generate if self._aio else self._generate)

    def _generate(self, request: bytes, context: Any) -> bytes:
        return ANSWER

    async def _aio_generate(self, request: bytes, context: Any) -> bytes:
        return ANSWER

    def _converse(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self.streams.release()
        for _ in requests:
            yield delta("four")

    async def _aio_converse(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.streams.release()
        async for _ in requests:
            yield delta("four")


class Stream:
    """One ``Converse`` call, whose messages are sent when the test says so."""

    def __init__(self, server: Server, handlers: Handlers) -> None:
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        converse: Any = server.channel.stream_stream(CONVERSE)
        self._call = converse(iter(self._outbox.get, None), timeout=30)
        # The handler runs before it has read anything.
        assert handlers.streams.acquire(timeout=20)

    def ask(self, message: bytes) -> None:
        """Send a message and take its answer."""
        self._outbox.put(message)
        assert next(self._call) == delta("four")

    def end(self) -> None:
        """Half-close, and wait for the end."""
        self._outbox.put(None)
        assert list(self._call) == []
        assert self._call.code() is grpc.StatusCode.OK


class Chat(NamedTuple):
    """Everything of one running server."""

    server: Server
    mesh: Mesh
    sink: SpanSink
    handlers: Handlers

    def ask(self, data: bytes, *, metadata: Any = ()) -> None:
        generate: Any = self.server.channel.unary_unary(GENERATE)
        assert generate(data, timeout=20, metadata=metadata) == ANSWER

    def stream(self) -> Stream:
        return Stream(self.server, self.handlers)

    def lines(self, experiment: str) -> dict[tuple[str, str], int]:
        """Return the funnel of an experiment's one target."""
        return {
            (key.decision, key.drop_reason): times
            for key, times in self.mesh.funnel().items()
            if key.experiment == experiment
        }

    def settle(self, grace: float = 10.0) -> Counter[tuple[str, str]]:
        """
        Drain, check that every line of the funnel has the legs it promises and no more, and that nothing is held any
        more; return shadow legs by experiment and drop reason.
        """
        self.mesh.drain(grace)
        promised: Counter[tuple[str, str]] = Counter()
        for key, times in self.mesh.funnel().items():
            if key.decision in (Decision.MIRRORED, Decision.DROPPED) and key.drop_reason not in WITHOUT_LEGS:
                promised[key.experiment, key.drop_reason] += times
        legs = self.sink.wait_for_legs(2 * sum(promised.values())) if promised else self.sink.legs()
        shadows = [leg for leg in legs if leg.role == Role.SHADOW]
        # What the engine has shed is mirrored for the live side.
        found = Counter(
            (leg.experiment, (leg.decision == Decision.DROPPED and leg.drop_reason) or "") for leg in shadows
        )
        assert found == promised
        assert {leg.pair_id for leg in legs if leg.role == Role.LIVE} == {leg.pair_id for leg in shadows}
        assert set(self.mesh.active().values()) <= {0}
        assert self.mesh.captured_bytes() == 0
        return found


@contextmanager
def chat(kind: str, carrier: str, *experiments: dict[str, Any], **mirror: Any) -> Iterator[Chat]:
    """Run the server, of ``kind`` and over ``carrier``; ``mirror`` goes into the settings of the mirror."""
    with ExitStack() as stack:
        settings = with_mirror(Config.model_validate({"experiments": experiments}), **mirror)
        mesh, sink = stack.enter_context(running_mesh(settings, carrier, grace=0.0))
        handlers = Handlers(kind)
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=handlers))
        yield Chat(server, mesh, sink, handlers)
        # While the server's loop still runs: with the carrier `loop` it is the mirror's as well.
        mesh.drain(0.0)
