"""
What passes through one live call, turned into frames (pure).

The interceptors' shells tell a tap what they see, from whatever thread saw it; time is an argument. Nothing said
to a tap can raise into the live call, wait, or take more memory than the credit allows: what does not fit is let
go, and the frames say so.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

from shadowmesh.mirror.frames import Abandon, Frame, LiveDone, Request, RequestEnd, Response
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages
from shadowmesh.policy.slots import Slot

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
    """Hands a frame to the carrier without waiting and says whether it took it."""

    def __call__(self, frame: Frame, room: Room, /) -> bool:
        """Take the frame, or say no."""
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

    def give(self, taken: int) -> None:
        """Give pages back: what they were taken for is let go."""
        self._credit.give(taken)

    def refusal(self, size: int) -> DropReason:
        """Return why a message of ``size`` bytes was refused."""
        if size > self.largest:
            return DropReason.OVERSIZE
        return DropReason.OVERSIZE_CALL if size + MESSAGE_BYTES > self._left else DropReason.CAPTURE_FULL


class Outlet(NamedTuple):
    """
    Where the taps of a process lead: what takes their frames, the credit their captured bytes hold, who is told of
    errors, and the caps of one call: bytes per direction, and bytes of one message.
    """

    offer: Offer
    credit: Tokens
    fault: Callable[[Exception], None]
    limit: int
    largest: int

    def capture(self) -> Capture:
        """Return the account of one direction of one call."""
        return Capture(self.credit, self.limit, largest=self.largest)


def _failed(status: str, end: str) -> bool | None:
    """Return whether a live call failed; ``None`` when nobody can know, as when its client left."""
    if end == CallEnd.DEADLINE:
        return True
    return None if end != CallEnd.COMPLETED or not status else status != "OK"


class Tap:
    """One call's tap. Every method may be called at any time and in any order; after ``done`` they do nothing."""

    __slots__ = ("_began_ns", "_bytes", "_call", "_count", "_messages", "_open", "_outlet", "_request_capture",
                 "_response_capture", "_slot", "_stall_ns", "_times", "capturing")  # fmt: skip

    def __init__(
        self,
        call: int,
        outlet: Outlet,
        requests: bool,
        responses: bool,
        slot: Slot | None = None,
        began_ns: int = 0,
    ) -> None:
        """
        Make the tap of one call.

        Args:
            requests: whether the messages of a request stream are kept.
            responses: whether response messages are kept.
            slot: the harm guard's, which is told how long the call took and whether it failed.
            began_ns: when it began.
        """
        self._slot = slot
        self._began_ns = began_ns
        self._call = call
        self._outlet = outlet
        self._request_capture = outlet.capture() if requests else None
        self._response_capture: Capture | None = None
        self.capturing = responses
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
                self._abandon(capture.refusal(len(data)))
            elif not self._hand_over(Request(self._call, (at_ns,), (data,), taken), Room.MORE, taken):
                self._abandon(DropReason.QUEUE_FULL)
        except Exception as error:
            self._outlet.fault(error)

    def requests_lost(self) -> None:
        """Request messages have passed that nobody kept."""
        try:
            if self._request_capture is not None and self._open:
                self._abandon(DropReason.OVERSIZE)
        except Exception as error:
            self._outlet.fault(error)

    def request_end(self, at_ns: int) -> None:
        """The client has half-closed."""
        try:
            if self._open:
                self._hand_over(RequestEnd(self._call, at_ns), Room.END)
        except Exception as error:
            self._outlet.fault(error)

    def response(self, data: bytes, at_ns: int) -> None:
        """A response message is on its way."""
        try:
            if not self._open:
                return
            self._count += 1
            times = self._times
            times.append(at_ns)
            if self.capturing:
                size = len(data)
                if size > self._outlet.largest:
                    self.capturing = False
                else:
                    self._bytes += size
                    self._messages.append(data)
            if len(times) >= FLUSH_MESSAGES or self._bytes >= FLUSH_BYTES:
                frame = Response(self._call, *self._flush())
                if not self._hand_over(frame, Room.MORE, frame.pages):
                    self.capturing = False
        except Exception as error:
            self._outlet.fault(error)

    def stall(self, stall_ns: int) -> None:
        """A write has waited this long; what grpc and the scheduler always take for one is not the client's doing."""
        if stall_ns > STALL_NS:
            self._stall_ns += stall_ns

    def mute(self) -> None:
        """
        Keep no more bytes: nobody wants them. Times and the end are still told.

        From any thread, and nothing is locked: what the call's own thread is keeping at this moment may be kept once
        more, and goes on with the next frame as what was kept before; whoever does not know the call gives it back.
        """
        self.capturing = False
        self._request_capture = None
        self._messages = []

    def done(self, at_ns: int, status: str, end: str) -> None:
        """The call has ended; the first word on it stands."""
        try:
            self._open.pop()
        except IndexError:
            return
        try:
            if self._slot is not None:
                self._slot.note(at_ns - self._began_ns - self._stall_ns, _failed(status, end))
            times, messages, taken = self._flush()
            self._hand_over(
                LiveDone(
                    self._call, at_ns, status, end, self._stall_ns, self.capturing, self._count, times, messages, taken
                ),
                Room.END,
                taken,
            )
        except Exception as error:
            self._outlet.fault(error)

    @property
    def open(self) -> bool:
        """Whether nobody has ended the call yet."""
        return bool(self._open)

    def _flush(self) -> tuple[tuple[int, ...], tuple[bytes, ...], int]:
        """Return the times and messages that have gathered, and the pages taken for them."""
        times, messages, size = self._times, self._messages, self._bytes
        if not times:
            return (), (), 0
        self._times, self._messages, self._bytes = [], [], 0
        if not messages:
            return tuple(times), (), 0
        capture = self._response_capture
        if capture is None:
            capture = self._response_capture = self._outlet.capture()
        taken = capture.take(size, len(messages))
        if taken is None:
            self.capturing = False
            return tuple(times), (), 0
        return tuple(times), tuple(messages), taken

    def _abandon(self, reason: str) -> None:
        self._request_capture = None
        self._hand_over(Abandon(self._call, reason), Room.END)

    def _hand_over(self, frame: Frame, room: Room, held: int = 0) -> bool:
        """Offer a frame that holds ``held`` pages; what nobody takes gives them back."""
        try:
            if self._outlet.offer(frame, room):
                return True
        except Exception as error:
            self._outlet.fault(error)
        self._outlet.credit.give(held)
        return False
