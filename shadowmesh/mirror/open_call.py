"""One call between its beginning and its record: the shadows that run, and what stops them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.frames import LiveDone
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.occupancy import Mark
from shadowmesh.mirror.shadow import Shadow
from shadowmesh.mirror.targets import Experiment, Target
from shadowmesh.names import CallEnd
from shadowmesh.policy.breaker import succeeded
from shadowmesh.policy.experiment import OnLiveCancel

BESIDE_END_NS = 1_000_000
"""
For so long the shadows are not told of the end of a request stream: grpc shows a handler the requests of a client who
has left as if he had ended them, and that he has left right after. Who was told the end would take what he has for all
there is. Longer would catch more, and every upload of a shadow takes so much longer than live's.
"""


class Flight(NamedTuple):
    """One shadow that runs: at which target, since when it counts there, and by which pass of its breaker."""

    shadow: Shadow
    target: Target
    mark: Mark
    admitted: int

    def land(self, now_ns: int) -> float:
        """Count it out; return how many ran beside it, on average."""
        peer, seen = self.target.peer, self.shadow.observation
        # Of several exchanges one that failed says more of the backend than those that did not.
        failed = (one for one in self.shadow.further if succeeded(one.status, one.end) is False)
        peer.guard.settle(self.admitted, next(failed, seen), now_ns)
        return peer.leave(now_ns, self.mark)


class OpenCall:
    """Kept until the live leg and every shadow have ended; ``pages`` is the credit it holds."""

    def __init__(self, record: CallRecord, experiment: Experiment, mark: Mark) -> None:
        self.record = record
        self.experiment = experiment
        self.mark = mark
        self.running: dict[str, Flight] = {}
        self.pages = 0
        self.live_done = False
        self._half_closed = False
        self._ended_ns: int | None = None
        self._half_closing: asyncio.TimerHandle | None = None
        self._stops: list[asyncio.TimerHandle] = []

    @property
    def over(self) -> bool:
        """Whether nothing of it is missing any more."""
        return self.live_done and not self.running

    def launched(self, name: str, flight: Flight) -> None:
        """Take in a shadow that was started."""
        self.running[name] = flight
        self.record.shadows[name] = flight.shadow.observation

    def request(self, times_ns: Sequence[int], messages: Sequence[bytes]) -> None:
        """Keep request messages, and send them to every shadow."""
        self.record.requests.extend(messages)
        self.record.live.request_times.extend(times_ns)
        # A gate may end a shadow at once.
        for flight in tuple(self.running.values()):
            for message in messages:
                flight.shadow.send(message)

    def requests_ended(self, at_ns: int, now_ns: int) -> None:
        """The live handler has seen the end of a request stream, which the shadows are told if the call goes on."""
        self._ended_ns = at_ns
        left = at_ns + BESIDE_END_NS - now_ns
        if left <= 0:
            self.half_close()
        else:
            self._half_closing = asyncio.get_running_loop().call_later(left / 1e9, self.half_close)

    def half_close(self) -> None:
        """Send no request message any more."""
        self._forget_half_close()
        self._half_closed = True
        for flight in tuple(self.running.values()):
            flight.shadow.half_close()

    def live_ended(self, frame: LiveDone, now_ns: int) -> None:
        """Write the end of the live leg, and let the shadows end as it demands."""
        live = self.record.live
        live.add_responses(frame.times_ns, frame.messages)
        live.ended_ns, live.status, live.end, live.stall_ns = frame.at_ns, frame.status, frame.end, frame.stall_ns
        live.captured = live.captured and frame.captured
        # A batch that the carrier refused took its times with it; the count is exact all the same.
        live.response_count = max(live.response_count, frame.total)
        live.concurrency = self.experiment.occupancy.leave(frame.at_ns, self.mark)
        self.live_done = True
        streaming = self.record.begin.arity.request_streaming
        if live.end != CallEnd.COMPLETED:
            self._cut_short(now_ns)
        elif streaming:
            # The live server is done with the call, half-closed or not: no request message follows.
            self.half_close()
        elif not self.record.requests:
            # The request was never seen: there is nothing to send to the shadows that wait for it.
            self.stop(CallEnd.CUT)

    def stop(self, end: CallEnd) -> None:
        """Cancel every shadow that runs."""
        for flight in tuple(self.running.values()):
            flight.shadow.stop(end)

    def cut(self, now_ns: int) -> list[str]:
        """End every leg here and now, whatever its runner still does; return whose shadows were running."""
        if not self.live_done:
            self.record.live.ended_ns, self.record.live.end = now_ns, CallEnd.CUT
            self.live_done = True
        names = list(self.running)
        for name, flight in self.running.items():
            flight.target.peer.leave(now_ns, flight.mark)
            seen, further = flight.shadow.observation, flight.shadow.further
            over = bool(further and seen.end)
            self.record.shadows[name] = seen if over else _cut_off(seen, now_ns)
            self.record.further[name] = [one if one.end else _cut_off(one, now_ns) for one in further]
        self.running.clear()
        return names

    def close(self) -> None:
        """Forget the timers."""
        self._forget_half_close()
        for handle in self._stops:
            handle.cancel()

    def _forget_half_close(self) -> None:
        if self._half_closing is not None:
            self._half_closing.cancel()
            self._half_closing = None

    def _cut_short(self, now_ns: int) -> None:
        live = self.record.live
        if self._ended_ns is not None and live.ended_ns - self._ended_ns >= BESIDE_END_NS:
            self.half_close()
        self._forget_half_close()
        for flight in tuple(self.running.values()):
            if flight.target.settings.on_live_cancel is OnLiveCancel.FOLLOW:
                self._follow(flight.shadow, now_ns)
            elif self.record.begin.arity.request_streaming:
                # Nothing more will come of the request; what there is of it is all the shadow can be asked.
                flight.shadow.observation.curtailed = not self._half_closed
                flight.shadow.half_close()
            elif not self.record.requests:
                flight.shadow.stop(CallEnd(live.end))

    def _follow(self, shadow: Shadow, now_ns: int) -> None:
        """Stop the shadow at the age at which the live leg ended, so that both ran equally long."""
        live = self.record.live
        left = shadow.observation.started_ns + live.ended_ns - live.started_ns - now_ns
        end = CallEnd(live.end)
        if left <= 0:
            shadow.stop(end)
        else:
            self._stops.append(asyncio.get_running_loop().call_later(left / 1e9, shadow.stop, end))


def _cut_off(seen: Observation, now_ns: int) -> Observation:
    """Return what was seen by now. The runner may still write to its own, from a thread: that is left alone."""
    return Observation(
        span_id=seen.span_id,
        # 0 while it waits for its request.
        started_ns=seen.started_ns or now_ns,
        ended_ns=now_ns,
        end=CallEnd.CUT,
        captured=False,
        sent=seen.sent,
    )
