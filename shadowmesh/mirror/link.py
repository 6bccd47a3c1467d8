"""One worker process of the carrier ``process``, as the live process sees it: its frames, its bytes, its life."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shadowmesh.errors import FrameError
from shadowmesh.mirror.admission import Admit, Opened
from shadowmesh.mirror.carrier import Mailbox, Receive
from shadowmesh.mirror.codec import Decoder, encode
from shadowmesh.mirror.frames import Begin, Credit, Drain, Frame, LiveDone, Request, Response, State
from shadowmesh.mirror.held import Held
from shadowmesh.names import DropReason
from shadowmesh.telemetry.faults import Faults

# Encoded bytes that wait for the socket; beyond, frames stay in the mailbox, which is bounded.
_MOST_WAITING = 256 * 1024
_READ = 256 * 1024
# Pieces of that size written in one turn, as long as the worker takes them.
_MOST_PIECES = 16
_FIRST_BACK_OFF = 0.5
_MOST_BACK_OFF = 30.0
# A worker that has lived so long was not killed by what it does at its start.
_STABLE_SECONDS = 60.0


class Link:
    """
    One worker and the way to it: all but ``mailbox``, ``settle`` and the reading of the two flags is the carrier's own.

    The flags and ``settle`` are for any thread, and the mailbox has two ends.

    Attributes:
        down: no worker runs, and none will for a while.
        leaving: the worker finishes what it has and takes no new call.

    Args:
        receive: gets what the worker says, and what it would have said had it not died.
        first: the frames every new worker must see first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        receive: Receive,
        first: Callable[[], tuple[Frame, ...]],
        *,
        queue_items: int,
        admit: Admit,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self.mailbox = Mailbox(queue_items)
        self.socket: socket.socket | None = None
        self.down = False
        self.leaving = False
        self.restarts = 0
        self.due = 0.0
        self._receive = receive
        self._first = first
        self._admit = admit
        self._faults = faults
        self._clock = clock
        self._held = Held()
        self._closed: dict[tuple[str, str], State] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder = Decoder()
        self._out = bytearray()
        self._started = 0.0
        self._failures = 0
        self._ending = False
        # One token: whoever pops it settles, so that no two threads do.
        self._settling = deque((None,), maxlen=1)

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return None if self._process is None else self._process.pid

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
        if self._process is not None or self._clock() < self.due:
            return
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._fail(error)
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "shadowmesh.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # Whoever reads the live process's output to its end does not wait for ours.
                stdout=subprocess.DEVNULL,
                env=_environment(),
                # A signal for the group of the live process is its business: it drains, and tells us.
                process_group=0,
            )
        except OSError as error:
            ours.close()
            self._fail(error)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self.socket = ours
        self.down = self.leaving = False
        self._started = self._clock()
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
        if not moved and self._process is not None and self._process.poll() is not None:
            # Somebody else holds its end of the socket open: without this we would wait for ever.
            self._fail(ConnectionError("the worker has ended"))
        return moved

    def drain(self, grace: float) -> None:
        """Let the worker finish what it has within ``grace`` seconds, and end."""
        self._ending = True
        self._hand_over(limit=None)
        self._out += encode(Drain(0, grace))

    def end(self) -> None:
        """End a worker that has not ended itself, and settle its account."""
        if self._process is not None:
            self._process.kill()
            self._bury()
        self.settle()

    def settle(self) -> None:
        """Account for what waits, where no worker will ever take it; from any thread, without waiting."""
        while len(self.mailbox) or len(self._held):
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
        if self.socket is not None:
            self.socket.close()

    def _hand_over(self, limit: int | None = _MOST_WAITING) -> bool:
        moved = False
        while (limit is None or len(self._out) < limit) and (batch := self.mailbox.take(64)):
            moved = True
            for handed in batch:
                frame = self._admit(handed) if isinstance(handed, Opened) else handed
                if frame is None:
                    continue
                if frame.call and not self._held.sent(frame):
                    self._give_back(frame)
                elif self._process is not None:
                    self._append(frame)
        if self._process is None:
            self._write_off()
        return moved

    def _append(self, frame: Frame) -> None:
        try:
            self._out += encode(frame)
        except Exception as error:
            # One call that cannot be said must not end the others.
            self._faults.report("frame", error)
            for said in self._held.write_off(frame.call):
                self._receive(said)

    def _give_back(self, frame: Frame) -> None:
        """Of a call that was written off: nobody will ever give back what this frame holds."""
        if isinstance(frame, (Begin, Request, Response, LiveDone)) and frame.pages:
            self._receive(Credit(frame.call, frame.pages))

    def _write(self) -> bool:
        if not self._out or self.socket is None:
            return False
        try:
            del self._out[: self.socket.send(self._out)]
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._fail(error)
        return True

    def _read(self) -> bool:
        if self.socket is None:
            return False
        try:
            data = self.socket.recv(_READ)
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
            self._receive(frame)

    def _hear_the_rest(self) -> None:
        """Take in what a worker that has ended said before it did."""
        with suppress(OSError, FrameError):
            while self.socket is not None and (data := self.socket.recv(_READ)):
                self._hear(data)

    def _fail(self, error: Exception) -> None:
        """The worker is gone, or as good as gone: count what it held as lost, and try again after a while."""
        code = None
        if self._process is not None:
            # One that has closed its end has nothing more to do, whatever still runs in it.
            if self._process.poll() is None:
                self._process.kill()
            code = self._bury()
        if self._ending:
            self._write_off()
            return
        now = self._clock()
        self.down = True
        self._failures = 0 if now - self._started > _STABLE_SECONDS else self._failures + 1
        self.due = now + min(_FIRST_BACK_OFF * 2 ** max(self._failures - 1, 0), _MOST_BACK_OFF)
        self.restarts += 1
        self._faults.report("worker", f"ended ({code})" if isinstance(error, ConnectionError) else error)
        self._write_off()

    def _bury(self) -> int | None:
        code = None if self._process is None else self._process.wait()
        self._process = None
        self._hear_the_rest()
        if self.socket is not None:
            self.socket.close()
            self.socket = None
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


def _environment() -> dict[str, str]:
    """The worker must find the same package, however this process came by it."""
    ours = str(Path(__file__).resolve().parents[2])
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *([] if ours in path else [ours])])}
