"""
A shadow whose request is a stream: the synchronous API, in a thread of its own.

grpc.aio reports INTERNAL in place of the backend's status when the backend ends such a call while we write
(grpc/grpc#36066); the synchronous API does not. The thread is a daemon: a backend that hangs must not hold up the
end of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import grpc

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.shadow import Answer, Dispatch, conclude
from shadowmesh.names import CallEnd


class ShadowStream:
    """Runs from the beginning of the call. What it has not sent yet is bounded by the call's capture credit."""

    further: Sequence[Observation] = ()

    def __init__(self, dispatch: Dispatch) -> None:
        self.observation = Observation(span_id=dispatch.span_id, started_ns=dispatch.clock())
        self._dispatch = dispatch
        self._inbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._call: Any = None
        self._stopped: CallEnd | None = None
        threading.Thread(target=self._run, name="shadowmesh-stream", daemon=True).start()

    def send(self, message: bytes) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._stopped is None:
            self._inbox.put(message)

    def half_close(self) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        # After a stop there may be a hole in the requests: the backend must not take what it got for all of them.
        if self._stopped is None:
            self._inbox.put(None)

    def stop(self, end: CallEnd) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        self._stopped = self._stopped or end
        if self._call is not None:
            self._call.cancel()

    def _requests(self) -> Iterator[bytes]:
        """Consumed by a thread of grpc's."""
        while (message := self._inbox.get()) is not None:
            self.observation.request_times.append(self._dispatch.clock())
            self.observation.sent += 1
            yield message

    def _run(self) -> None:
        try:
            status = self._talk()
        except Exception:
            # Not a status from any backend; see ShadowCall.
            status = ""
        conclude(
            self.observation, status, self._dispatch.clock(), deadline=self._dispatch.deadline, stopped=self._stopped
        )
        if not status:
            self.observation.end = CallEnd.CUT
        # Lets go of grpc's thread, which may still wait for a request message.
        self._inbox.put(None)
        try:
            self._dispatch.loop.call_soon_threadsafe(self._dispatch.finished)
        except RuntimeError:
            # The engine's loop is closed: it has recorded this leg as cut already.
            return

    def _talk(self) -> str:
        dispatch = self._dispatch
        start = dispatch.multicallable if dispatch.arity.response_streaming else dispatch.multicallable.future
        call = self._call = start(self._requests(), timeout=dispatch.deadline, metadata=dispatch.metadata)
        if self._stopped is not None:
            call.cancel()
        answer = Answer(self.observation, dispatch)
        try:
            if dispatch.arity.response_streaming:
                for response in call:
                    answer.add(response, dispatch.clock())
            else:
                answer.add(call.result(), dispatch.clock())
        except (grpc.RpcError, grpc.FutureCancelledError):
            # The status is on the call, whatever way it ended.
            pass
        code = call.code()
        return code.name if isinstance(code, grpc.StatusCode) else ""
