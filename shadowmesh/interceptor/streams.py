"""Request and response streams with a tap on them: each behaves as the stream it stands for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
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
        self._messages: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        # grpc's own gives a generator, the same one each time, and handlers may close it.
        if self._messages is None:
            self._messages = self._read()
        return self._messages

    async def __anext__(self) -> Any:
        return await anext(aiter(self))

    async def _read(self) -> AsyncIterator[Any]:
        async for message in self._inner:
            yield message
        self._call.request_end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def relay(responses: Any, call: LiveCall, *, final: bool = False) -> Iterator[Any]:
    """
    Yield what a synchronous handler's iterator gives, and see how it ends.

    ``next`` is asked as grpc asks it: what is no iterator fails here as it fails there. ``final`` as in
    :meth:`LiveCall.failed`.
    """
    try:
        while True:
            try:
                message = next(responses)
            except StopIteration:
                break
            if message is None:
                # What a synchronous server takes for the end of the stream.
                call.completed()
            began = call.now()
            yield message
            call.waited(began)
    except GeneratorExit:
        call.dropped()
        raise
    except BaseException:
        call.failed(final=final)
        raise
    call.completed()
