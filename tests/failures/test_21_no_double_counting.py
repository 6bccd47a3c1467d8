"""21. Nothing is billed twice: what meters live calls sees no shadow, and a budget counts what its own target used."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.experiments import GENERATE
from support.meshes import config, target
from support.models import Model
from support.resources import until
from support.servers import is_aio
from support.shadows import hanging
from support.wire import request, response
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import META_ROLE, META_TRACEPARENT, CallEnd, Role
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, ReceivedCall

IN_PROCESS = tuple(one for one in WORLDS if one[1] != "process")


class Customer:
    """Whose call it is."""


customer: ContextVar[Customer] = ContextVar("customer")


def usage(asked: int, answered: int) -> messages.Usage:
    return messages.Usage(input_tokens=asked, output_tokens=answered)


def spending(asked: int, answered: int) -> Callable[..., Iterable[bytes]]:
    """Return a shadow that uses so many tokens a call."""

    def play(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        list(requests)
        return [response("four", usage=usage(asked, answered))]

    return play


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_each_leg_has_its_own_tokens_and_each_budget_counts_its_own_target_once(kind: str, carrier: str) -> None:
    calls, tokens = 5, {"budget": {"tokens": 10_000}}
    model = Model(kind, lambda _: response("four", usage=usage(1000, 500)))
    with (
        Backend(spending(3, 4)) as one,
        Backend(spending(20, 30)) as other,
        world(
            kind, carrier, target(one.address, "one", **tokens), target(other.address, "other", **tokens), handler=model
        ) as it,
    ):
        generate: Any = it.server.channel.unary_unary(GENERATE)

        def left() -> list[float]:
            found = it.mesh.status()["experiments"][0]["targets"]
            return [limit["left"] for each in found for limit in each["limits"]]

        generate(request(), timeout=20)
        # Nobody knows before what one costs, so the budgets let nothing else through until the first is settled.
        assert until(lambda: left() == [10_000 - 7, 10_000 - 50]), left()
        for _ in range(calls - 1):
            generate(request(), timeout=20)
        one.wait_for_calls(calls)
        other.wait_for_calls(calls)
        assert until(lambda: left() == [10_000 - 7 * calls, 10_000 - 50 * calls]), left()
        legs = it.settle(calls, grace=5)
    assert {name: {leg.fields.output_tokens for leg in found} for name, found in legs.items()} == {
        LIVE: {500}, "one": {4}, "other": {30},
    }  # fmt: skip


class Meter:
    """Bills whatever is called, but for what says of itself that it is a shadow."""

    def __init__(self) -> None:
        self.billed = self.shadows = 0

    def count(self, details: Any) -> None:
        if (META_ROLE, Role.SHADOW) in tuple(details.invocation_metadata):
            self.shadows += 1
        else:
            self.billed += 1


class SyncMeter(Meter, grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.count(handler_call_details)
        return continuation(handler_call_details)


class AioMeter(Meter, grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.count(handler_call_details)
        return await continuation(handler_call_details)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_whoever_bills_the_live_model_can_tell_the_calls_of_a_control_target(kind: str, carrier: str) -> None:
    calls = 5
    meter = AioMeter() if is_aio(kind) else SyncMeter()
    with world(kind, carrier, target("127.0.0.1:1", kind="control"), before=[meter]) as it:
        it.mesh.reload(config(target(f"127.0.0.1:{it.server.port}", kind="control")))
        for _ in range(calls):
            see(it.server, "unary_unary", SCENARIOS["answers"])
        legs = it.sink.wait_for_legs(2 * calls)
    assert {leg.status for leg in legs} == {"OK"}
    assert (meter.billed, meter.shadows) == (calls, calls)


class Naming:
    """Says of each call whose it is, in a context variable, as accounting in front of a model does."""

    def __init__(self) -> None:
        self.customers: list[weakref.ref[Customer]] = []

    def name(self) -> None:
        new = Customer()
        self.customers.append(weakref.ref(new))
        customer.set(new)


class SyncNaming(Naming, grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.name()
        return continuation(handler_call_details)


class AioNaming(Naming, grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.name()
        return await continuation(handler_call_details)


class Whose(logging.Handler):
    """Notes in whose name the mirror speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.customers: list[Customer | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.customers.append(customer.get(None))


@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_a_shadow_runs_in_nobody_s_name_and_keeps_nothing_of_a_live_call(
    kind: str, carrier: str, tmp_path: Path
) -> None:
    naming = AioNaming() if is_aio(kind) else SyncNaming()
    token = tmp_path / "token"
    token.write_text("one")
    credentials = [{"key": "authorization", "file": str(token)}]
    one = target("127.0.0.1:1", credentials=credentials)
    with world(kind, carrier, one, before=[naming]) as it:
        said = Whose()
        logging.getLogger("shadowmesh").addHandler(said)
        try:
            # A shadow that cannot be started is a fault, which is logged where it happens.
            token.unlink()
            for _ in range(20):
                see(it.server, "unary_unary", SCENARIOS["answers"])
            legs = it.settle(20, grace=5)
        finally:
            logging.getLogger("shadowmesh").removeHandler(said)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}
        assert said.customers == [None]

        def kept() -> list[Customer]:
            gc.collect()
            return [one for name in naming.customers if (one := name()) is not None]

        # A timer that a live call has set has a moment to go.
        assert until(lambda: kept() == []), kept()


@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_instrumentation_of_the_program_s_own_calls_counts_no_shadow(kind: str, carrier: str) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.grpc")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    theirs = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    programs = [instrumentation.GrpcInstrumentorClient(), instrumentation.GrpcAioInstrumentorClient()]
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(hanging))
        it = stack.enter_context(world(kind, carrier, target(backend.address, deadline="30s")))
        # Now: the channel of the test's own client was made before, those of the shadows will be made after.
        for one in programs:
            one.instrument(tracer_provider=provider)
            stack.callback(one.uninstrument)
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        for received in backend.wait_for_calls(len(ARITIES)):
            assert [key for key, _ in received.metadata].count(META_TRACEPARENT) == 1
        legs = it.settle(len(ARITIES))
        assert all(received.ended.wait(30) for received in backend.calls), "an instrumented call cannot be cancelled"
    assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}
    assert len(theirs.get_finished_spans()) == 0
