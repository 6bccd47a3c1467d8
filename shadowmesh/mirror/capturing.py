"""
Live calls → captured calls: what sits behind a carrier in the place of an engine, and calls nobody.

It runs in a thread of its own. A disk that is slow fills the carrier's mailbox, which sheds; no live call waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from shadowmesh.mirror.capture_files import CaptureFiles
from shadowmesh.mirror.capture_format import captured_call
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.frames import Abandon, Begin, Credit, Frame, LiveDone, Outcome, Reload, Request, Response
from shadowmesh.mirror.observation import Observation
from shadowmesh.names import CallEnd, CaptureResult
from shadowmesh.telemetry.faults import Faults

_TIDY_SECONDS = 60.0


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
    """
    Assembles calls and writes them when they have ended; a :class:`~shadowmesh.mirror.carrier.Consumer`.

    Attributes:
        results: how many calls were written, and how many could not be.
    """

    def __init__(self, reply: Receive, files: CaptureFiles, faults: Faults) -> None:
        self.results: Counter[CaptureResult] = Counter()
        self._reply = reply
        self._files = files
        self._faults = faults
        self._open: dict[int, _Open] = {}
        self._quiet = asyncio.Event()
        self._tidying: asyncio.TimerHandle | None = None

    def feed(self, frame: Frame) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Consumer`."""
        try:
            self._take(frame)
        except Exception as error:
            self._faults.report("capture", error)

    async def drain(self, grace: float) -> None:
        """Give what is open ``grace`` seconds to end, then write it as it stands."""
        with suppress(TimeoutError):
            while self._open:
                self._quiet.clear()
                await asyncio.wait_for(self._quiet.wait(), grace)
        self.end_now()

    def end_now(self) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Consumer`."""
        for serial, call in tuple(self._open.items()):
            call.live.end, call.live.ended_ns = CallEnd.CUT, call.live.last_response_ns or call.begin.at_ns
            self._end(serial, call)

    async def close(self) -> None:
        """Close the file."""
        if self._tidying is not None:
            self._tidying.cancel()
        self.end_now()
        self._files.close()

    def forget(self) -> None:
        """Let go, in a forked process, of the parent's file."""
        self._files.close()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Begin):
            # What is not sampled, or did not fit, is counted already.
            if any(not admission.drop_reason for admission in frame.admissions):
                self._open[frame.call] = _Open(frame)
            return
        if isinstance(frame, Reload):
            self._tidy()
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
        if not self._open:
            self._quiet.set()
        try:
            made = captured_call(begin, call.requests, call.live, requests_complete=call.complete)
            self._files.write(made)
            self.results[CaptureResult.WRITTEN if made.complete else CaptureResult.INCOMPLETE] += 1
        except OSError as error:
            self.results[CaptureResult.FAILED] += 1
            self._faults.report("capture", error.strerror or str(error))
        except Exception:
            self.results[CaptureResult.FAILED] += 1
            raise
        finally:
            for admission in begin.admissions:
                if not admission.drop_reason:
                    self._reply(Outcome(serial, begin.experiment, admission.target))
            self._reply(Credit(serial, call.pages))

    def _tidy(self) -> None:
        try:
            self._files.tidy()
        except OSError as error:
            self._faults.report("capture", error.strerror or str(error))
        self._tidying = asyncio.get_running_loop().call_later(_TIDY_SECONDS, self._tidy)
