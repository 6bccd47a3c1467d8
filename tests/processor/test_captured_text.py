"""From prompts and answers of real calls to what they show: in the store, in metrics and in the ledgers' columns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.experiments import GENERATE
from support.legs import live, shadow
from support.meshes import config, target
from support.models import Model
from support.otlp import OtlpSink, legs_request
from support.servers import interceptor_of, live_server
from support.stored_texts import said_by
from support.wire import request, response
from support.worlds import with_mirror

from shadowmesh import names
from shadowmesh.build import Mesh
from shadowmesh.cli.gate import look
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.schema import messages
from shadowmesh.store.reader import PairFilter, Reader
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.testing import Backend, ReceivedCall

DAY = 86_400 * 10**9
Answer = Callable[[str], str]


def dose(prompt: str) -> str:
    return f"Take 5 mg of {prompt} twice a day, and not more."


def ten_times_the_dose(prompt: str) -> str:
    return dose(prompt).replace("5", "50")


def answered(answer: Answer, data: bytes) -> bytes:
    text = answer(messages.GenerateRequest.FromString(data).prompt)
    return response(text, finish_reason=messages.FINISH_REASON_STOP)


def backend(answer: Answer) -> Backend:
    def play(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        yield answered(answer, next(requests))

    return Backend(play)


def mirrored(kind: str, port: int, calls: int, content: str) -> None:
    """Make calls to a live server, mirrored to a candidate and a control, whose telemetry goes to the port."""
    with ExitStack() as stack:
        candidate = stack.enter_context(backend(ten_times_the_dose))
        control = stack.enter_context(backend(dose))
        targets = target(candidate.address), target(control.address, "control", kind="control")
        settings = with_mirror(config(*targets, content=content))
        otlp = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://127.0.0.1:{port}"))
        mesh = Mesh(settings.model_copy(update={"telemetry": otlp}))
        stack.callback(mesh.close, 5)
        server = stack.enter_context(
            live_server(
                kind, lambda: [interceptor_of(kind, mesh)], handler=Model(kind, lambda data: answered(dose, data))
            )
        )
        generate: Any = server.channel.unary_unary(GENERATE)
        for number in range(calls):
            generate(request(model="m", prompt=f"remedy {'abc'[number]}"), timeout=20)
        mesh.drain(20)


@asynccontextmanager
async def running(data: Path, sink: OtlpSink) -> AsyncIterator[Processor]:
    """Run a processor to which all calls are a day old, and whose clocks never strike by themselves."""
    settings = ProcessorSettings.model_validate(
        {
            "data": str(data),
            "listen": "127.0.0.1:0",
            "http_listen": None,
            "metric_interval": "1h",
            "checkpoint_interval": "1h",
            "export": [{"endpoint": sink.endpoint, "traces": False}],
        }
    )
    processor = Processor(settings, wall_ns=lambda: time.time_ns() + DAY)
    try:
        await processor.start()
        yield processor
    finally:
        await processor.close()


async def processed(kind: str, data: Path, content: str) -> OtlpSink:
    """Return what a processor has exported of such calls."""
    async with OtlpSink() as sink, running(data, sink) as processor:
        await asyncio.to_thread(mirrored, kind, await processor.start(), 3, content)
        assert await processor.stored(20)
        await processor.drain(20)
    return sink


def checks(sink: OtlpSink, name: str) -> dict[tuple[str, str], int]:
    """Return how often each result of a check was counted, by target."""
    found = {}
    for point in sink.metrics()[names.METRIC_PAIR_CHECKS].sum.data_points:
        said = {one.key: one.value.string_value for one in point.attributes}
        if said[names.CHECK_NAME] == name:
            found[said[names.TARGET_NAME], said[names.CHECK_RESULT]] = point.as_int
    return found


@pytest.mark.parametrize("kind", ["sync", "aio"])
async def test_captured_outputs_of_candidate_and_control_are_compared_stored_and_counted(
    kind: str, tmp_path: Path
) -> None:
    sink = await processed(kind, tmp_path, "events")
    reader = Reader.open(f"sqlite:///{tmp_path / 'pairs.db'}")
    try:
        found = reader.texts(reader.pairs(PairFilter()))
    finally:
        reader.close()
    candidates = [texts for (_, _, name), texts in found.items() if name == "candidate"]
    controls = [texts for (_, _, name), texts in found.items() if name == "control"]
    assert (len(candidates), len(controls)) == (3, 3)
    for texts in candidates:
        assert texts.similarity == pytest.approx(13 / 14)
        assert (texts.equal, texts.divergence_at) == (False, len("Take 5"))
        assert {name for name, (_, of_shadow) in texts.guards.items() if of_shadow} == {"numbers"}
    assert {texts[:4] for texts in controls} == {(1.0, None, None, True)}
    assert not any(of_shadow for texts in controls for _, of_shadow in texts.guards.values())

    assert checks(sink, "output_similarity") == {("candidate", "mismatch"): 3, ("control", "match"): 3}
    exact = checks(sink, "output_exact")
    assert (exact["candidate", "mismatch"], exact["control", "match"]) == (3, 3)
    (divergence,) = sink.metrics()[names.METRIC_PAIR_OUTPUT_DIVERGENCE].histogram.data_points
    assert divergence.count == 3
    assert divergence.sum == pytest.approx(3 * len("Take 5") / len(dose("remedy a")))


async def test_what_texts_showed_is_counted_once_whether_a_checkpoint_has_it_or_not(tmp_path: Path) -> None:
    async with OtlpSink() as sink:
        for calls in (2, 1):
            async with running(tmp_path, sink) as processor:
                await asyncio.to_thread(mirrored, "sync", await processor.start(), calls, "events")
                assert await processor.stored(20)
                await processor.fold()
                if calls == 2:
                    await processor.checkpoint()
        async with running(tmp_path, sink) as processor:
            await processor.drain(20)
    assert checks(sink, "output_similarity") == {("candidate", "mismatch"): 3, ("control", "match"): 3}


async def test_without_captured_text_nothing_is_said_of_it(tmp_path: Path) -> None:
    sink = await processed("sync", tmp_path, "off")
    assert checks(sink, "output_similarity") == {}
    assert names.METRIC_PAIR_OUTPUT_DIVERGENCE not in sink.metrics()


def texts_of(pair_id: str) -> bytes:
    """Return the log events of both legs of a pair, as somebody who has no structured attributes sends them."""
    events = ExportLogsServiceRequest()
    for content in said_by(pair_id, "yes", "no"):
        record = events.resource_logs.add().scope_logs.add().log_records.add()
        for key, value in (
            (names.EXPERIMENT_NAME, content.experiment),
            (names.PAIR_ID, content.pair_id),
            (names.ROLE, content.role),
            (names.TARGET_NAME, content.target),
            (names.GEN_AI_OUTPUT_MESSAGES, content.output or ""),
        ):
            record.attributes.add(key=key).value.string_value = value
    return events.SerializeToString()


async def test_texts_that_come_when_their_pair_was_folded_are_counted_where_people_look(tmp_path: Path) -> None:
    async with OtlpSink() as sink:
        async with running(tmp_path, sink) as processor:
            await processor.take(Signal.TRACES, legs_request([live("early"), shadow("early")]))
            assert await processor.stored(20)
            await processor.fold()
            await processor.take(Signal.LOGS, texts_of("early"))
            assert await processor.stored(20)
            storage = processor.status().storage
            assert storage is not None
            assert storage.late_texts == 2
            await processor.drain(20)
        (late,) = sink.metrics()[names.METRIC_STORE_LATE_TEXTS].sum.data_points
        assert late.as_int == 2
    judged = look(f"sqlite:///{tmp_path / 'pairs.db'}", ())
    assert any("2 captured texts came so late" in warning for one in judged.verdicts for warning in one.warnings)
