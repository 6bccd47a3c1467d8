"""
The carrier ``process``: the engine runs in worker processes, and the live process only hands frames over.

Live calls put frames into a mailbox, as with every carrier. One thread of the live process wakes every few
milliseconds while there is traffic, encodes what has gathered and writes it to the workers' sockets without ever
waiting for them. A call stays with one worker. A worker that dies is started anew, after a while that doubles; what it
held is given back and counted as lost.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from shadowmesh.mirror.admission import Admit, HandOver
from shadowmesh.mirror.carrier import MakeConsumer, Receive
from shadowmesh.mirror.frames import Frame, Setup, State
from shadowmesh.mirror.link import Link
from shadowmesh.mirror.tap import Room
from shadowmesh.telemetry.faults import Faults

INTERVAL = 0.01
"""Seconds between two looks while there is traffic: the most a hand-over waits, and 100 wake-ups a second at most."""
FINISH_SECONDS = 8.0
"""What a draining worker gets beyond its grace, to export what it has."""
_IDLE_LOOKS = 50
_LONGEST_SLEEP = 5.0


class ProcessCarrier:
    """
    Runs engines in ``workers`` child processes, started by the first call in each process that has one.

    Args:
        setup: makes what a worker needs to build its own engine; called in the process it serves, never before a fork.
    """

    def __init__(
        self,
        make_consumer: MakeConsumer,
        receive: Receive,
        *,
        first: tuple[Frame, ...],
        queue_items: int,
        admit: Admit,
        setup: Callable[[], bytes],
        workers: int,
        faults: Faults,
    ) -> None:
        del make_consumer  # The engine is the worker's to make.
        self._receive = receive
        self._first = first
        self._setup = setup
        self._faults = faults
        self.links = tuple(
            Link(
                self._came_back,
                self._greeting,
                number=number,
                queue_items=max(1, queue_items // workers),
                admit=admit,
                faults=faults,
                clock=time.monotonic,
            )
            for number in range(workers)
        )
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_up: socket.socket | None = None
        self._woken: socket.socket | None = None
        self._asleep = False
        self._stopped = False
        self._grace: float | None = None
        self._config = b""

    # --- the live side ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, once; it starts the workers, which no live call waits for."""
        if self._thread is None and not self._stopped and self._starting.acquire(blocking=False):
            try:
                self._wake_up, self._woken = socket.socketpair()
                self._wake_up.setblocking(False)
                self._woken.setblocking(False)
                thread = threading.Thread(target=self._run, name="shadowmesh-carrier", daemon=True)
                thread.start()
            except Exception:
                # No descriptor or no thread now: the next call tries again.
                self._close()
                self._starting.release()
                raise
            self._thread = thread

    def offer(self, frame: HandOver, room: Room) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        # Another live thread may be starting the carrier's right now, which begins with a look into the mailbox.
        if self._stopped or not self._starting.locked():
            return False
        if not frame.call:
            return self._tell_all(frame, room)
        link = self.links[frame.call % len(self.links)]
        # What nobody would read is better counted as not recorded now than as lost in a moment.
        refused = (link.down and room is not Room.END) or (link.leaving and room is Room.NEW)
        if refused or not link.mailbox.put(frame, room):
            return False
        if self._asleep:
            self._asleep = False
            self._wake()
        if self._over():
            # The thread may have taken its last look before this was put.
            link.settle()
        return True

    def _tell_all(self, frame: HandOver, room: Room) -> bool:
        """Hand over what is of no call to every worker that runs."""
        told = [link.mailbox.put(frame, room) for link in self.links if not link.down]
        if self._asleep:
            self._asleep = False
            self._wake()
        return all(told)

    def _over(self) -> bool:
        return self._stopped

    def reload(self, frame: Frame) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        self._first = (frame,)
        for link in self.links:
            link.mailbox.put(frame, Room.END)
        self._wake()

    @property
    def bound(self) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        return self._thread is not None

    def queued(self) -> int:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        return sum(len(link.mailbox) for link in self.links)

    @property
    def unconfirmed(self) -> int:
        """How many calls the workers have not accounted for."""
        return sum(link.held for link in self.links)

    async def drain(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`; may be awaited in any loop."""
        await asyncio.to_thread(self.drain_blocking, grace)

    def drain_blocking(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._thread is None:
            self._stopped = True
            return
        if self._grace is None:
            self._grace = grace
            self._wake()
        self._thread.join(grace + 2 * FINISH_SECONDS)

    def forget(self) -> None:
        """Close what a forked process has inherited."""
        self._stopped = True
        for link in self.links:
            link.forget()
        self._close()

    def _close(self) -> None:
        for one in (self._wake_up, self._woken):
            if one is not None:
                one.close()

    def _wake(self) -> None:
        # Full is awake enough, and closed is over.
        with suppress(OSError):
            if self._wake_up is not None:
                self._wake_up.send(b"\0")

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._config = self._setup()
            idle = 0
            while self._grace is None:
                for link in self.links:
                    link.start()
                idle = 0 if sum(link.turn() for link in self.links) else idle + 1
                if idle < _IDLE_LOOKS:
                    time.sleep(INTERVAL)
                else:
                    self._sleep()
            self._finish(self._grace)
        except Exception as error:
            self._faults.report("carrier", error)
        finally:
            # First, so that no live thread writes off what a worker's last words are about.
            for link in self.links:
                link.claim()
            self._stopped = True
            for link in self.links:
                try:
                    link.end()
                except Exception as error:
                    self._faults.report("carrier end", error)
            self._close()

    def _sleep(self) -> None:
        """Wait until somebody has something, or a worker is to be started."""
        self._asleep = True
        if any(len(link.mailbox) and not link.waits_to_write for link in self.links):
            # Put between the last look and falling asleep, by a thread that still saw us awake.
            self._asleep = False
            return
        now = time.monotonic()
        due = [link.worker.due - now for link in self.links if link.worker.socket is None]
        waiting = select.poll()
        if self._woken is not None:
            waiting.register(self._woken, select.POLLIN)
        for link in self.links:
            if link.worker.socket is not None:
                waiting.register(link.worker.socket, select.POLLIN | (select.POLLOUT if link.waits_to_write else 0))
        waiting.poll(max(min([_LONGEST_SLEEP, *due]), 0.0) * 1e3)
        self._asleep = False
        with suppress(BlockingIOError):
            if self._woken is not None:
                self._woken.recv(4096)

    def _finish(self, grace: float) -> None:
        """Let every worker finish; one that does not end in time is ended."""
        until = time.monotonic() + grace + FINISH_SECONDS
        for link in self.links:
            if len(link.mailbox):
                # A drain may come before the first look.
                link.start()
            link.drain(grace)
        while time.monotonic() < until and any(link.worker.socket is not None for link in self.links):
            for link in self.links:
                link.turn()
            time.sleep(INTERVAL)

    def _greeting(self) -> tuple[Frame, ...]:
        return (Setup(0, self._config), *self._first)

    def _came_back(self, frame: Frame) -> None:
        if isinstance(frame, State):
            # Closed while any worker says so: what one has found out about a target holds for all.
            reasons = [link.closed(frame.experiment, frame.target) for link in self.links]
            frame = frame._replace(closed=next(filter(None, reasons), frame.closed))
        self._receive(frame)
