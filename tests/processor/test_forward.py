"""Received requests are passed on byte for byte, and tried again where OTLP allows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from support.otlp import METRICS, TRACES, OtlpSink

from shadowmesh.errors import StartError
from shadowmesh.processor.forward import Forwarded, Forwarder
from shadowmesh.processor.settings import ExportSettings

REQUEST = Forwarded(TRACES, b"\x0a\x00 not even OTLP")


@asynccontextmanager
async def forwarder(settings: ExportSettings) -> AsyncIterator[Forwarder]:
    one = Forwarder(settings, backoff=0.001)
    try:
        yield one
    finally:
        await one.close()


async def test_the_bytes_arrive_at_the_same_method_as_they_were() -> None:
    async with OtlpSink() as sink, forwarder(ExportSettings(endpoint=sink.endpoint)) as one:
        assert await one.send([REQUEST, Forwarded(METRICS, b"m")])
    assert sink.requests == [REQUEST, (METRICS, b"m")]


@pytest.mark.parametrize("answer", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED])
async def test_it_tries_again_after_a_retryable_answer(answer: grpc.StatusCode) -> None:
    async with OtlpSink([answer, answer]) as sink, forwarder(ExportSettings(endpoint=sink.endpoint)) as one:
        assert await one.send([REQUEST])
    assert len(sink.requests) == 3


async def test_it_gives_up_after_four_tries() -> None:
    answers = [grpc.StatusCode.UNAVAILABLE] * 9
    async with OtlpSink(answers) as sink, forwarder(ExportSettings(endpoint=sink.endpoint)) as one:
        assert not await one.send([REQUEST])
    assert len(sink.requests) == 4


@pytest.mark.parametrize("answer", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_it_never_repeats_what_was_refused_for_good(answer: grpc.StatusCode) -> None:
    async with OtlpSink([answer]) as sink, forwarder(ExportSettings(endpoint=sink.endpoint)) as one:
        assert not await one.send([REQUEST])
    assert len(sink.requests) == 1


async def test_headers_are_sent_from_the_settings_or_else_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "tenant=env")
    async with OtlpSink() as sink:
        for headers in ({}, {"tenant": "settings"}):
            settings = ExportSettings.model_validate({"endpoint": sink.endpoint, "headers": headers})
            async with forwarder(settings) as one:
                assert await one.send([REQUEST])
    assert [metadata["tenant"] for metadata in sink.metadata] == ["env", "settings"]


async def test_compression_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    async with OtlpSink() as sink, forwarder(ExportSettings(endpoint=sink.endpoint)) as one:
        assert await one.send([Forwarded(TRACES, b"x" * 10_000)])
    assert sink.bodies(TRACES) == [b"x" * 10_000]


@pytest.mark.parametrize(
    ("endpoint", "insecure", "variable", "plain"),
    [
        ("http://localhost", None, None, True),
        ("localhost", True, None, True),
        ("localhost", None, "true", True),
        ("localhost", None, None, False),
        ("http://localhost", False, None, False),
        ("https://localhost", True, "true", False),
    ],
)
async def test_plain_text_is_spoken_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, *, insecure: bool | None, variable: str | None, plain: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", variable)
    async with OtlpSink([grpc.StatusCode.INTERNAL] * 9) as sink:
        settings = ExportSettings(endpoint=f"{endpoint}:{sink.port}", insecure=insecure)
        async with forwarder(settings) as one:
            await one.send([REQUEST])
    assert bool(sink.requests) == plain


async def test_a_tls_file_that_cannot_be_read_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "no.pem"))
    with pytest.raises(StartError, match=r"OTEL_EXPORTER_OTLP_CERTIFICATE names .*no\.pem"):
        Forwarder(ExportSettings(endpoint="https://localhost:1"))
