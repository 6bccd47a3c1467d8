"""
What passes through one live call, turned into frames (pure).

The interceptors' shells tell a tap what they see, from whatever thread saw it; time is an argument. Nothing said
to a tap can raise into the live call, wait, or take more memory than the credit allows: what does not fit is let
go, and the frames say so.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from shadowmesh.mirror.frames import Abandon, Frame, LiveDone, Request, RequestEnd, Response
from shadowmesh.names import DropReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages

FLUSH_MESSAGES = 64
FLUSH_BYTES = 64 * 1024
MESSAGE_BYTES = 128
"""What keeping a message costs beside its bytes: an endless stream of empty messages fills memory too."""
STALL_NS = 50_000_000
"""A write that takes longer has waited for a slow client, not for this process."""


class Room(Enum):
    """How full a carrier may be for these frames to be taken still."""

    NEW = "new"
    """Frames that begin an exchange: the first to be refused."""
    MORE = "more"
    """Frames of an exchange that has begun: they may use the reserve too."""
    END = "end"
    """Frames that end an exchange, never refused; their number is bounded by the exchanges that began."""


class Offer(Protocol):
    """Hands frames to the carrier without waiting and says whether it took them."""

    def __call__(self, frames: tuple[Frame, ...], room: Room) -> bool:
        """Take the frames, or say no."""
        ...


class Capture:
    """
    How many bytes one direction of a call may still keep: a cap per call, and credit shared by all calls.

    A message above ``largest`` is not kept whatever room there is.
    """

    __slots__ = ("_credit", "_left", "_room", "largest")

    def __init__(self, credit: Tokens, limit: int, *, largest: int | None = None) -> None:
        self._credit = credit
        self.largest = limit if largest is None else largest
        self._left = limit
        self._room = 0

    def take(self, size: int, messages: int = 1) -> int | None:
        """
        Return the pages taken for ``messages`` of ``size`` bytes together (0 when the last page had room), ``None`` if
        refused.
        """
        size += messages * MESSAGE_BYTES
        if size > self._left:
            return None
        needed = pages(size - self._room) if size > self._room else 0
        if needed and not self._credit.take(needed):
            return None
        self._left -= size
        self._room += needed * PAGE_BYTES - size
        return needed


class Tap:
    """One call's tap. Every method may be called at any time and in any order; after ``done`` they do nothing."""

    __slots__ = ("_bytes", "_call", "_count", "_credit", "_fault", "_messages", "_offer", "_open", "_request_capture",
                 "_response_capture", "_stall_ns", "_times", "capturing")  # fmt: skip

    def __init__(
        self,
        call: int,
        *,
        offer: Offer,
        credit: Tokens,
        fault: Callable[[Exception], None],
        request_capture: Capture | None,
        response_capture: Capture | None,
    ) -> None:
        self._call = call
        self._offer = offer
        self._credit = credit
        self._fault = fault
        self._request_capture = request_capture
        self._response_capture = response_capture
        self.capturing = response_capture is not None
        self._times: list[int] = []
        self._messages: list[bytes] = []
        self._bytes = 0
        self._stall_ns = 0
        self._count = 0
        # One token: whoever pops it ends the call. A list's pop is atomic, so no lock is held by any thread.
        self._open = [None]

    def request(self, data: bytes, at_ns: int) -> None:
        """A request message of a request stream has arrived."""
        try:
            capture = self._request_capture
            if capture is None or not self._open:
                return
            taken = capture.take(len(data)) if len(data) <= capture.largest else None
            if taken is None:
                self._abandon(DropReason.OVERSIZE)
            elif not self._hand_over((Request(self._call, (at_ns,), (data,), taken),), Room.MORE, taken):
                self._abandon(DropReason.QUEUE_FULL)
        except Exception as error:
            self._fault(error)

    def requests_lost(self) -> None:
        """Request messages have passed that nobody kept."""
        try:
            if self._request_capture is not None and self._open:
                self._abandon(DropReason.OVERSIZE)
        except Exception as error:
            self._fault(error)

    def request_end(self, at_ns: int) -> None:
        """The client has half-closed."""
        try:
            if self._open:
                self._hand_over((RequestEnd(self._call, at_ns),), Room.END)
        except Exception as error:
            self._fault(error)

    def response(self, data: bytes, at_ns: int) -> None:
        """A response message is on its way."""
        try:
            if not self._open:
                return
            self._count += 1
            self._times.append(at_ns)
            if self.capturing and self._too_large(data):
                self.capturing = False
            if self.capturing:
                self._bytes += len(data)
                self._messages.append(data)
            if len(self._times) >= FLUSH_MESSAGES or self._bytes >= FLUSH_BYTES:
                frame = self._flush()
                if not self._hand_over((frame,), Room.MORE, frame.pages):
                    self.capturing = False
        except Exception as error:
            self._fault(error)

    def stall(self, stall_ns: int) -> None:
        """A write has waited this long; what grpc and the scheduler always take for one is not the client's doing."""
        if stall_ns > STALL_NS:
            self._stall_ns += stall_ns

    def done(self, at_ns: int, status: str, end: str) -> None:
        """The call has ended; the first word on it stands."""
        try:
            self._open.pop()
        except IndexError:
            return
        try:
            last = self._flush()
            done = LiveDone(self._call, at_ns, status, end, self._stall_ns, self.capturing, self._count)
            self._hand_over((last, done) if last.times_ns else (done,), Room.END, last.pages)
        except Exception as error:
            self._fault(error)

    @property
    def open(self) -> bool:
        """Whether nobody has ended the call yet."""
        return bool(self._open)

    def _too_large(self, data: bytes) -> bool:
        return self._response_capture is not None and len(data) > self._response_capture.largest

    def _flush(self) -> Response:
        times, messages, size = tuple(self._times), tuple(self._messages), self._bytes
        self._times, self._messages, self._bytes = [], [], 0
        taken = 0
        if messages and self._response_capture is not None:
            granted = self._response_capture.take(size, len(messages))
            if granted is None:
                self.capturing = False
                messages = ()
            else:
                taken = granted
        return Response(self._call, times, messages, taken)

    def _abandon(self, reason: str) -> None:
        self._request_capture = None
        self._hand_over((Abandon(self._call, reason),), Room.END)

    def _hand_over(self, frames: tuple[Frame, ...], room: Room, held: int = 0) -> bool:
        """Offer frames that hold ``held`` pages; what nobody takes gives them back."""
        try:
            if self._offer(frames, room):
                return True
        except Exception as error:
            self._fault(error)
        self._credit.give(held)
        return False
