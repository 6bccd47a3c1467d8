"""
23c. Every reason a shadow can be shed for is reached by a call of a client, and said of that call.

A reason that is added to :class:`~shadowmesh.names.DropReason` needs a scene here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from support.calls import SCENARIOS, see
from support.experiments import GENERATE
from support.meshes import config, refusing_address, target
from support.models import Model, RefusalError
from support.resources import until
from support.scripts import script
from support.servers import is_aio
from support.shadows import answering, hanging
from support.wire import request, response
from support.worlds import World, world

from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.model import Leg
from shadowmesh.names import META_ROLE, WITHOUT_LEGS, CallEnd, Decision, DropReason, Role
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, ReceivedCall

NOWHERE = "127.0.0.1:1"
SMALL = "x" * 100
PLACES = (("sync", "thread"), ("aio", "loop"), ("sync", "process"))


class Stage:
    """Where a scene is played: a kind of server and a carrier; what it opens is closed at the end of the test."""

    def __init__(self, kind: str, carrier: str, stack: ExitStack) -> None:
        self.kind = kind
        self.carrier = carrier
        self.stack = stack

    def backend(self, play: Callable[..., Any] = answering) -> Backend:
        return self.stack.enter_context(Backend(play, workers=32))

    def world(self, *targets: dict[str, Any], **more: Any) -> World:
        return self.stack.enter_context(world(self.kind, self.carrier, *targets, **more))

    def model(self, *targets: dict[str, Any], **more: Any) -> tuple[World, Callable[[bytes], None]]:
        """Return a world whose live server speaks the reference API, and what asks it."""
        it = self.world(*targets, handler=Model(self.kind, lambda _: response("four")), **more)
        call: Any = it.server.channel.unary_unary(GENERATE)

        def ask(data: bytes) -> None:
            assert call(data, timeout=20) == response("four")

        return it, ask

    def held(self) -> tuple[Any, Held]:
        """Return an interceptor that keeps calls between the decision over their shadows and their handler."""
        held = Held()
        return (AioHolding(held) if is_aio(self.kind) else SyncHolding(held)), held


def call(it: World, text: str = "x", **metadata: str) -> None:
    """Make a call, which must be answered whatever becomes of its shadow."""
    sent = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
    assert it.server.call("unary_unary")(script(["send", text]), metadata=sent, timeout=20) == text.encode()


def call_until(it: World, reason: DropReason, *, seconds: float = 60.0) -> World:
    """Make calls, some at a time, until one was shed for ``reason``."""
    deadline = monotonic() + seconds
    with ThreadPoolExecutor(16) as pool:
        while not any(key.drop_reason == reason for key in it.mesh.funnel()):
            assert monotonic() < deadline, it.mesh.funnel()
            for made in [pool.submit(call, it) for _ in range(32)]:
                made.result()
    return it


def call_one_by_one_until(it: World, reason: DropReason, *, seconds: float = 60.0) -> World:
    """
    Do the same where the engine has the word: each call when the shadow before it is over. The calls of the time in
    which a worker starts would be thousands, and more than it exports before it ends.
    """
    deadline = monotonic() + seconds
    while not any(key.drop_reason == reason for key in it.mesh.funnel()):
        assert monotonic() < deadline, it.mesh.funnel()
        call(it)
        assert until(lambda: not any(it.mesh.active().values()), seconds)
    return it


class Held:
    """Calls that wait, at most 20 seconds."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go = threading.Event()

    def wait(self) -> None:
        self.arrived.set()
        self.go.wait(20)


class SyncHolding(grpc.ServerInterceptor):
    def __init__(self, held: Held) -> None:
        self._held = held

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        self._held.wait()
        return handler


class AioHolding(grpc.aio.ServerInterceptor):
    def __init__(self, held: Held) -> None:
        self._held = held

    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        await asyncio.to_thread(self._held.wait)
        return handler


def call_first(it: World, held: Held) -> None:
    """Make a call that does not wait, so that the engine knows everybody."""
    held.go.set()
    call(it)
    held.go.clear()
    held.arrived.clear()


def call_held(it: World, held: Held, meanwhile: Callable[[], object]) -> None:
    """Make a call, and do something between the decision over its shadows and its handler."""
    future = it.server.call("unary_unary").future(script(["send", "held"]), timeout=20)
    assert held.arrived.wait(20)
    meanwhile()
    held.go.set()
    assert future.result() == b"held"


# --- the scenes ---------------------------------------------------------------------------------------------------


def queue_full(stage: Stage) -> World:
    it = stage.world(target(stage.backend().address), mirror={"queue_items": 4})
    return call_until(it, DropReason.QUEUE_FULL)


def capture_full(stage: Stage) -> World:
    it = stage.world(target(stage.backend(hanging).address), mirror={"capture_bytes": "16KiB"})
    return call_until(it, DropReason.CAPTURE_FULL)


def concurrency_limit(stage: Stage) -> World:
    it = stage.world(target(stage.backend(hanging).address, max_in_flight=1))
    return call_until(it, DropReason.CONCURRENCY_LIMIT)


def rate_limit(stage: Stage) -> World:
    it = stage.world(target(stage.backend().address, max_rate=0.001, burst=1))
    return call_until(it, DropReason.RATE_LIMIT)


def oversize(stage: Stage) -> World:
    it = stage.world(target(NOWHERE), mirror={"max_message_bytes": 100, "max_call_bytes": 50})
    call(it, SMALL)
    return it


def oversize_call(stage: Stage) -> World:
    it = stage.world(target(NOWHERE), mirror={"max_message_bytes": 1000, "max_call_bytes": 50})
    call(it, SMALL)
    return it


def shutdown(stage: Stage) -> World:
    """A call that was decided over before a drain, and begins while a shadow has its grace."""
    holding, held = stage.held()
    backend = stage.backend(hanging)
    it = stage.world(target(backend.address), before=[holding])
    call_first(it, held)
    (received,) = backend.wait_for_calls(1)
    drain = threading.Thread(target=it.mesh.drain, args=(20,))

    def draining() -> bool:
        carrier = it.mesh._mirroring.engines.carrier
        if isinstance(carrier, ProcessCarrier):
            return bool(carrier.links[0].leaving)
        return bool(it.mesh.status()["experiments"][0]["targets"][0]["shed_reason"] == DropReason.SHUTDOWN)

    def drained() -> None:
        drain.start()
        assert until(draining)

    call_held(it, held, drained)
    # With nothing left to wait for a worker ends soon: the call must have been handed over by then.
    assert until(lambda: not it.mesh._mirroring.live.queued())
    received.ended.set()
    drain.join(30)
    return it


def unsupported_handler(stage: Stage) -> World:
    def behaviour(data: bytes, context: Any, send: Callable[[Any], None]) -> None:
        send(b"one")
        send(None)

    async def marked(data: bytes, context: Any) -> Any:
        yield b"one"

    chosen: Any = marked if is_aio(stage.kind) else behaviour
    chosen.experimental_non_blocking = True
    it = stage.world(target(NOWHERE), handler=Only(grpc.unary_stream_rpc_method_handler(chosen)))
    assert list(it.server.call("unary_stream")(b"", timeout=20)) == [b"one"]
    return it


class Only(grpc.GenericRpcHandler):
    """One handler for every method."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler


def not_started(stage: Stage) -> World:
    turning_away = AioTurningAway() if is_aio(stage.kind) else SyncTurningAway()
    it = stage.world(target(NOWHERE), before=[turning_away])
    assert see(it.server, "unary_unary", SCENARIOS["answers"]).code is grpc.StatusCode.UNIMPLEMENTED
    return it


class SyncTurningAway(grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        continuation(handler_call_details)


class AioTurningAway(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        await continuation(handler_call_details)


def not_recorded(stage: Stage) -> World:
    """A call that was decided over before a drain, and begins when it is over."""
    holding, held = stage.held()
    it = stage.world(target(stage.backend().address), before=[holding])
    call_held(it, held, lambda: it.mesh.drain(0))
    return it


def marked(stage: Stage) -> World:
    it = stage.world(target(NOWHERE))
    call(it, **{META_ROLE: Role.SHADOW.value})
    return it


def retry(stage: Stage) -> World:
    it = stage.world(target(stage.backend().address), retries={"keys": ["idempotency-key"]})
    for _ in range(2):
        call(it, idempotency_key="one")
    return it


def off_slot(stage: Stage) -> World:
    guard = {"enabled": True, "slot": "10ms", "one_off_in": 4}
    it = stage.world(target(stage.backend().address), mirror={"harm_guard": guard})
    return call_until(it, DropReason.OFF_SLOT)


def harm(stage: Stage) -> World:
    """The shadow shares what the live model needs, and live calls fail while it is at work."""
    busy = threading.Event()

    def works(received: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        busy.set()
        received.ended.wait(0.005)
        busy.clear()
        yield b"".join(requests)

    def answer(data: bytes) -> bytes:
        if busy.is_set():
            raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, "no memory left")
        return data

    guard = {"enabled": True, "slot": "50ms", "one_off_in": 4, "alpha": 0.5, "error_margin": 0.0}
    shared = target(stage.backend(works).address, max_in_flight=1)
    it = stage.world(shared, handler=Model(stage.kind, answer), mirror={"harm_guard": guard})
    live: Any = it.server.channel.unary_unary(GENERATE)

    deadline = monotonic() + 120
    while not any(key.drop_reason == DropReason.HARM for key in it.mesh.funnel()):
        assert monotonic() < deadline, it.mesh.status()["harm_guard"]
        with suppress(grpc.RpcError):
            live(request(), timeout=20)
    # The last shadow may begin only now.
    assert until(lambda: not any(it.mesh.active().values()))
    assert live(request(), timeout=20) == request()
    return it


def other_model(stage: Stage) -> World:
    it, ask = stage.model(target(NOWHERE), methods=(GENERATE,), when={"models": ["wanted*"]})
    ask(request(model="another"))
    return it


def unknown_model(stage: Stage) -> World:
    it, ask = stage.model(target(NOWHERE), methods=(GENERATE,), when={"models": ["wanted*"]})
    ask(b"\xff")
    return it


def circuit_open(stage: Stage) -> World:
    dead = stage.stack.enter_context(refusing_address())
    breaker = {"window": "1h", "least_calls": 2, "open": "1h", "open_most": "1h"}
    return call_one_by_one_until(stage.world(target(dead, breaker=breaker)), DropReason.CIRCUIT_OPEN)


def removed(stage: Stage) -> World:
    """A call that was decided over before a reload has removed its target, and begins after it."""
    holding, held = stage.held()
    backend = stage.backend()
    kept = target(backend.address, "kept")
    it = stage.world(target(backend.address), kept, before=[holding])
    call_first(it, held)
    backend.wait_for_calls(2)
    call_held(it, held, lambda: it.mesh.reload(config(kept)))
    return it


def unsafe(stage: Stage) -> World:
    it, ask = stage.model(target(stage.backend().address))
    ask(request(tools=[messages.Tool(name="pay")]))
    return it


def unreadable(stage: Stage) -> World:
    it, ask = stage.model(target(stage.backend().address))
    ask(b"\xff")
    return it


def untranslatable(stage: Stage) -> World:
    unsaid = dict.fromkeys(("max_tokens", "temperature", "top_p", "top_k"), "unset")
    it, ask = stage.model(target(stage.backend().address, translate={"protocol": "tgis", "defaults": unsaid}))
    ask(request(prompt="a", model="m"))
    ask(request(model="m"))
    return it


def budget(stage: Stage) -> World:
    # Of tokens that nobody counts in an answer without usage: the first call blocks.
    it = stage.world(target(stage.backend().address, budget={"tokens": 1000}))
    return call_one_by_one_until(it, DropReason.BUDGET)


def time_box(stage: Stage) -> World:
    it = stage.world(target(stage.backend().address), time_box={"pairs": 1})
    return call_one_by_one_until(it, DropReason.TIME_BOX)


class Scene(NamedTuple):
    """How a reason comes about, and what the funnel makes of such a call."""

    play: Callable[[Stage], World]
    decision: Decision


ENGINE = Decision.MIRRORED
"""Shed by the engine, when the call is counted already: its leg alone says why."""
SCENES = {
    DropReason.QUEUE_FULL: Scene(queue_full, Decision.DROPPED),
    DropReason.CAPTURE_FULL: Scene(capture_full, Decision.DROPPED),
    DropReason.CONCURRENCY_LIMIT: Scene(concurrency_limit, Decision.DROPPED),
    DropReason.RATE_LIMIT: Scene(rate_limit, Decision.DROPPED),
    DropReason.OVERSIZE: Scene(oversize, Decision.DROPPED),
    DropReason.OVERSIZE_CALL: Scene(oversize_call, Decision.DROPPED),
    DropReason.SHUTDOWN: Scene(shutdown, ENGINE),
    DropReason.UNSUPPORTED_HANDLER: Scene(unsupported_handler, Decision.DROPPED),
    DropReason.NOT_STARTED: Scene(not_started, Decision.DROPPED),
    DropReason.NOT_RECORDED: Scene(not_recorded, Decision.DROPPED),
    DropReason.MARKED: Scene(marked, Decision.DISABLED),
    DropReason.RETRY: Scene(retry, Decision.DISABLED),
    DropReason.OFF_SLOT: Scene(off_slot, Decision.DISABLED),
    DropReason.HARM: Scene(harm, Decision.DISABLED),
    DropReason.OTHER_MODEL: Scene(other_model, Decision.DISABLED),
    DropReason.UNKNOWN_MODEL: Scene(unknown_model, Decision.DROPPED),
    DropReason.CIRCUIT_OPEN: Scene(circuit_open, Decision.DROPPED),
    DropReason.REMOVED: Scene(removed, ENGINE),
    DropReason.UNSAFE: Scene(unsafe, ENGINE),
    DropReason.UNREADABLE: Scene(unreadable, ENGINE),
    DropReason.UNTRANSLATABLE: Scene(untranslatable, ENGINE),
    DropReason.BUDGET: Scene(budget, Decision.DROPPED),
    DropReason.TIME_BOX: Scene(time_box, Decision.DROPPED),
}


def test_every_reason_has_its_scene() -> None:
    assert set(SCENES) == set(DropReason)


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
@pytest.mark.parametrize("reason", DropReason)
def test_a_call_that_is_shed_says_why(reason: DropReason, kind: str, carrier: str) -> None:
    scene = SCENES[reason]
    with ExitStack() as stack:
        it = scene.play(Stage(kind, carrier, stack))
        it.drain()
        lines = {key: count for key, count in it.mesh.funnel().items() if key.drop_reason == reason}
        if scene.decision is not ENGINE:
            assert {key.decision for key in lines} == {scene.decision}

        def heard() -> list[Leg]:
            return [leg for leg in it.sink.legs() if leg.drop_reason == reason]

        if scene.decision is not Decision.DISABLED and reason not in WITHOUT_LEGS:
            # What a worker exports arrives a little after its drain.
            until(lambda: sum(leg.decision == Decision.DROPPED for leg in heard()) >= sum(lines.values()))
        said = heard()
        if scene.decision is Decision.DISABLED or reason in WITHOUT_LEGS:
            assert said == []
        else:
            assert {(leg.role, leg.end) for leg in said} == {(Role.SHADOW, CallEnd.SHED)}
            assert len([leg for leg in said if leg.decision == Decision.DROPPED]) == sum(lines.values())
        assert set(it.mesh.active().values()) == {0}
        assert it.mesh.captured_bytes() == 0
