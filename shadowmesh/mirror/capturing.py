"""
Live calls → captured calls: what sits behind a carrier in the place of an engine, and calls nobody.

It runs in a thread of its own. A disk that is slow fills the carrier's mailbox, which sheds; no live call waits.
"""

from __future__ import annotations

from shadowmesh.mirror.admission import Admit
from shadowmesh.mirror.capture_files import CaptureFiles
from shadowmesh.mirror.capture_format import captured_call
from shadowmesh.mirror.carrier import MakeConsumer, Receive
from shadowmesh.mirror.frames import Abandon, Begin, Credit, Frame, LiveDone, Outcome, Request, Response
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import CallEnd
from shadowmesh.telemetry.faults import Faults


class _Open:
    """A call that has not ended."""

    __slots__ = ("begin", "complete", "live", "pages", "requests")

    def __init__(self, begin: Begin) -> None:
        self.begin = begin
        self.complete = True
        self.pages = begin.pages
        self.requests = [] if begin.request is None else [begin.request]
        self.live = Observation(started_ns=begin.at_ns, request_times=[begin.at_ns] if self.requests else [])


class Capturing:
    """Assembles calls and writes them when they have ended; a :class:`~shadowmesh.mirror.carrier.Consumer`."""

    def __init__(self, reply: Receive, files: CaptureFiles, faults: Faults) -> None:
        self.written = 0
        self._reply = reply
        self._files = files
        self._faults = faults
        self._open: dict[int, _Open] = {}

    def feed(self, frame: Frame) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Consumer`."""
        try:
            self._take(frame)
        except Exception as error:
            self._faults.report("capture", error)

    async def drain(self, grace: float) -> None:
        """Write what is open as it stands: the server has given its calls their time already."""
        del grace
        self.end_now()

    def end_now(self) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Consumer`."""
        for serial, call in tuple(self._open.items()):
            call.live.end, call.live.ended_ns = CallEnd.CUT, call.live.last_response_ns or call.begin.at_ns
            self._end(serial, call)

    async def close(self) -> None:
        """Close the file."""
        self.end_now()
        self._files.close()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Begin):
            # What is not sampled, or did not fit, is counted already.
            if any(not admission.drop_reason for admission in frame.admissions):
                self._open[frame.call] = _Open(frame)
            return
        call = self._open.get(frame.call)
        if call is None:
            if isinstance(frame, (Request, Response, LiveDone)) and frame.pages:
                self._reply(Credit(frame.call, frame.pages))
            return
        if isinstance(frame, Request):
            call.pages += frame.pages
            call.requests.extend(frame.messages)
            call.live.request_times.extend(frame.times_ns)
        elif isinstance(frame, Response):
            call.pages += frame.pages
            call.live.add_responses(frame.times_ns, frame.messages)
        elif isinstance(frame, Abandon):
            call.complete = False
        elif isinstance(frame, LiveDone):
            call.pages += frame.pages
            live = call.live
            live.add_responses(frame.times_ns, frame.messages)
            live.ended_ns, live.status, live.end = frame.at_ns, frame.status, frame.end
            live.captured = live.captured and frame.captured
            self._end(frame.call, call)

    def _end(self, serial: int, call: _Open) -> None:
        del self._open[serial]
        begin = call.begin
        try:
            self._files.write(captured_call(begin, call.requests, call.live, requests_complete=call.complete))
            self.written += 1
        except OSError as error:
            self._faults.report("capture", error)
        finally:
            for admission in begin.admissions:
                if not admission.drop_reason:
                    self._reply(Outcome(serial, begin.experiment, admission.target))
            self._reply(Credit(serial, call.pages))


class Capture:
    """Captures the calls of one mesh; its ``carrier`` is what the mesh is made with."""

    def __init__(self, files: CaptureFiles) -> None:
        self.faults = Faults()
        self._files = files
        self._capturing: Capturing | None = None

    @property
    def written(self) -> int:
        """How many calls are in files."""
        return 0 if self._capturing is None else self._capturing.written

    def tidy(self) -> None:
        """Delete what is too old, from any thread."""
        self._files.tidy()

    def carrier(
        self, make_consumer: MakeConsumer, receive: Receive, *, first: tuple[Frame, ...], queue_items: int, admit: Admit
    ) -> ThreadCarrier:
        """Make the carrier; see :class:`~shadowmesh.mirror.carrier.MakeCarrier`."""
        del make_consumer
        return ThreadCarrier(self._make, receive, first=first, queue_items=queue_items, admit=admit)

    def _make(self, reply: Receive) -> Capturing:
        self._capturing = Capturing(reply, self._files, self.faults)
        return self._capturing
