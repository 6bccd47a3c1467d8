"""
Live handlers that play a script, written once for every kind of handler grpc knows.

The first request message is the script: a JSON list of steps. ``["send", text]`` sends a message, ``["read"]`` reads
a request message and sends it back, ``["read_all"]`` all that are left. ``["wait"]`` waits for the end of the call.
A single response is the last message sent.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

SERVICE = "/test.Scripted/"
Step = list[Any]


def script(*steps: Step) -> bytes:
    """Return the request message that plays ``steps``."""
    return json.dumps(steps).encode()


class Log:
    """What the handlers saw, for the test to look at."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.waits: list[threading.Event] = []
        self._changed = threading.Condition()

    def add(self, entry: str) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, entry: str, count: int = 1, timeout: float = 10.0) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: self.entries.count(entry) >= count, timeout)
        assert found, f"{entry!r} not {count} times in {self.entries}"


def _set_up(step: Step, context: Any) -> None:
    """Play a step that is the same call on every context."""
    name, *args = step
    if name == "code":
        context.set_code(grpc.StatusCode[args[0]])
    elif name == "details":
        context.set_details(args[0])
    elif name == "trailing":
        context.set_trailing_metadata(_metadata(args[0]))
    elif name == "compress":
        context.set_compression(grpc.Compression.Gzip)
    elif name == "plain_next":
        context.disable_next_message_compression()
    elif name == "raise":
        raise ValueError(args[0])
    else:
        raise AssertionError(f"unknown step {name}")


def _metadata(entries: list[list[str]]) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value.encode() if key.endswith("-bin") else value) for key, value in entries)


def _seen_metadata(context: Any) -> bytes:
    entries = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    return repr(entries).encode()


def _deadline(context: Any) -> bytes:
    remaining = context.time_remaining()
    return b"none" if remaining is None or remaining > 1e9 else b"about %d" % round(remaining / 10)


_SENDS: dict[str, Callable[..., list[bytes]]] = {
    "send": lambda context, text: [text.encode()],
    "flood": lambda context, count: [b"x" * 100_000] * count,
    "metadata": lambda context: [_seen_metadata(context)],
    "deadline": lambda context: [_deadline(context)],
}


class SyncScripts(grpc.GenericRpcHandler):
    """Synchronous handlers; ``/test.Scripted/unary_unary`` and so on."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return _handlers(handler_call_details.method, self._unary, self._stream)

    def _play(self, first: bytes, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for step in json.loads(first):
            name, *args = step
            if name in _SENDS:
                for message in _SENDS[name](context, *args):
                    yield message
            elif name == "read":
                yield b"read " + next(requests, b"nothing")
            elif name == "read_all":
                for message in requests:
                    yield b"read " + message
            elif name == "initial":
                context.send_initial_metadata(_metadata(args[0]))
            elif name == "abort":
                context.abort(grpc.StatusCode[args[0]], args[1])
            elif name == "wait":
                self._wait(context)
            else:
                _set_up(step, context)

    def _wait(self, context: Any) -> None:
        over = threading.Event()
        self._log.waits.append(over)
        self._log.add("waiting")
        if context.add_callback(over.set) is not False and not over.wait(20):
            raise TimeoutError("the call never ended")
        self._log.add("ended")

    def _messages(self, request: Any, context: Any) -> Iterator[bytes]:
        if isinstance(request, bytes):
            return self._play(request, iter(()), context)
        return self._play(next(request), request, context)

    def _unary(self, request: Any, context: Any) -> bytes:
        last = b""
        for message in self._messages(request, context):
            last = message
        return last

    def _stream(self, request: Any, context: Any) -> Iterator[bytes]:
        yield from self._messages(request, context)


class AioScripts(grpc.GenericRpcHandler):
    """Asynchronous handlers: coroutines and asynchronous generators over request iterators."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return _handlers(handler_call_details.method, self._unary, self._stream)

    async def play(self, first: bytes, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        for step in json.loads(first):
            name, *args = step
            if name in _SENDS:
                for message in _SENDS[name](context, *args):
                    yield message
            elif name == "read":
                yield b"read " + await anext(requests, b"nothing")
            elif name == "read_all":
                async for message in requests:
                    yield b"read " + message
            elif name == "initial":
                await context.send_initial_metadata(_metadata(args[0]))
            elif name == "abort":
                await context.abort(grpc.StatusCode[args[0]], args[1])
            elif name == "wait":
                await self._wait()
            else:
                _set_up(step, context)

    async def _wait(self) -> None:
        self._log.add("waiting")
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 20)
        except asyncio.CancelledError:
            self._log.add("ended")
            raise

    async def _messages(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        if isinstance(request, bytes):
            first, rest = request, _nothing()
        else:
            rest = aiter(request)
            first = await anext(rest)
        async for message in self.play(first, rest, context):
            yield message

    async def _unary(self, request: Any, context: Any) -> bytes:
        last = b""
        async for message in self._messages(request, context):
            last = message
        return last

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        async for message in self._messages(request, context):
            yield message


class ReadWriteScripts(AioScripts):
    """Asynchronous handlers that read and write through their context."""

    async def _reads(self, context: Any) -> AsyncIterator[bytes]:
        while (message := await context.read()) is not grpc.aio.EOF:
            yield message

    async def _messages(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        if isinstance(request, bytes):
            first, rest = request, _nothing()
        else:
            rest = self._reads(context)
            first = await anext(rest)
        async for message in self.play(first, rest, context):
            yield message

    async def _stream(self, request: Any, context: Any) -> None:  # type: ignore[override]
        async for message in self._messages(request, context):
            await context.write(message)


async def _nothing() -> AsyncIterator[bytes]:
    no_messages: tuple[bytes, ...] = ()
    for message in no_messages:
        yield message


def _handlers(method: str, unary: Callable[..., Any], stream: Callable[..., Any]) -> Any:
    make = {
        f"{SERVICE}unary_unary": (grpc.unary_unary_rpc_method_handler, unary),
        f"{SERVICE}unary_stream": (grpc.unary_stream_rpc_method_handler, stream),
        f"{SERVICE}stream_unary": (grpc.stream_unary_rpc_method_handler, unary),
        f"{SERVICE}stream_stream": (grpc.stream_stream_rpc_method_handler, stream),
    }.get(method)
    return make[0](make[1]) if make is not None else None
