"""One worker of the carrier ``process``, as the live process sees it: what it is sent, says, and leaves behind."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from shadowmesh.errors import FrameError
from shadowmesh.mirror.admission import Admit
from shadowmesh.mirror.arrivals import Arrivals
from shadowmesh.mirror.carrier import Mailbox, Receive
from shadowmesh.mirror.codec import Decoder, encode
from shadowmesh.mirror.frames import Begin, Credit, Drain, Frame, Left, LiveDone, Request, Response, State
from shadowmesh.mirror.held import Held
from shadowmesh.mirror.stand_in import stand_ins
from shadowmesh.mirror.worker_process import WorkerProcess
from shadowmesh.names import DropReason
from shadowmesh.telemetry.faults import Faults

# Encoded bytes that wait for the socket; beyond, frames stay in the mailbox, which is bounded.
_MOST_WAITING = 256 * 1024
# Of a settling by another thread, which is short.
_SETTLING_SECONDS = 0.001
_READ = 256 * 1024
# Pieces of that size written in one turn, as long as the worker takes them.
_MOST_PIECES = 16


class Link:
    """
    One worker and the way to it: all but ``mailbox``, ``settle`` and the reading of the two flags is the carrier's own.

    The flags and ``settle`` are for any thread, and the mailbox has two ends.

    Attributes:
        worker: its process, and those that follow it.
        down: no worker runs, and none will for a while.
        leaving: the worker finishes what it has and takes no new call.

    Args:
        receive: gets what the worker says, and what it would have said had it not died.
        number: tells the links of a carrier apart.
        first: the frames every new worker must see first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        receive: Receive,
        first: Callable[[], tuple[Frame, ...]],
        *,
        number: int = 0,
        queue_items: int,
        admit: Admit,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self.mailbox = Mailbox(queue_items)
        self.worker = WorkerProcess(clock)
        self.down = False
        self.leaving = False
        self._number = number
        self._receive = receive
        self._first = first
        self._arrivals = Arrivals(admit, queue_items)
        self._faults = faults
        self._clock = clock
        self._held = Held()
        self._closed: dict[tuple[str, str], State] = {}
        self._decoder = Decoder()
        self._out = bytearray()
        self._ending = False
        # One token: whoever pops it settles, so that no two threads do.
        self._settling = deque((None,), maxlen=1)
        self._claimed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self.worker.pid

    @property
    def restarts(self) -> int:
        """How many workers have fallen."""
        return self.worker.restarts

    @property
    def held(self) -> int:
        """How many calls the worker has not accounted for."""
        return len(self._held)

    @property
    def waits_to_write(self) -> bool:
        """Whether encoded frames wait for the worker to read."""
        return bool(self._out)

    def closed(self, experiment: str, target: str) -> str:
        """Return why the worker wants no call for a target now; empty where it takes them."""
        state = self._closed.get((experiment, target))
        return "" if state is None else state.closed

    def start(self) -> None:
        """Start the worker if none runs and its back-off is over."""
        try:
            if not self.worker.start():
                return
        except OSError as error:
            self._fail(error)
            return
        self.down = self.leaving = False
        self._decoder = Decoder()
        self._out = bytearray(b"".join(map(encode, self._first())))

    def turn(self) -> bool:
        """Hand over what waits and take what has come back; return whether anything moved."""
        # Read first: what a worker said before it ended is true all the same, and writing to it would only fail.
        moved = self._read()
        for _ in range(_MOST_PIECES):
            handed = self._hand_over()
            wrote = self._write()
            moved |= handed or wrote
            if not wrote or self._out:
                break
        if not moved and self.worker.ended:
            # Somebody else holds its end of the socket open: without this we would wait for ever.
            self._fail(ConnectionError("the worker has ended"))
        return moved

    def drain(self, grace: float) -> None:
        """Let the worker finish what it has within ``grace`` seconds, and end."""
        self._ending = True
        self._hand_over(limit=None)
        self._out += encode(Drain(0, grace))

    def claim(self) -> None:
        """Keep the account from being settled by others until :meth:`end` does it; waits for whoever does it now."""
        while not self._claimed:
            try:
                self._settling.pop()
                self._claimed = True
            except IndexError:
                time.sleep(_SETTLING_SECONDS)

    def end(self) -> None:
        """End a worker that has not ended itself, and settle its account."""
        try:
            self.worker.kill()
            self._bury()
        finally:
            if self._claimed:
                self._claimed = False
                self._settling.append(None)
            self.settle()

    def settle(self) -> None:
        """Account for what waits, where no worker will ever take it; from any thread, without waiting."""
        while len(self.mailbox) or len(self._arrivals) or len(self._held):
            try:
                self._settling.pop()
            except IndexError:
                # Whoever has it looks again after giving it back.
                return
            try:
                self._hand_over(limit=None)
                self._write_off()
            finally:
                self._settling.append(None)

    def forget(self) -> None:
        """Close what a forked process has inherited; the worker is its parent's."""
        self.worker.close()

    def _hand_over(self, limit: int | None = _MOST_WAITING) -> bool:
        moved = False
        while (limit is None or len(self._out) < limit) and (batch := self.mailbox.take(64)):
            moved = True
            handed = iter(batch)
            while self._arrivals.pass_on(handed, self._send):
                pass
        if limit is None:
            # Nothing is taken after this that could wait for its request.
            self._arrivals.end(self._send)
        if not self.worker.running:
            self._write_off()
        return moved

    def _send(self, frame: Frame) -> None:
        if frame.call and not self._held.sent(frame):
            self._give_back(frame)
        elif self.worker.running:
            self._append(frame)

    def _append(self, frame: Frame) -> None:
        try:
            self._out += encode(frame)
        except Exception as error:
            # One call that cannot be said must not end the others.
            self._faults.report("frame", error)
            self._say_instead(frame)

    def _say_instead(self, frame: Frame) -> None:
        """Keep the account of a call right of which one frame cannot be said."""
        if isinstance(frame, Begin):
            # The worker knows nothing of the call, and never will.
            for said in self._held.write_off(frame.call):
                self._receive(said)
            return
        if isinstance(frame, (Request, Response, LiveDone)) and frame.pages:
            self._held.gave_back(frame.call, frame.pages)
            self._receive(Credit(frame.call, frame.pages))
        for one in stand_ins(frame, round(self._clock() * 1e9)):
            with suppress(Exception):
                self._out += encode(one)
                return

    def _give_back(self, frame: Frame) -> None:
        """Of a call that was written off: nobody will ever give back what this frame holds."""
        if isinstance(frame, (Begin, Request, Response, LiveDone)) and frame.pages:
            self._receive(Credit(frame.call, frame.pages))

    def _write(self) -> bool:
        if not self._out or self.worker.socket is None:
            return False
        try:
            del self._out[: self.worker.socket.send(self._out)]
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._fail(error)
        return True

    def _read(self) -> bool:
        if self.worker.socket is None:
            return False
        try:
            data = self.worker.socket.recv(_READ)
            if not data:
                raise ConnectionError("the worker has ended")
            self._hear(data)
        except (BlockingIOError, InterruptedError):
            return False
        except (OSError, FrameError) as error:
            self._fail(error)
        return True

    def _hear(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._held.came_back(frame)
            if isinstance(frame, State):
                if frame.closed == DropReason.SHUTDOWN:
                    # It ends, and others go on: no reason to close the target for all.
                    self.leaving = True
                    continue
                self._closed[frame.experiment, frame.target] = frame
            elif isinstance(frame, Left):
                frame = frame._replace(worker=self._number)  # noqa: PLW2901
            self._receive(frame)

    def _hear_the_rest(self) -> None:
        """Take in what a worker that has ended said before it did."""
        with suppress(OSError, FrameError):
            while self.worker.socket is not None and (data := self.worker.socket.recv(_READ)):
                self._hear(data)

    def _fail(self, error: Exception) -> None:
        """The worker is gone, or as good as gone: count what it held as lost, and try again after a while."""
        # One that has closed its end has nothing more to do, whatever still runs in it.
        self.worker.kill()
        code = self._bury()
        if self._ending:
            self._write_off()
            return
        self.down = True
        self.worker.put_off()
        self._faults.report("worker", f"ended ({code})" if isinstance(error, ConnectionError) else error)
        self._write_off()

    def _bury(self) -> int | None:
        code = self.worker.bury(self._hear_the_rest)
        self._out.clear()
        return code

    def _write_off(self) -> None:
        for frame in self._held.write_off():
            self._receive(frame)
        # Forgotten first: whoever hears of it asks us why the target is closed.
        closed, self._closed = self._closed, {}
        for state in closed.values():
            if state.closed:
                self._receive(state._replace(closed=""))
