"""
A worker process of the carrier ``process``: ``python -m shadowmesh.worker DESCRIPTOR``.

It speaks frames over the inherited socket, runs one engine in its event loop, and ends when the live process tells it
to, or closes its end by ending itself. Exporters and channels are built here, from what the first frame says.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import struct
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import cast

from pydantic import ValidationError

from shadowmesh.errors import ConfigError, FrameError
from shadowmesh.mirror.answers import Answers
from shadowmesh.mirror.assembly import WorkerSetup, make_engine, make_exporter
from shadowmesh.mirror.codec import Decoder, encode, together
from shadowmesh.mirror.engine import Engine
from shadowmesh.mirror.frames import Drain, Frame, Lost, Reported, Settled, Setup
from shadowmesh.names import LossReason
from shadowmesh.telemetry.export import PairExporter, Receipt
from shadowmesh.telemetry.faults import Faults

_INTERVAL = 0.005
"""Seconds that answers are gathered for: each piece read wakes the live process once."""
_REPORT_SECONDS = 1.0
_LAST_GRACE = 1.0
"""What remains to be done when nobody may be there any more gets so many seconds."""
_TERM_GRACE = 5.0
"""What shadows in flight get when the worker itself is asked to end, as much as a mesh gives by default."""
_ON_THE_WAY = 0.05
"""Seconds in which frames come that were said before a drain; the live side gathers them for 10 ms."""
_STRAGGLERS = 1.0
_FLUSH_SECONDS = 5.0
EX_SOFTWARE = 70


class Worker(asyncio.Protocol):
    """
    Both ends of the socket's conversation; everything but ``_settled`` runs in the loop.

    While the live process does not read, nothing is read from it either: what there is to say is then about calls that
    are here already, and gathers. The live process fills its buffers, which have caps, and sheds.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.grace = _LAST_GRACE
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._decoder = Decoder()
        self._faults = Faults()
        self._relayed: dict[str, int] = {}
        self._answers = Answers()
        self._timer: asyncio.TimerHandle | None = None
        self._unheard = False
        self._deserted = False
        self._transport: asyncio.Transport | None = None
        self._engine: Engine | None = None
        self._pairs: PairExporter | None = None

    # --- the socket ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        # A socket's is both.
        self._transport = cast("asyncio.Transport", transport)
        self._relay_faults()

    def data_received(self, data: bytes) -> None:
        """Feed the engine."""
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except (FrameError, ConfigError, ValidationError) as error:
            self._faults.report("worker", error)
            self.ended.set()

    def eof_received(self) -> bool:
        """The live process is gone without a word: finish what is here, quickly."""
        self._deserted = True
        self.ended.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio gives the name)
        """Nobody listens any more."""
        self.ended.set()
        self._gone.set()

    def pause_writing(self) -> None:
        """The live process does not read: take nothing more from it that would have to be answered."""
        self._unheard = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again: go on, and say what has gathered."""
        self._unheard = False
        if self._transport is not None:
            self._transport.resume_reading()
        self.flush()

    def asked_to_end(self) -> None:
        """Finish what is here; the live process goes on, and starts another worker."""
        self.grace = _TERM_GRACE
        self.ended.set()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Setup):
            setup = WorkerSetup.model_validate_json(frame.config)
            self._pairs = make_exporter(setup.telemetry, None, self._faults, self._settled)
            self._engine = make_engine(
                self.say, self._pairs, setup.make_resource(), setup.mirror, self._faults, setup.make_catalog()
            )
        elif isinstance(frame, Drain):
            self.grace = frame.grace
            self.ended.set()
        elif self._engine is not None:
            self._engine.feed(frame)

    def say(self, frame: Frame) -> None:
        """Answer, soon and together with others."""
        self._answers.add(frame)
        if self._timer is None:
            self._timer = self._loop.call_later(_INTERVAL, self.flush)

    def flush(self, *, unheard: bool = False) -> None:
        """Answer now, in one breath; while the live process does not read only where ``unheard`` is said."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is None or self._transport.is_closing() or (self._unheard and not unheard):
            return
        if said := [encoded for frame in self._answers.take() if (encoded := self._encoded(frame))]:
            self._transport.write(together(said))

    def _encoded(self, frame: Frame) -> bytes:
        try:
            return encode(frame)
        except (FrameError, ValueError, struct.error) as error:
            # One that cannot be said must not silence the others.
            self._faults.report("answer", error)
            return b""

    # --- what is accounted for -------------------------------------------------------------------------------------

    def _settled(self, receipts: list[Receipt], exported: bool) -> None:
        """The exporter is done with these pairs: told in its own thread, and in ours of what it never had."""
        if threading.get_ident() == self._thread:
            self._say_settled(receipts, exported)
        else:
            self._loop.call_soon_threadsafe(self._say_at_once, receipts, exported)

    def _say_at_once(self, receipts: list[Receipt], exported: bool) -> None:
        # What is exported and not said is counted as lost if we are killed now.
        self._say_settled(receipts, exported)
        self.flush()

    def _say_settled(self, receipts: list[Receipt], exported: bool) -> None:
        if not exported:
            lost = Counter((receipt.experiment, target) for receipt in receipts for target in receipt.targets)
            for about, exchanges in lost.items():
                self.say(Lost(0, *about, LossReason.EXPORT.value, exchanges))
        calls = Counter(receipt.call for receipt in receipts)
        self.say(Settled(0, tuple(calls), tuple(calls.values())))

    def _relay_faults(self) -> None:
        for cause, times in self._faults.totals().items():
            if more := times - self._relayed.get(cause, 0):
                self._relayed[cause] = times
                self.say(Reported(0, cause, more))
        self._loop.call_later(_REPORT_SECONDS, self._relay_faults)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Finish or cut what is open, export it, and say so."""
        if self._engine is not None:
            await self._engine.drain(self.grace)
            # Calls that began before the live side took note of our end are on their way, and want to be recorded.
            await asyncio.sleep(_ON_THE_WAY)
            await self._engine.drain(_STRAGGLERS)
            await self._engine.close()
        if self._pairs is not None:
            await asyncio.to_thread(self._pairs.close, _FLUSH_SECONDS)
        # What the exporter's thread said last is still to be said.
        await asyncio.sleep(0)
        self._relay_faults()
        self.flush(unheard=True)
        if self._transport is not None:
            self._transport.close()
            # A live process that was stopped reads when it goes on; one that has ended closes the socket.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), _LAST_GRACE if self._deserted else None)


async def serve(connection: socket.socket) -> None:
    """Work until told to end."""
    loop = asyncio.get_running_loop()
    _, worker = await loop.create_connection(Worker, sock=connection)
    # Whoever sends Ctrl-C's signal means the live process, which decides what follows. Asked to end by itself, a
    # worker finishes what it has, and the live process starts another one.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, worker.asked_to_end)
    await worker.ended.wait()
    await worker.finish()


def main() -> int:
    """Run; the exit code is 0, or 70 where even the beginning failed."""
    logging.basicConfig(level=logging.WARNING, format="shadowmesh worker %(process)d: %(message)s")
    try:
        connection = socket.socket(fileno=int(sys.argv[1]))
    except (IndexError, ValueError, OSError):
        sys.stderr.write("shadowmesh.worker is started by a live process, with the descriptor of a socket\n")
        return EX_SOFTWARE
    asyncio.run(serve(connection))
    return 0


if __name__ == "__main__":
    sys.exit(main())
