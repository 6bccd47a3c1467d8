"""OTLP's rules, over every protocol and in every form alike, from real servers on free ports."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.legs import live, shadow
from support.otlp import legs_request
from support.receiving import FORMS, JSON, PROTOBUF, ROOTS, Client, ScriptedIntake, as_json, receiving
from support.resources import until

from shadowmesh.errors import DecodeError, OverloadedError, StartError
from shadowmesh.processor.decode import SpanDecoder
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.otlp_json import memory_of
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

LEGS = [live(f"p{n}") for n in range(3)] + [shadow(f"p{n}") for n in range(3)]
TRACES = ExportTraceServiceRequest.FromString(legs_request(LEGS))
METRICS = ExportMetricsServiceRequest()
METRICS.resource_metrics.add().scope_metrics.add().metrics.add(name="m").sum.data_points.add(as_int=-(2**62))
LOGS = ExportLogsServiceRequest()
LOGS.resource_logs.add().scope_logs.add().log_records.add(severity_number=9, trace_id=b"t" * 16).body.string_value = "a"
REQUESTS = {Signal.TRACES: TRACES, Signal.METRICS: METRICS, Signal.LOGS: LOGS}
FILES = Path(ROOTS).parent

EXPECTED: dict[str, tuple[grpc.StatusCode, int]] = {
    "malformed": (grpc.StatusCode.INVALID_ARGUMENT, 400),
    "unauthenticated": (grpc.StatusCode.UNAUTHENTICATED, 401),
    "too large": (grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    "again": (grpc.StatusCode.UNAVAILABLE, 503),
}


def expected(what: str, form: str) -> grpc.StatusCode | int:
    return EXPECTED[what][form != "grpc"]


every_form = pytest.mark.parametrize("form", FORMS)


@every_form
@pytest.mark.parametrize("gzipped", [False, True], ids=["identity", "gzip"])
@pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.value)
async def test_a_request_of_each_signal_reaches_the_intake_as_the_same_message(
    signal: Signal, form: str, *, gzipped: bool
) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver:
        answer = await Client(receiver, form, gzipped=gzipped).send(signal, REQUESTS[signal])
        assert answer.ok
        assert answer.form == {"grpc": "", "protobuf": PROTOBUF, "json": JSON}[form]
        assert not answer.response(signal).HasField("partial_success")
        assert receiver.requests.accepted == 1
    ((taken, request),) = intake.taken
    assert taken is signal
    assert type(REQUESTS[signal]).FromString(request) == REQUESTS[signal]


async def test_the_same_legs_are_decoded_from_every_form() -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver:
        for form in FORMS:
            assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).ok
    grpc_spans, protobuf_spans, json_spans = [SpanDecoder(otlp_view()).decode(request) for _, request in intake.taken]
    assert sorted(grpc_spans.legs, key=repr) == sorted(LEGS, key=repr)
    assert grpc_spans == protobuf_spans == json_spans


@every_form
@pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.value)
async def test_an_empty_request_is_a_success(signal: Signal, form: str) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver:
        answer = await Client(receiver, form).send(signal, type(REQUESTS[signal])())
    assert answer.ok
    assert answer.body == (b"{}" if form == "json" else b"")
    assert intake.taken == [(signal, b"")]


@every_form
@pytest.mark.parametrize(
    ("signal", "field"),
    [
        (Signal.TRACES, "rejected_spans"),
        (Signal.METRICS, "rejected_data_points"),
        (Signal.LOGS, "rejected_log_records"),
    ],
)
@pytest.mark.parametrize("rejected", [3, 0, 2**40])
async def test_what_was_rejected_is_a_partial_success_and_none_with_a_text_a_warning(
    signal: Signal, field: str, rejected: int, form: str
) -> None:
    async with receiving(ScriptedIntake(Accepted(rejected, "bad ids"))) as receiver:
        answer = await Client(receiver, form).send(signal, REQUESTS[signal])
    partial = answer.response(signal).partial_success
    assert (getattr(partial, field), partial.error_message) == (rejected, "bad ids")


@every_form
async def test_what_does_not_parse_is_the_senders_fault_counted_and_logged_once(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    intake = ScriptedIntake(*[DecodeError("not an ExportTraceServiceRequest")] * 3)
    async with receiving(intake) as receiver:
        client = Client(receiver, form)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                answer = await client.send(Signal.TRACES, TRACES)
                assert (answer.status, answer.retry_after) == (expected("malformed", form), None)
                assert answer.message == "not an ExportTraceServiceRequest"
        assert (await client.send(Signal.METRICS, METRICS)).ok
        assert (receiver.requests.invalid, receiver.requests.accepted) == (3, 1)
    assert len(caplog.records) == 1


@every_form
async def test_a_request_over_the_limit_is_refused_packed_and_unpacked(form: str) -> None:
    intake = ScriptedIntake()
    over = ExportTraceServiceRequest.FromString(TRACES.SerializeToString())
    over.resource_spans[0].schema_url = "x" * 100_000
    async with receiving(intake, max_message_bytes=50_000) as receiver:
        for gzipped in (False, True):
            answer = await Client(receiver, form, gzipped=gzipped).send(Signal.TRACES, over)
            assert (answer.status, answer.retry_after) == (expected("too large", form), None)
        assert receiver.requests.refused == 2
        assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).ok
    assert len(intake.taken) == 1


@every_form
async def test_an_intake_without_room_makes_the_sender_come_again_when_it_says(form: str) -> None:
    intake = ScriptedIntake(OverloadedError("the journal is full", retry_after=2.5))
    async with receiving(intake) as receiver:
        answer = await Client(receiver, form).send(Signal.TRACES, TRACES)
        assert (answer.status, answer.message) == (expected("again", form), "the journal is full")
        # HTTP has whole seconds.
        assert answer.retry_after == (2.5 if form == "grpc" else 3)
        assert receiver.requests.overloaded == 1
        assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).ok


@every_form
async def test_a_failure_of_ours_is_no_success_and_may_be_tried_again(form: str) -> None:
    faults = Faults()
    async with receiving(ScriptedIntake(ZeroDivisionError("secret")), faults=faults) as receiver:
        answer = await Client(receiver, form).send(Signal.TRACES, TRACES)
        assert (answer.status, answer.retry_after) == (expected("again", form), None)
        assert "secret" not in answer.message
        assert receiver.requests.failed == 1
    assert faults.totals() == {"receiver: ZeroDivisionError": 1}


@every_form
async def test_nobody_is_told_of_success_before_the_request_was_taken_in(form: str) -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake) as receiver:
        sending = asyncio.ensure_future(Client(receiver, form).send(Signal.TRACES, TRACES))
        await intake.until_begun(1)
        assert not sending.done()
        assert receiver.requests.accepted == 0
        intake.open.set()
        assert (await sending).ok


@every_form
async def test_more_requests_than_there_are_places_for_are_told_to_come_again(form: str) -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake, limits={"requests": 2}) as receiver:
        sending = [asyncio.ensure_future(Client(receiver, form).send(Signal.TRACES, TRACES)) for _ in range(2)]
        await intake.until_begun(2)
        answer = await Client(receiver, form).send(Signal.TRACES, TRACES)
        assert (answer.status, answer.retry_after) == (expected("again", form), 1)
        intake.open.set()
        assert all(one.ok for one in await asyncio.gather(*sending))
        assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).ok


@every_form
async def test_more_bytes_than_there_is_memory_for_are_told_to_come_again(form: str) -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    large = ExportTraceServiceRequest()
    large.resource_spans.add().schema_url = "x" * 60_000
    # Reading it as JSON takes memory too.
    memory = 100_000 + (memory_of(as_json(large)) if form == "json" else 0)
    async with receiving(intake, limits={"memory": memory}, max_message_bytes=100_000) as receiver:
        first = asyncio.ensure_future(Client(receiver, form).send(Signal.TRACES, large))
        await intake.until_begun(1)
        # Its packed form would fit.
        answer = await Client(receiver, form, gzipped=True).send(Signal.TRACES, large)
        assert (answer.status, answer.retry_after) == (expected("again", form), 1)
        intake.open.set()
        assert (await first).ok
        assert (await Client(receiver, form).send(Signal.TRACES, large)).ok


async def test_a_request_goes_on_when_its_sender_leaves_and_keeps_its_place_until_it_is_through() -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake, limits={"requests": 1}) as receiver:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
            export: Any = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            call = export(b"")
            await intake.until_begun(1)
            call.cancel()
        assert (await Client(receiver, "grpc").send(Signal.TRACES, TRACES)).status is grpc.StatusCode.UNAVAILABLE
        intake.open.set()
        await receiver.drain(20)
        assert intake.taken == [(Signal.TRACES, b"")]
        assert receiver.requests.accepted == 1


@every_form
async def test_a_draining_receiver_ends_what_it_has_begun_and_sends_the_rest_away(form: str) -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake) as receiver:
        begun = asyncio.ensure_future(Client(receiver, form).send(Signal.TRACES, TRACES))
        await intake.until_begun(1)
        draining = asyncio.ensure_future(receiver.drain(20))
        await asyncio.sleep(0)
        answer = await Client(receiver, form).send(Signal.TRACES, TRACES)
        assert (answer.status, answer.retry_after) == (expected("again", form), 1)
        assert not draining.done()
        intake.open.set()
        assert (await begun).ok
        await draining
        assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).status == expected("again", form)
    assert len(intake.taken) == 1


@every_form
async def test_what_is_not_through_at_the_end_is_never_called_a_success(form: str) -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake) as receiver:
        begun = asyncio.ensure_future(Client(receiver, form).send(Signal.TRACES, TRACES))
        await intake.until_begun(1)
        await receiver.drain(0)
        await receiver.close()
        answer = await begun
    assert (answer.status, answer.retry_after) == (expected("again", form), 1)
    assert intake.taken == []


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("old-token\nnew-token\n")
    return file


@every_form
@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"authorization": "Bearer old-token"}, True),
        ({"authorization": "bearer  new-token "}, True),
        ({"authorization": "Bearer old-toke"}, False),
        ({"authorization": "Bearer "}, False),
        ({"authorization": "Basic old-token"}, False),
        ({"authorization": "old-token"}, False),
        ({}, False),
    ],
    ids=str,
)
async def test_only_who_knows_a_token_may_send(
    headers: dict[str, str], tokens: Path, form: str, *, known: bool
) -> None:
    intake = ScriptedIntake()
    async with receiving(intake, bearer_token={"file": str(tokens)}) as receiver:
        answer = await Client(receiver, form, headers=headers).send(Signal.TRACES, TRACES)
        assert answer.ok if known else answer.status == expected("unauthenticated", form)
        assert receiver.requests.refused == (not known)
        if form != "grpc" and not known:
            assert answer.headers["www-authenticate"] == "Bearer"
    assert len(intake.taken) == known


@every_form
async def test_tokens_follow_their_file_and_outlive_a_bad_one(tokens: Path, form: str) -> None:
    clock, faults = FakeClock(), Faults()

    async def known(token: str) -> bool:
        clock.advance(1)
        headers = {"authorization": f"Bearer {token}"}
        return (await Client(receiver, form, headers=headers).send(Signal.TRACES, TRACES)).ok

    async with receiving(bearer_token={"file": str(tokens)}, clock=clock, faults=faults) as receiver:
        assert await known("old-token")
        tokens.write_text("new-token next-token")
        assert not await known("old-token")
        assert await known("next-token")
        for bad in (lambda: tokens.write_text(" \n"), tokens.unlink):
            bad()
            assert await known("next-token")
        assert faults.totals()["bearer token: StartError"] == 2
        tokens.write_text("last-token")
        assert not await known("next-token")
        assert await known("last-token")


@every_form
@pytest.mark.parametrize(
    ("roots", "certificate", "known"), [(False, "", True), (True, "client", True), (True, "", False)], ids=str
)
async def test_tls_with_and_without_certificates_of_the_senders(
    certificate: str, form: str, *, roots: bool, known: bool
) -> None:
    tls = {"certificate": str(FILES / "server.pem"), "key": str(FILES / "server.key")}
    if roots:
        tls["client_roots"] = ROOTS
    async with receiving(tls=tls) as receiver:
        try:
            answer = await Client(receiver, form, tls=certificate).send(Signal.TRACES, TRACES)
        except OSError:
            answer = None
        assert (answer is not None and answer.ok) == known
        try:
            plain = await Client(receiver, form).send(Signal.TRACES, TRACES)
        except OSError:
            plain = None
        assert plain is None or not plain.ok
        assert receiver.requests.accepted == known


@every_form
async def test_a_renewed_certificate_is_used_and_a_bad_one_is_not(form: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"

    def renew(name: str) -> None:
        certificate.write_bytes((FILES / f"{name}.pem").read_bytes())
        key.write_bytes((FILES / f"{name}.key").read_bytes())

    faults = Faults()
    renew("server")
    tls = {"certificate": str(certificate), "key": str(key)}
    async with receiving(tls=tls, faults=faults) as receiver:
        address = ("127.0.0.1", receiver.port if form == "grpc" else receiver.http_port)

        async def until_shown(name: str) -> None:
            shown = (FILES / f"{name}.pem").read_text()
            assert await asyncio.to_thread(until, lambda: ssl.get_server_certificate(address) == shown)

        await until_shown("server")
        certificate.write_text("no certificate")
        assert await asyncio.to_thread(until, lambda: bool(faults.totals()))
        await until_shown("server")
        assert (await Client(receiver, form, tls="client").send(Signal.TRACES, TRACES)).ok
        renew("client")
        await until_shown("client")
        assert (await Client(receiver, form, tls="client").send(Signal.TRACES, TRACES)).ok
    assert set(faults.totals()) == {"certificate: StartError"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bearer_token": {"file": "/no/such"}}, r"processor\.bearer_token\.file: /no/such: No such file"),
        ({"bearer_token": {"env": "NO_SUCH_TOKEN"}}, r"processor\.bearer_token\.env: NO_SUCH_TOKEN"),
        (
            {"tls": {"certificate": "/no/such", "key": str(FILES / "server.key")}},
            r"processor\.tls\.certificate: /no/such: No such file",
        ),
        (
            {"tls": {"certificate": str(FILES / "server.pem"), "key": "/no/such"}},
            r"processor\.tls\.key: /no/such: No such file",
        ),
        (
            {"tls": {"certificate": str(FILES / "server.pem"), "key": str(FILES / "client.key")}},
            r"processor\.tls\.key: .*server\.pem and .*client\.key",
        ),
        (
            {
                "tls": {
                    "certificate": str(FILES / "server.pem"),
                    "key": str(FILES / "server.key"),
                    "client_roots": str(FILES / "server.key"),
                }
            },
            r"processor\.tls\.client_roots: .*server\.key",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_stops_the_start_by_its_name_and_key(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(StartError, match=says):
        async with receiving(**settings):
            pass


async def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTLP_TOKENS", "one two")
    async with receiving(bearer_token={"env": "OTLP_TOKENS"}) as receiver:
        for token, known in (("two", True), ("three", False)):
            client = Client(receiver, "grpc", headers={"authorization": f"Bearer {token}"})
            assert (await client.send(Signal.TRACES, TRACES)).ok == known


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"bearer_token": {}}, "bearer_token"),
        ({"bearer_token": {"file": "a", "env": "B"}}, "bearer_token"),
        ({"bearer_token": "hunter2"}, "bearer_token"),
        ({"tls": {"certificate": "a"}}, "tls.key"),
        ({"limits": {"requests": 0}}, "limits.requests"),
        ({"limits": {"memory": "1MiB"}}, "limits.memory"),
        ({"limits": {"head_time": "10 parsecs"}}, "limits.head_time"),
        ({"http_listen": "localhost"}, "http_listen"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ProcessorSettings.model_validate(wrong)


@pytest.mark.parametrize("key", ["listen", "http_listen"])
async def test_a_taken_port_is_one_clear_error_and_leaves_no_other_port_open(key: str) -> None:
    async with receiving() as first:
        taken = f"127.0.0.1:{first.port if key == 'listen' else first.http_port}"
        settings = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"} | {key: taken}
        second = Receiver(ProcessorSettings.model_validate(settings), ScriptedIntake())
        with pytest.raises(StartError, match=rf"processor.{key}: cannot listen on {taken}.*taken"):
            await second.start()
        assert (second.port, second.http_port) == (0, 0)


async def test_drain_and_close_are_safe_before_the_start_and_more_than_once_and_it_can_start_again() -> None:
    settings = ProcessorSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0")
    receiver = Receiver(settings, ScriptedIntake())
    for _ in range(2):
        await receiver.drain(1)
        await receiver.close()
        await receiver.start()
        for form in FORMS:
            assert (await Client(receiver, form).send(Signal.TRACES, TRACES)).ok
        await receiver.drain(1)
        await receiver.close()


@every_form
async def test_nothing_of_a_request_is_ever_logged(
    form: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tokens: Path
) -> None:
    told = ExportTraceServiceRequest()
    told.resource_spans.add().schema_url = "PLANTED-BODY"
    answers = (DecodeError("no"), ZeroDivisionError("PLANTED-ERROR"), OverloadedError("full", retry_after=1))
    with caplog.at_level(logging.DEBUG):
        async with receiving(ScriptedIntake(*answers), bearer_token={"file": str(tokens)}) as receiver:
            for token in ("old-token", "PLANTED-TOKEN"):
                headers = {"authorization": f"Bearer {token}", "x-planted": "PLANTED-HEADER"}
                for request in (told, told, told, told, b"PLANTED-RUBBISH"):
                    await Client(receiver, form, headers=headers).send(Signal.TRACES, request)
    said = caplog.text + "".join(capfd.readouterr())
    assert "PLANTED" not in said
    assert "old-token" not in said
