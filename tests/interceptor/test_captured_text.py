"""Prompts and answers of real calls: as log events or on spans where the configuration asks, and else nowhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import pytest
from support.collector import collector
from support.events import EventSink, Received
from support.experiments import GENERATE, STREAM_GENERATE
from support.meshes import config, target
from support.models import Model
from support.otlp import legs_of, spans_request
from support.servers import Server, interceptor_of, is_aio, live_server
from support.wire import delta, last_delta, request, response
from support.worlds import WORLDS, with_mirror

from shadowmesh.build import Mesh
from shadowmesh.errors import ConfigError
from shadowmesh.model import Leg
from shadowmesh.schema import messages
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

SECRET = "hunter2"
METADATA = (("authorization", f"Bearer {SECRET}"), ("x-tenant", SECRET), ("cookie", f"id={SECRET}"))
CALLS = 3


class World(NamedTuple):
    """A live server, its mesh, and what the receiver got."""

    server: Server
    mesh: Mesh
    spans: SpanSink
    events: EventSink
    raw: list[bytes]

    def call(self, prompt: str) -> None:
        generate: Any = self.server.channel.unary_unary(GENERATE)
        generate(request(model="m", prompt=prompt), metadata=METADATA, timeout=20)

    def everything_said(self) -> str:
        return "\n".join(
            [*(span.to_json() for span in self.spans.spans), *map(repr, self.raw), repr(self.mesh.status())]
        )


def shadow_answer(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    asked = messages.GenerateRequest.FromString(next(requests))
    yield response(f"shadow of {asked.prompt}", finish_reason=messages.FINISH_REASON_STOP)


def live_answer(data: bytes) -> bytes:
    return response(f"answer to {messages.GenerateRequest.FromString(data).prompt}")


@contextmanager
def world(
    kind: str,
    carrier: str,
    *,
    handler: grpc.GenericRpcHandler | None = None,
    script: Callable[..., Iterable[bytes]] = shadow_answer,
    logs: Callable[[bytes], object] | None = None,
    telemetry: dict[str, Any] | None = None,
    **experiment: Any,
) -> Iterator[World]:
    spans, events, raw = SpanSink(), EventSink(), list[bytes]()

    def take(data: bytes) -> None:
        raw.append(data)
        if logs is not None:
            logs(data)
        events.take(data)

    with collector(spans, take) as address, Backend(script) as backend:
        settings = with_mirror(config(target(backend.address), **experiment), carrier=carrier)
        otlp = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://{address}"), **(telemetry or {}))
        mesh = Mesh(settings.model_copy(update={"telemetry": otlp}))
        try:
            with live_server(
                kind, lambda: [interceptor_of(kind, mesh)], handler=handler or Model(kind, live_answer)
            ) as server:
                yield World(server, mesh, spans, events, raw)
                mesh.drain(10)
        finally:
            mesh.close(5)


def by_leg(events: list[Received]) -> dict[tuple[str, str], Received]:
    return {(one.attributes["shadowmesh.pair.id"], one.attributes["shadowmesh.role"]): one for one in events}


def said(attributes: Any, name: str) -> str:
    """Return the text of the only message of a list, whichever way it came."""
    found = attributes[f"gen_ai.{name}.messages"]
    (message,) = json.loads(found) if isinstance(found, str) else found
    return "".join(part["content"] for part in message["parts"])


def live_and_shadow(legs: list[Leg]) -> Iterator[tuple[Leg, Leg]]:
    shadows = {leg.pair_id: leg for leg in legs if leg.role == "shadow"}
    return ((leg, shadows[leg.pair_id]) for leg in legs if leg.role == "live")


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_each_leg_of_a_call_is_an_event_in_the_context_of_its_span(kind: str, carrier: str) -> None:
    with world(kind, carrier, content="events") as it:
        for number in range(CALLS):
            it.call(f"Frage {number} über Zürich")
        legs = it.spans.wait_for_legs(2 * CALLS)
        events = by_leg(it.events.wait_for(2 * CALLS))
        assert len(events) == 2 * CALLS
        prompts = set()
        for live, shadow in live_and_shadow(legs):
            for leg in (live, shadow):
                event = events[leg.pair_id, leg.role]
                assert event.name == "gen_ai.client.inference.operation.details"
                assert (event.trace_id, event.span_id, event.at_ns) == (leg.trace_id, leg.span_id, leg.ended_ns)
                assert event.attributes["shadowmesh.experiment.name"] == "x"
                assert event.attributes.get("shadowmesh.target.name", "") == leg.target
            prompt = said(events[live.pair_id, "live"].attributes, "input")
            prompts.add(prompt)
            assert said(events[live.pair_id, "shadow"].attributes, "input") == prompt
            assert said(events[live.pair_id, "live"].attributes, "output") == f"answer to {prompt}"
            assert said(events[live.pair_id, "shadow"].attributes, "output") == f"shadow of {prompt}"
        assert prompts == {f"Frage {number} über Zürich" for number in range(CALLS)}
        assert not any("Zürich" in repr(span.attributes) for span in it.spans.spans)
        assert SECRET not in it.everything_said()
        assert it.mesh.faults() == {}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_on_spans_the_text_is_with_the_leg_and_there_are_no_events(kind: str, carrier: str) -> None:
    with world(kind, carrier, content="spans") as it:
        it.call("Why?")
        it.spans.wait_for_legs(2)
        spans = {(span.attributes or {}).get("shadowmesh.role"): span.attributes or {} for span in it.spans.spans}
        assert [said(spans[role], "input") for role in ("live", "shadow")] == ["Why?", "Why?"]
        assert said(spans["live"], "output") == "answer to Why?"
        assert said(spans["shadow"], "output") == "shadow of Why?"
        legs = legs_of(spans_request(it.spans.spans))
        assert sorted(leg.role for leg in legs) == ["live", "shadow"], "to the processor they are legs as others are"
        assert SECRET not in it.everything_said()
    assert it.raw == []


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_where_nobody_asks_no_text_leaves_and_nothing_runs_that_could_send_it(kind: str, carrier: str) -> None:
    with world(kind, carrier, output_digest=True) as it:
        it.call(f"tell {SECRET}")
        it.spans.wait_for_legs(2)
        assert "shadowmesh-content" not in {thread.name for thread in threading.enumerate()}
        assert SECRET not in it.everything_said()
        assert "gen_ai.input" not in it.everything_said()
    assert it.raw == []


class Stream(grpc.GenericRpcHandler):
    """A live model that answers a stream, in the colour of ``kind``."""

    def __init__(self, kind: str) -> None:
        self._aio = is_aio(kind)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        deltas = [delta("Zü"), delta("ri"), last_delta("ch")]

        def sync(asked: bytes, context: Any) -> Iterator[bytes]:
            yield from deltas

        async def aio(asked: bytes, context: Any) -> Any:
            for one in deltas:
                yield one

        behaviour: Any = aio if self._aio else sync
        return grpc.unary_stream_rpc_method_handler(behaviour)


def broken_off(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    list(requests)
    yield delta("Gen")
    yield delta("f")
    context.abort(grpc.StatusCode.INTERNAL, "as the test says")


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_stream_that_breaks_off_is_captured_as_far_as_it_went(kind: str, carrier: str) -> None:
    with world(kind, carrier, handler=Stream(kind), script=broken_off, content="events") as it:
        stream: Any = it.server.channel.unary_stream(STREAM_GENERATE)
        assert len(list(stream(request(prompt="?"), timeout=20))) == 3
        events = {one.attributes["shadowmesh.role"]: one.attributes for one in it.events.wait_for(2)}
        assert said(events["live"], "output") == "Zürich"
        assert events["live"]["shadowmesh.stream.complete"] is True
        assert said(events["shadow"], "output") == "Genf"
        assert events["shadow"]["gen_ai.output.messages"][0]["finish_reason"] == "unknown"
        assert (events["shadow"]["shadowmesh.stream.complete"], events["shadow"]["error.type"]) == (False, "INTERNAL")


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_receiver_that_refuses_text_costs_the_text_and_every_loss_is_counted(kind: str, carrier: str) -> None:
    def refuse(data: bytes) -> None:
        raise RuntimeError("UNKNOWN, which no exporter tries again")

    with world(kind, carrier, content="events", logs=refuse) as it:
        for number in range(CALLS):
            it.call(str(number))
        legs = it.spans.wait_for_legs(2 * CALLS)
        it.mesh.drain(10)
        assert it.mesh.faults() == {"content: the exporter failed": CALLS}
        assert len(legs) == 2 * CALLS
        assert {key.decision for key in it.mesh.funnel()} == {"mirrored"}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_receiver_that_hangs_over_text_keeps_neither_calls_nor_pairs_waiting(kind: str, carrier: str) -> None:
    release = threading.Event()

    def hang(data: bytes) -> None:
        release.wait(20)

    try:
        with world(kind, carrier, content="events", logs=hang, telemetry={"queue_content": "1KiB"}) as it:
            for number in range(20):
                it.call("x" * 200 + str(number))
            assert len(it.spans.wait_for_legs(40, timeout=10)) == 40
            release.set()
    finally:
        release.set()


def test_text_begins_and_ends_with_a_reload() -> None:
    with world("sync", "process") as it:
        it.call("one")
        it.spans.wait_for_legs(2)
        (experiment,) = it.mesh._config.experiments
        for content, calls in (("events", 2), ("off", 2)):
            changed = experiment.model_copy(update={"content": type(experiment.content)(content)})
            it.mesh.reload(it.mesh._config.model_copy(update={"experiments": (changed,)}))
            it.call(f"now {content}")
            it.events.wait_for(calls)
            it.spans.wait_for_legs(4 if content == "events" else 6)
        assert {said(one.attributes, "input") for one in it.events.events} == {"now events"}


def test_a_variable_that_no_exporter_of_logs_understands_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "bogus")
    with pytest.raises(ConfigError, match="OTEL_LOGS_EXPORTER=bogus"):
        Mesh(config(target("127.0.0.1:1"), content="events"), span_exporter=SpanSink())
    Mesh(config(target("127.0.0.1:1"), content="spans"), span_exporter=SpanSink()).close()
