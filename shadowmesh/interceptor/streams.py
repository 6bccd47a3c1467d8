"""Request and response streams with a tap on them: each behaves as the stream it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shadowmesh.interceptor.call import LiveCall


class Requests:
    """A synchronous request iterator that sees its end."""

    def __init__(self, inner: Any, call: LiveCall) -> None:
        self._inner = inner
        self._call = call

    def __iter__(self) -> Requests:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._inner)
        except StopIteration:
            self._call.request_end()
            raise

    # grpc's own iterator has both spellings.
    next = __next__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class AsyncRequests:
    """An asynchronous request iterator that sees its end."""

    def __init__(self, inner: Any, call: LiveCall) -> None:
        self._inner = inner
        self._call = call

    def __aiter__(self) -> AsyncRequests:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._call.request_end()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def relay(responses: Any, call: LiveCall) -> Iterator[Any]:
    """
    Yield what a synchronous handler's iterator gives, and see how it ends.

    ``next`` is asked as grpc asks it: what is no iterator fails here as it fails there.
    """
    try:
        while True:
            try:
                message = next(responses)
            except StopIteration:
                break
            began = call.now()
            yield message
            call.tap.stall(call.now() - began)
    except GeneratorExit:
        # Dropped by grpc when the client has left, or by an interceptor that had enough; the termination of the call
        # tells which.
        raise
    except BaseException:
        call.failed()
        raise
    call.completed()
