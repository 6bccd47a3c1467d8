"""One live call as the shells see it: what passes through its (de)serialisers, and what its end means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from shadowmesh.interceptor.handlers import Parts
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.tap import Tap
from shadowmesh.model import Metadata
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.plan import Ticket

# A client's deadline and ours for the same call differ by the network, and by what grpc makes of it on the way: rounded
# up to three digits (up to 1 %, from a second on), and said by an earlier one that is up to 3 % longer, to save bytes
# (timeout_encoding.cc and hpack_encoder.cc in grpc). The wire does not tell a client whose deadline passed from one
# that left: who leaves in the last 5 % of its time counts as the former.
_DEADLINE_SLACK_NS = 5_000_000
_DEADLINE_SLACK = 0.05
# grpc's "no deadline" in seconds is astronomically large on the synchronous server.
_NO_DEADLINE_SECONDS = 1e9
# An interceptor that reads ahead looks at the beginning of a stream; one that reads all of it is not followed.
_MOST_EARLY = 16


class Server(NamedTuple):
    """
    How one kind of server behaves.

    ``left_for_good``: whether ``left`` still tells the truth once a call is over; ``unserializable``: the status grpc
    gives on its own when a response cannot be serialised; ``none_is_empty``: whether grpc sends a response that is
    ``None`` as an empty message.
    """

    left_for_good: bool
    unserializable: grpc.StatusCode
    none_is_empty: bool


AIO = Server(left_for_good=True, unserializable=grpc.StatusCode.UNKNOWN, none_is_empty=True)
SYNC = Server(left_for_good=False, unserializable=grpc.StatusCode.INTERNAL, none_is_empty=False)


class LiveCall:
    """
    Made where a call is sampled. Its (de)serialisers return what the originals return and keep the bytes that pass;
    the tap begins with our behaviour, and of several ends the first stands.

    Until then a single request's bytes wait here; the messages of a request stream are read by the handler, after the
    beginning.
    """

    __slots__ = ("_begun", "_broken", "_code", "_early", "_early_count", "_expires_ns", "_failed_ns", "_later", "_left",
                 "_live", "_metadata", "_method", "_parts", "_request", "_returned", "_server", "_tap",
                 "_ticket")  # fmt: skip

    def __init__(
        self, live: LiveSide, ticket: Ticket, parts: Parts, server: Server, method: str, metadata: Metadata
    ) -> None:
        self._live = live
        self._ticket = ticket
        self._parts = parts
        self._server = server
        self._method = method
        self._metadata = metadata
        self._begun = False
        self._broken = False
        self._returned = False
        self._tap: Tap | None = None
        self._request: bytes | None = None
        self._early: list[bytes] | None = None
        self._early_count = 0
        self._expires_ns: int | None = None
        self._failed_ns: int | None = None
        self._code: Callable[[], Any] | None = None
        self._left: Callable[[], Any] | None = None
        self._later: Callable[[Callable[[], None]], None] | None = None

    # --- the wires -------------------------------------------------------------------------------------------------

    def deserialize(self, data: bytes) -> Any:
        """Stand in for the request deserialiser."""
        parts = self._parts
        if not parts.arity.request_streaming:
            self._request = data
        elif self._tap is not None:
            self._tap.request(data, self._live.clock())
        elif not self._begun:
            self._read_early(data)
        return data if parts.deserialize is None else parts.deserialize(data)

    def serialize(self, message: Any) -> Any:
        """Stand in for the response serialiser."""
        parts, tap = self._parts, self._tap
        try:
            data: Any = message if parts.serialize is None else parts.serialize(message)
        except Exception:
            self._done(self._server.unserializable.name, CallEnd.COMPLETED)
            raise
        if tap is not None:
            if isinstance(data, bytes):
                tap.response(data, self._live.clock())
            elif self._server.none_is_empty:
                tap.response(b"", self._live.clock())
            else:
                self._done(self._server.unserializable.name, CallEnd.COMPLETED)
            if not parts.arity.response_streaming:
                # A single response's bytes are the last of a good call that anybody can see.
                self.completed()
        return data

    def _read_early(self, data: bytes) -> None:
        if self._early is None:
            self._early = []
        if len(self._early) < _MOST_EARLY:
            self._early.append(data)
        self._early_count += 1

    # --- the call --------------------------------------------------------------------------------------------------

    def begin(
        self,
        context: Any,
        *,
        code: Callable[[], Any] | None,
        left: Callable[[], Any] | None,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> bool:
        """
        Our behaviour was called: begin the exchange and return whether there is anything to tell its tap.

        Args:
            code: asks for the status the handler set, ``None`` where it set none; by default the context itself.
            left: whether the client is known to have left: it cancelled, its deadline passed, or the server stops.
            later: calls what it is given when a client who has left is known to have; at once, by default.
        """
        self._begun = True
        try:
            # Before what is left is asked for: a pause in between is not to put the deadline off.
            at_ns = self._live.clock()
            deadline = _time_left(context)
            if deadline is not None:
                self._expires_ns = at_ns + int(deadline * (1 - _DEADLINE_SLACK) * 1e9) - _DEADLINE_SLACK_NS
            tap = self._live.begin(
                self._ticket, self._method, self._parts.arity, self._metadata, self._request, deadline
            )
            self._tap, self._left, self._later = tap, left, later
            # A context that somebody put in between may have no ``code``.
            self._code = getattr(context, "code", None) if code is None else code
            if self._early is not None:
                self._catch_up(tap, self._early)
            return True
        except Exception as error:
            self.fault(error)
            if self._tap is None:
                self._live.refuse(self._ticket, DropReason.NOT_RECORDED)
            self._done("", CallEnd.CUT)
            return False

    def _catch_up(self, tap: Tap, early: list[bytes]) -> None:
        """Tell the tap what an interceptor before ours has read already."""
        for data in early:
            tap.request(data, self._live.clock())
        if self._early_count > len(early):
            tap.requests_lost()
        early.clear()

    def fault(self, error: Exception) -> None:
        """Something of ours went wrong: it is counted and goes no further."""
        self._live.faults.report("interceptor", error)

    def request_end(self) -> None:
        """The handler has read to the end of the requests: the client has half-closed, or left."""
        tap = self._tap
        if tap is None:
            return
        at_ns = self._live.clock()
        try:
            if self._later is not None:
                self._later(lambda: self._requests_ended(tap, at_ns))
                return
        except Exception as error:
            self._live.faults.report("interceptor", error)
        tap.request_end(at_ns)

    def _requests_ended(self, tap: Tap, at_ns: int) -> None:
        if not self._is_left():
            tap.request_end(at_ns)

    def now(self) -> int:
        """Return the call's monotonic clock, nanoseconds."""
        return self._live.clock()

    def waited(self, began_ns: int) -> None:
        """A write that began at ``began_ns`` is over."""
        if self._tap is not None:
            self._tap.stall(self._live.clock() - began_ns)

    def returned(self) -> None:
        """The handler of a single response has returned: its bytes are still to be made, unless it failed by status."""
        self._returned = True
        status = self._status()
        if status and status != "OK":
            self._done(status, CallEnd.COMPLETED)

    def completed(self) -> None:
        """The handler's part is over and went well, or ended with the status it set."""
        self._returned = True
        if self._is_left():
            self.cancelled()
        else:
            self._done(self._status() or "OK", CallEnd.COMPLETED)

    def broken(self) -> None:
        """A write has failed, as it does where the client has left; the server is told of that a little later."""
        self._broken = True

    def dropped(self) -> None:
        """
        Nobody asks for the rest of the responses: the client has left, or somebody between us and grpc has enough,
        and then nobody here can know the status.
        """
        if self.is_gone():
            self.cancelled()
        else:
            self._done("", CallEnd.CUT)

    def is_gone(self) -> bool:
        """Return whether the client is known to have left, or its deadline has passed."""
        return self._expired() or self._is_left()

    def failed(self, *, final: bool = False) -> None:
        """
        The handler raised: by ``abort``, or with a status set. Else an interceptor before ours may make a status of it,
        or an answer, and ``terminated`` tells, unless what we know is ``final``; what nobody catches is UNKNOWN.
        """
        status = self._status()
        if self._is_left():
            self.cancelled()
        elif status in ("", "OK") and not final:
            self._failed_ns = self._live.clock()
        else:
            self._done(_of_failure(status), CallEnd.COMPLETED)

    def cancelled(self) -> None:
        """The client left, its deadline passed, or the server stopped."""
        if self._expired():
            self._done("DEADLINE_EXCEEDED", CallEnd.DEADLINE)
        else:
            self._done("CANCELLED", CallEnd.CANCELLED)

    def terminated(self) -> None:
        """The call is over, whatever we saw of it: the last word where nobody had one."""
        if self._tap is None or not self._tap.open:
            return
        if self._failed_ns is not None:
            self._tap.done(self._failed_ns, _of_failure(self._status()), CallEnd.COMPLETED)
            return
        gone = self._is_left() and (self._server.left_for_good or not self._returned)
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
        if not self._begun:
            self._live.refuse(self._ticket, DropReason.NOT_STARTED)
        elif self._tap is not None:
            self.terminated()

    def _expired(self) -> bool:
        return self._expires_ns is not None and self._live.clock() >= self._expires_ns

    def _is_left(self) -> bool:
        try:
            return self._broken or (self._left is not None and bool(self._left()))
        except Exception:
            return False

    def _status(self) -> str:
        try:
            code = self._code() if self._code is not None else None
        except Exception:
            return ""
        # grpc.aio says 0 where no status was set.
        return code.name if isinstance(code, grpc.StatusCode) else ""

    def _done(self, status: str, end: CallEnd) -> None:
        if self._tap is not None:
            self._tap.done(self._live.clock(), status, end)


def _of_failure(status: str) -> str:
    return status if status not in ("", "OK") else "UNKNOWN"


def _time_left(context: Any) -> float | None:
    """Return the seconds a call has left, ``None`` without a deadline, on every kind of server."""
    # A context that somebody put in between may not know.
    ask = getattr(context, "time_remaining", None)
    remaining: float | None = None if ask is None else ask()
    return remaining if remaining is not None and remaining < _NO_DEADLINE_SECONDS else None
