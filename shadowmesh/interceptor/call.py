"""One live call as the shells see it: a tap, and what its end means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from shadowmesh.mirror.tap import Tap
from shadowmesh.names import CallEnd

# A client's deadline and ours for the same call differ by the network and by rounding.
_DEADLINE_SLACK_NS = 5_000_000
# grpc's "no deadline" in seconds is astronomically large on the synchronous server.
_NO_DEADLINE_SECONDS = 1e9


def time_left(context: Any) -> float | None:
    """Return the seconds a call has left, ``None`` without a deadline, on every kind of server."""
    remaining: float | None = context.time_remaining()
    return remaining if remaining is not None and remaining < _NO_DEADLINE_SECONDS else None


class LiveCall:
    """
    Says to a tap what happens; the first of several ends stands.

    Args:
        code: asks the context for the status the handler set, ``None`` where it set none.
        left: whether the client is known to have left: it cancelled, its deadline passed, or the server stops.
        left_for_good: whether ``left`` still tells the truth once the call is over.
        unserializable: the status grpc gives on its own when a response cannot be serialised.
        none_is_empty: whether grpc sends a response that is ``None`` as an empty message.
    """

    __slots__ = (
        "_clock",
        "_code",
        "_expires_ns",
        "_left",
        "_left_for_good",
        "_none_is_empty",
        "_returned",
        "_unserializable",
        "tap",
    )

    def __init__(
        self,
        tap: Tap,
        *,
        clock: Callable[[], int],
        code: Callable[[], Any],
        left: Callable[[], bool],
        deadline: float | None,
        left_for_good: bool,
        unserializable: grpc.StatusCode,
        none_is_empty: bool,
    ) -> None:
        self.tap = tap
        self._clock = clock
        self._code = code
        self._left = left
        self._left_for_good = left_for_good
        self._none_is_empty = none_is_empty
        self._expires_ns = None if deadline is None else clock() + int(deadline * 1e9) - _DEADLINE_SLACK_NS
        self._unserializable = unserializable
        self._returned = False

    def request(self, data: bytes) -> None:
        """A message of a request stream was read."""
        self.tap.request(data, self._clock())

    def request_end(self) -> None:
        """The handler has read to the end of the requests."""
        self.tap.request_end(self._clock())

    def response(self, data: bytes) -> None:
        """A response message goes out."""
        self.tap.response(data, self._clock())

    def no_message(self) -> None:
        """The response is no bytes: one kind of server sends it as an empty message, the other refuses."""
        if self._none_is_empty:
            self.response(b"")
        else:
            self.unserializable()

    def now(self) -> int:
        """Return the call's monotonic clock, nanoseconds."""
        return self._clock()

    def returned(self) -> None:
        """The handler of a single response has returned: its bytes are still to be made, unless it failed by status."""
        self._returned = True
        status = self._status()
        if status not in ("", "OK"):
            self._done(status, CallEnd.COMPLETED)

    def completed(self) -> None:
        """The handler's part is over and went well, or ended with the status it set."""
        self._returned = True
        if self._is_left():
            self.cancelled()
        else:
            self._done(self._status() or "OK", CallEnd.COMPLETED)

    def dropped(self) -> None:
        """
        Nobody asks for the rest of the responses: the client has left, or somebody between us and grpc has enough,
        and then nobody here can know the status.
        """
        if self._expired() or self._is_left():
            self.cancelled()
        else:
            self._done("", CallEnd.CUT)

    def failed(self) -> None:
        """The handler raised: by ``abort`` or with a status set, else grpc makes it UNKNOWN."""
        status = self._status()
        if self._is_left():
            self.cancelled()
        else:
            self._done(status if status not in ("", "OK") else "UNKNOWN", CallEnd.COMPLETED)

    def unserializable(self) -> None:
        """The response could not be serialised."""
        self._done(self._unserializable.name, CallEnd.COMPLETED)

    def cancelled(self) -> None:
        """The client left, its deadline passed, or the server stopped."""
        if self._expired():
            self._done("DEADLINE_EXCEEDED", CallEnd.DEADLINE)
        else:
            self._done("CANCELLED", CallEnd.CANCELLED)

    def terminated(self) -> None:
        """The call is over, whatever we saw of it: the last word where nobody had one."""
        if not self.tap.open:
            return
        gone = self._is_left() and (self._left_for_good or not self._returned)
        if gone or self._expired():
            self.cancelled()
        else:
            # Somebody between us and grpc ended it. Its status is what the context says, or nobody's to know.
            status = self._status()
            self._done(status, CallEnd.COMPLETED if status and self._returned else CallEnd.CUT)

    def __del__(self) -> None:
        # Where nothing else says that the client has left: a handler in a pool, an interceptor that waits after ours.
        # The context's own done-callback is no way out: registering one ties context and call into a cycle, which
        # would keep grpc's call alive until the collector comes by.
        self.terminated()

    def _expired(self) -> bool:
        return self._expires_ns is not None and self._clock() >= self._expires_ns

    def _is_left(self) -> bool:
        try:
            return self._left()
        except Exception:
            return False

    def _status(self) -> str:
        try:
            code = self._code()
        except Exception:
            return ""
        return code.name if isinstance(code, grpc.StatusCode) else ""

    def _done(self, status: str, end: CallEnd) -> None:
        self.tap.done(self._clock(), status, end)
