"""
What a worker process has been sent and has not accounted for yet (pure).

The live process owns this account: a worker that is killed says nothing any more, and what it held has to be given
back and counted all the same.

A worker says together what is true only together, so this account is exact to the exchange for all it had said when it
died. What it had exported and not said is counted as lost though it arrived: what its receiver took in the moment
before, and what gathered while the live process did not read.
"""

from __future__ import annotations

from shadowmesh.mirror.frames import (
    Begin,
    Credit,
    Credits,
    Extra,
    Frame,
    LiveDone,
    Lost,
    Outcome,
    Outcomes,
    Request,
    Response,
    Settled,
)
from shadowmesh.names import LossReason
from shadowmesh.policy.plan import Admission


class _Call:
    """``exchanges`` are those whose spans nobody has accounted for; none is left of a call that is settled."""

    __slots__ = ("admissions", "exchanges", "experiment", "over", "pages")

    def __init__(self, experiment: str, admissions: tuple[Admission, ...], pages: int) -> None:
        self.experiment = experiment
        self.admissions = admissions
        self.pages = pages
        self.exchanges = 1
        self.over: list[str] = []


class Held:
    """The calls of one worker, from their ``Begin`` until their spans are exported or known to be lost."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}

    def __len__(self) -> int:
        """Return how many calls are not accounted for."""
        return len(self._calls)

    def sent(self, frame: Frame) -> bool:
        """Note a frame on its way to the worker; ``False`` where it is of a call that the worker does not know."""
        if isinstance(frame, Begin):
            # Its content is with the worker now.
            self._calls[frame.call] = _Call(frame.experiment, frame.admissions, frame.pages)
            return True
        call = self._calls.get(frame.call)
        if call is None:
            return False
        if isinstance(frame, (LiveDone, Response, Request)):
            call.pages += frame.pages
        return True

    def came_back(self, frame: Frame) -> None:
        """Note a frame from the worker."""
        calls = self._calls
        if isinstance(frame, Outcomes):
            for number in frame.calls:
                if (call := calls.get(number)) is not None:
                    call.over.append(frame.target)
        elif isinstance(frame, Credits):
            for number, pages in zip(frame.calls, frame.pages, strict=True):
                if (call := calls.get(number)) is not None:
                    call.pages -= pages
                    self._forget_if_settled(number, call)
        elif isinstance(frame, Settled):
            for number, exchanges in zip(frame.calls, frame.exchanges, strict=True):
                if (call := calls.get(number)) is not None:
                    call.exchanges -= exchanges
                    self._forget_if_settled(number, call)
        elif isinstance(frame, Extra) and (call := calls.get(frame.call)) is not None:
            call.exchanges += frame.exchanges

    def gave_back(self, number: int, pages: int) -> None:
        """Note that the worker never got so many pages of a call that it has."""
        if (call := self._calls.get(number)) is not None:
            call.pages -= pages

    def _forget_if_settled(self, number: int, call: _Call) -> None:
        # A frame that was on its way when the worker ended the call by force still holds its pages.
        if call.exchanges <= 0 and call.pages <= 0:
            del self._calls[number]

    def write_off(self, one: int | None = None) -> list[Frame]:
        """The worker is gone (or has no part in ``one`` call): return what it would have had to say, and forget it."""
        calls = self._calls if one is None else {one: self._calls[one]} if one in self._calls else {}
        said: list[Frame] = []
        for number, call in calls.items():
            running = [target for target, _, reason in call.admissions if not reason and target not in call.over]
            said += [Outcome(number, call.experiment, target) for target in running]
            if call.pages:
                said.append(Credit(number, call.pages))
            if call.exchanges > 0:
                said += [
                    Lost(number, call.experiment, target, LossReason.WORKER.value, call.exchanges)
                    for target, _, _ in call.admissions
                ]
        for number in tuple(calls):
            del self._calls[number]
        return said
