"""
Feeds an engine from a mailbox, inside the engine's loop.

While frames keep coming the pump looks every few milliseconds, which costs the live side nothing; after a while
without any it sleeps, and the next hand-over wakes it. One wake-up per hand-over would cost more than the tap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import Context

from shadowmesh.mirror.admission import Admit, HandOver
from shadowmesh.mirror.arrivals import Arrivals
from shadowmesh.mirror.carrier import Consumer, Mailbox
from shadowmesh.mirror.tap import Room

INTERVAL = 0.002
"""Seconds between two looks while there is traffic: the most a shadow's start is delayed."""
_IDLE_LOOKS = 25
# A long backlog must not keep the loop from its other work; in the carrier ``loop`` that is the live server's.
_BATCH = 16


class Pump:
    """One mailbox, one engine, one loop."""

    def __init__(self, mailbox: Mailbox, consumer: Consumer, loop: asyncio.AbstractEventLoop, admit: Admit) -> None:
        self._mailbox = mailbox
        self._consumer = consumer
        self._loop = loop
        self._arrivals = Arrivals(admit, mailbox.capacity)
        self._taken: Iterator[HandOver] = iter(())
        # What wakes it is a live call, and asyncio hands its context on from callback to callback and to every task:
        # shadows would run as part of one user's call, and keep what it holds.
        self._context = Context()
        self._asleep = True
        self._looking = False
        self._idle = 0
        self._stopped = False

    def offer(self, frame: HandOver, room: Room, *, inside: bool) -> bool:
        """Queue a frame and wake the pump if it sleeps; ``inside`` says the caller runs in the pump's loop."""
        # A loop that was closed without a drain reads nothing any more.
        if self._stopped or self._loop.is_closed() or not self._mailbox.put(frame, room):
            return False
        if self._asleep:
            # Two threads may both see it asleep; the second wake-up finds it looking.
            self._asleep = False
            if inside:
                self._loop.call_later(INTERVAL, self.wake)
            else:
                self._loop.call_soon_threadsafe(self.wake)
        return True

    def flush(self) -> None:
        """Feed everything that waits, now."""
        while self._feed() or self._take():
            pass

    def finish(self) -> None:
        """Feed everything that waits, now, and hold no call back for its request any more."""
        self.flush()
        self._arrivals.end(self._consumer.feed)

    def stop(self) -> None:
        """Refuse hand-overs from now on."""
        self._stopped = True

    def wake(self) -> None:
        """Look into the mailbox from now on; in the pump's loop only."""
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look, context=self._context)

    def _look(self) -> None:
        # What was left of a batch comes first.
        taken, more = 0, self._feed()
        if not more:
            taken = self._take()
            more = self._feed() or taken == _BATCH
        self._idle = 0 if taken or more else self._idle + 1
        if self._idle < _IDLE_LOOKS:
            self._loop.call_later(0.0 if more else INTERVAL, self._look)
            return
        self._idle = 0
        self._looking = False
        self._asleep = True
        if len(self._mailbox):
            # Put between the last look and falling asleep, by a thread that still saw the pump awake.
            self._asleep = False
            self._loop.call_soon(self.wake)

    def _take(self) -> int:
        """Take the next batch, once the one before is fed; return how many that are."""
        batch = self._mailbox.take(_BATCH)
        self._taken = iter(batch)
        return len(batch)

    def _feed(self) -> bool:
        """Feed what was taken, up to the first request that had to be read; return whether something may be left."""
        return self._arrivals.pass_on(self._taken, self._consumer.feed)
