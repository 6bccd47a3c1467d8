"""Received requests passed on, byte for byte, to an endpoint that asked for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio
from opentelemetry.util.re import parse_env_headers

from shadowmesh.errors import StartError
from shadowmesh.processor.endpoints import target_of
from shadowmesh.processor.settings import ExportSettings

# OTLP's list, without RESOURCE_EXHAUSTED, which may be tried again only when the answer says when.
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_TIMEOUT = 10.0
_TRIES = 4


class Forwarded(NamedTuple):
    """One request as it came: the method it came to, and its bytes."""

    method: str
    request: bytes


class Forwarder:
    """
    An outbox's sender to one endpoint.

    Args:
        backoff: seconds before the second try, doubled before each further one.

    Raises:
        StartError: a file that the ``OTEL_EXPORTER_OTLP_*`` variables name cannot be read.
    """

    def __init__(self, settings: ExportSettings, *, backoff: float = 1.0) -> None:
        self._channel = _channel(settings)
        self._metadata = _metadata(settings)
        self._backoff = backoff
        self._exports: dict[str, Callable[..., Awaitable[bytes]]] = {}

    async def send(self, batch: Sequence[Forwarded]) -> bool:
        """Send each request, again where OTLP allows that; ``False`` when one of them was not taken."""
        taken = [await self._send(item) for item in batch]
        return all(taken)

    async def close(self) -> None:
        """Close the channel, which ends a call that is under way."""
        await self._channel.close()

    async def _send(self, item: Forwarded) -> bool:
        if item.method not in self._exports:
            self._exports[item.method] = self._channel.unary_unary(item.method)
        attempt = 1
        while True:
            try:
                await self._exports[item.method](item.request, timeout=_TIMEOUT, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRYABLE or attempt == _TRIES:
                    return False
            else:
                return True
            await asyncio.sleep(self._backoff * 2 ** (attempt - 1))
            attempt += 1


def _channel(settings: ExportSettings) -> grpc.aio.Channel:
    compression = (
        grpc.Compression.Gzip
        if os.environ.get("OTEL_EXPORTER_OTLP_COMPRESSION", "").strip().lower() == "gzip"
        else None
    )
    target = target_of(settings.endpoint)
    if _insecure(settings):
        return grpc.aio.insecure_channel(target, compression=compression)
    credentials = grpc.ssl_channel_credentials(
        _file("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        _file("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        _file("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    )
    return grpc.aio.secure_channel(target, credentials, compression=compression)


def _insecure(settings: ExportSettings) -> bool:
    """Decide as the SDK's exporters do: the scheme https, then the setting, then the variable, then http."""
    if settings.endpoint.startswith("https://"):
        return False
    if settings.insecure is not None:
        return settings.insecure
    variable = os.environ.get("OTEL_EXPORTER_OTLP_INSECURE")
    return variable.lower() == "true" if variable is not None else settings.endpoint.startswith("http://")


def _metadata(settings: ExportSettings) -> tuple[tuple[str, str], ...]:
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    return tuple((headers or parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)).items())


def _file(variable: str) -> bytes | None:
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartError(f"{variable} names {path}: {error.strerror}") from error
