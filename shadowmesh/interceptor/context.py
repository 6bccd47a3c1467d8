"""
A stand-in for a servicer context, where the real one does not show what its handler does.

Two cases need it. A handler that uses ``context.read`` and ``context.write`` shows the end of the requests and the
time its writes wait nowhere else. A synchronous handler on a grpc.aio server gets a context that can be told a
status but not asked for one. Everything else is passed on, attributes included: a missing method would break the
handler (opentelemetry-python-contrib#5034).
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from shadowmesh.interceptor.call import LiveCall


class _Forward:
    """Passes on everything it does not define."""

    def __init__(self, context: Any) -> None:
        object.__setattr__(self, "_context", context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._context, name, value)


class ReadWriteContext(_Forward):
    """For aio handlers: sees ``read`` come to the end, and how long ``write`` takes."""

    def __init__(self, context: Any, call: LiveCall) -> None:
        super().__init__(context)
        object.__setattr__(self, "_call", call)

    async def read(self) -> Any:
        """Read the next request message."""
        message = await self._context.read()
        if message is grpc.aio.EOF:
            self._call.request_end()
        return message

    async def write(self, message: Any) -> None:
        """Write a response message."""
        began = self._call.now()
        try:
            await self._context.write(message)
        except grpc.aio.InternalError:
            self._call.broken()
            raise
        self._call.waited(began)


class StatusContext(_Forward):
    """For synchronous handlers on an aio server: remembers the status the handler set or aborted with."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        object.__setattr__(self, "status", None)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code."""
        self._context.set_code(code)
        object.__setattr__(self, "status", code)

    def abort(self, code: grpc.StatusCode, *args: Any, **kwargs: Any) -> Any:
        """End the call with a status."""
        object.__setattr__(self, "status", code)
        return self._context.abort(code, *args, **kwargs)

    def abort_with_status(self, status: Any) -> Any:
        """End the call with a status."""
        object.__setattr__(self, "status", status.code)
        return self._context.abort_with_status(status)
