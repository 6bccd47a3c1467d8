"""
Doubles for tests with ShadowMesh, ours and yours: real servers, real bytes, nothing patched.

- :class:`SpanSink` takes the place of the span exporter and gives legs back.
- :class:`Backend` is a gRPC server on a free port that plays a script, for any method and arity.
- :class:`FakeClock` is a clock that moves when told to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shadowmesh.model import Leg, Metadata
from shadowmesh.names import ROLE
from shadowmesh.telemetry.attributes import from_attributes


def leg_of(span: ReadableSpan) -> Leg | None:
    """Return the leg a span describes, ``None`` for a span that is no leg."""
    attributes = span.attributes or {}
    context = span.get_span_context()
    if ROLE not in attributes or context is None:
        return None
    return from_attributes(
        attributes,
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_span_id=span.parent.span_id if span.parent is not None else 0,
        started_ns=span.start_time or 0,
        ended_ns=span.end_time or 0,
    )


class SpanSink(SpanExporter):
    """Collects finished spans; ``wait_for_legs`` waits for them without sleeping."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []
        self._arrived = threading.Condition()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take a batch."""
        with self._arrived:
            self._spans.extend(spans)
            self._arrived.notify_all()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Keep what was collected."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """There is nothing to flush."""
        return True

    @property
    def spans(self) -> list[ReadableSpan]:
        """Everything collected so far."""
        with self._arrived:
            return list(self._spans)

    def legs(self) -> list[Leg]:
        """Return the legs collected so far, in the order of their export."""
        return [leg for span in self.spans if (leg := leg_of(span)) is not None]

    def wait_for_legs(self, count: int, timeout: float = 20.0) -> list[Leg]:
        """
        Return the legs once there are ``count``.

        Raises:
            TimeoutError: they did not come within ``timeout`` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.legs()) >= count, timeout):
                raise TimeoutError(f"{len(self.legs())} of {count} legs after {timeout:g} s")
        return self.legs()


class FakeClock:
    """A monotonic clock in nanoseconds."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now_ns += round(seconds * 1e9)


@dataclass(slots=True)
class ReceivedCall:
    """One call as a :class:`Backend` saw it."""

    method: str
    metadata: Metadata
    deadline: float | None
    requests: list[bytes] = field(default_factory=list)
    half_closed: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


Script = Callable[[ReceivedCall, Iterator[bytes], grpc.ServicerContext], Iterable[bytes]]
"""Plays one call: from the request messages to the response messages; may abort, block or raise."""


class Backend:
    """
    A synchronous gRPC server that answers every method by one script, whatever its arity; a context manager.

    With ``credentials`` it speaks TLS.
    """

    def __init__(self, script: Script, *, workers: int = 16, credentials: grpc.ServerCredentials | None = None) -> None:
        self._script = script
        self._server = grpc.server(
            futures.ThreadPoolExecutor(workers), options=(("grpc.so_reuseport", 0),), handlers=[_AnyMethod(self._play)]
        )
        self._changed = threading.Condition()
        self.calls: list[ReceivedCall] = []
        add = self._server.add_insecure_port
        if credentials is not None:
            add = partial(self._server.add_secure_port, server_credentials=credentials)
        self.port = add("127.0.0.1:0")

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``."""
        return f"127.0.0.1:{self.port}"

    def wait_for_calls(self, count: int, timeout: float = 20.0) -> list[ReceivedCall]:
        """
        Return the calls once there are ``count``.

        Raises:
            TimeoutError: they did not come within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= count, timeout):
                raise TimeoutError(f"{len(self.calls)} of {count} calls after {timeout:g} s")
            return list(self.calls)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(grace=0).wait()

    def _play(self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        remaining = context.time_remaining()
        call = ReceivedCall(
            method=method,
            metadata=tuple((key, value) for key, value in context.invocation_metadata()),
            deadline=remaining if remaining < 1e9 else None,
        )
        if not context.add_callback(call.ended.set):
            # Over already: the client left before this thread came to it.
            call.ended.set()
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        yield from self._script(call, _recorded(call, requests), context)


def _recorded(call: ReceivedCall, requests: Iterator[bytes]) -> Iterator[bytes]:
    for message in requests:
        call.requests.append(message)
        yield message
    call.half_closed = True


class _AnyMethod(grpc.GenericRpcHandler):
    """Serves every method as a stream of bytes both ways: on the wire that serves every arity."""

    def __init__(self, play: Callable[[str, Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]) -> None:
        self._play = play

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: self._play(method, requests, context))


def echo(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    """Answer every request message with itself."""
    yield from requests
