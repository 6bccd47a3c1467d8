"""What both receivers do with a request: who sent it, is there room, take it in, count what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shadowmesh.errors import DecodeError, OverloadedError, SetAsideError
from shadowmesh.processor.intake import Accepted, Intake, Signal
from shadowmesh.processor.limits import LimitSettings, Place, Room
from shadowmesh.processor.refusal import Refusal, RefusedError
from shadowmesh.processor.tokens import BearerTokens
from shadowmesh.telemetry.faults import Faults

_RETRY_AFTER_DRAIN = 1.0

_CAUSES = {
    Refusal.MALFORMED: "a request that is no OTLP, refused",
    Refusal.UNAUTHENTICATED: "a request without a valid token, refused",
    Refusal.TOO_LARGE: "a request over the size limit or broken off, refused",
    Refusal.TOO_SLOW: "a request that did not arrive in time, refused",
    Refusal.OVERLOADED: "no room for a request, its sender was asked to wait",
}


@dataclass(slots=True)
class Requests:
    """
    How many requests were answered, by answer: ``invalid`` are not OTLP, ``failed`` is our own doing and ``set_aside``
    what failed too often, ``overloaded`` were told to come again, ``refused`` is everything else.
    """

    accepted: int = 0
    invalid: int = 0
    failed: int = 0
    set_aside: int = 0
    overloaded: int = 0
    refused: int = 0


class Reception:
    """
    Stands in front of an intake, on its loop.

    Attributes:
        tokens: one of which a request must carry; ``None`` lets everybody in.
        draining: whether requests are refused because we are about to end.
    """

    def __init__(self, intake: Intake, *, limits: LimitSettings, faults: Faults) -> None:
        self.requests = Requests()
        self.tokens: BearerTokens | None = None
        self.draining = False
        self._intake = intake
        self._room = Room(requests=limits.requests, memory=limits.memory)
        self._faults = faults
        self._tasks: set[asyncio.Task[Accepted | RefusedError]] = set()

    def admit(self, authorization: list[str]) -> Place:
        """
        Return a place for a request of which only the head has been read.

        Args:
            authorization: the values of its header of that name.

        Raises:
            RefusedError: its sender is not known, we are about to end, or there is no room.
        """
        if self.tokens is not None and not self.tokens.know(authorization):
            raise RefusedError(Refusal.UNAUTHENTICATED, "a valid bearer token is needed")
        if self.draining:
            raise _about_to_end()
        return self._room.place()

    async def take(self, signal: Signal, request: bytes, place: Place) -> Accepted:
        """
        Hand a request to the intake, which goes on when the sender leaves: half of it taken in would be worse.

        Raises:
            RefusedError: it was not taken in.
        """
        place.keep()
        task = asyncio.create_task(self._take(signal, request, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            result = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise _about_to_end() from None
            raise
        if isinstance(result, RefusedError):
            raise result
        return result

    def failed(self, error: Exception) -> RefusedError:
        """Return what a sender is told of an error that nobody foresaw, and report it."""
        self._faults.report("receiver", error)
        return RefusedError(Refusal.FAILED, "the request could not be taken in")

    def count(self, refused: RefusedError) -> None:
        """Count a request that was refused."""
        refusal = refused.refusal
        if refusal is Refusal.MALFORMED:
            self.requests.invalid += 1
        elif refusal is Refusal.FAILED:
            self.requests.failed += 1
        elif refusal is Refusal.SET_ASIDE:
            self.requests.set_aside += 1
        elif refusal is Refusal.OVERLOADED:
            self.requests.overloaded += 1
        else:
            self.requests.refused += 1
        cause = _CAUSES.get(refusal)
        if cause is not None and not self.draining:
            self._faults.report("receiver", cause)

    async def drain(self, grace: float) -> None:
        """Refuse whatever comes from now on, and wait ``grace`` seconds for what is being taken in."""
        self.draining = True
        tasks = tuple(self._tasks)
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)

    async def close(self) -> None:
        """Cancel what is still being taken in; its senders were told nothing and keep it."""
        self.draining = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _take(self, signal: Signal, request: bytes, place: Place) -> Accepted | RefusedError:
        """Return a refusal as a value: whoever waited for it may be gone, and a task's error must be looked at."""
        try:
            accepted = await self._intake.take(signal, request)
        except DecodeError as error:
            return RefusedError(Refusal.MALFORMED, str(error))
        except OverloadedError as error:
            return RefusedError(Refusal.OVERLOADED, str(error), retry_after=error.retry_after)
        except SetAsideError as error:
            return RefusedError(Refusal.SET_ASIDE, str(error))
        except Exception as error:  # noqa: BLE001 - the one boundary: the sender must learn that it failed
            return self.failed(error)
        finally:
            place.give_back()
        self.requests.accepted += 1
        return accepted


def _about_to_end() -> RefusedError:
    return RefusedError(Refusal.OVERLOADED, "about to end", retry_after=_RETRY_AFTER_DRAIN)
