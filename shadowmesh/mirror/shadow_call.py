"""A shadow whose request is one message: a grpc.aio call in the engine's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.shadow import Answer, Dispatch, conclude
from shadowmesh.names import CallEnd

# Private, so it may be gone one day; then the public way has to do.
_BASE: Any = getattr(getattr(grpc.aio, "_call", None), "Call", None)


def _cancel(call: Any) -> None:
    """
    Cancel a grpc.aio call in grpc's core only. Its own ``cancel`` also cancels the task that waits for the batch, and
    then grpc never frees the batch's operations (grpc/grpc#43360, not released): 1.6 KB a call with grpcio 1.85.1,
    against 30 bytes this way. Who awaits the call gets a ``CancelledError`` either way.
    """
    if _BASE is not None:
        _BASE.cancel(call)
    else:
        call.cancel()


class ShadowCall:
    """Runs as a task from the moment the request is there."""

    further: Sequence[Observation] = ()

    def __init__(self, dispatch: Dispatch) -> None:
        self.observation = Observation(span_id=dispatch.span_id)
        self._dispatch = dispatch
        self._task: asyncio.Task[None] | None = None
        self._stopped: CallEnd | None = None
        self._over = False
        self._call: Any = None

    def send(self, message: bytes) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._task is None and not self._over:
            # Stands if the task is cancelled before its first step; the real start overwrites it.
            self.observation.started_ns = self._dispatch.clock()
            self._task = self._dispatch.loop.create_task(self._run(message))
            self._task.add_done_callback(self._done)

    def half_close(self) -> None:
        """A single message needs no half-close."""

    def stop(self, end: CallEnd) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._over:
            return
        self._stopped = self._stopped or end
        if self._task is None:
            self._over = True
            self.observation.started_ns = self._dispatch.clock()
            self._conclude("CANCELLED")
            self._dispatch.finished()
        elif self._call is not None:
            _cancel(self._call)
        else:
            self._task.cancel()

    async def _run(self, message: bytes) -> None:
        dispatch, observation = self._dispatch, self.observation
        observation.started_ns = dispatch.clock()
        call = dispatch.multicallable(message, timeout=dispatch.deadline, metadata=dispatch.metadata)
        self._call = call
        observation.sent = 1
        answer = Answer(observation, dispatch)
        try:
            if dispatch.arity.response_streaming:
                async for response in call:
                    answer.add(response, dispatch.clock())
                status = await call.code()
            else:
                answer.add(await call, dispatch.clock())
                # grpc.aio gives a single response only where the status is OK, and raises otherwise.
                status = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            status = error.code()
        finally:
            # An abandoned grpc.aio call is never collected (grpc/grpc#43462); cancelling an ended one does nothing.
            call.cancel()
        self._conclude(status.name if isinstance(status, grpc.StatusCode) else "UNKNOWN")

    def _conclude(self, status: str) -> None:
        conclude(
            self.observation, status, self._dispatch.clock(), deadline=self._dispatch.deadline, stopped=self._stopped
        )

    def _done(self, task: asyncio.Task[None]) -> None:
        # A cancelled task holds its exception, whose frames hold us and grpc's call: with the task held here that is a
        # ring, and the call, and with it the connection of a closed channel, would wait for the garbage collector.
        self._task = self._call = None
        self._over = True
        if task.cancelled():
            # Either we were told to stop, or the loop is being taken down under us.
            self._stopped = self._stopped or CallEnd.CUT
            self._conclude("CANCELLED")
        elif task.exception() is not None:
            # Not a status from any backend: nobody can know how this leg would have ended.
            self._conclude("")
            self.observation.end = CallEnd.CUT
        self._dispatch.finished()
