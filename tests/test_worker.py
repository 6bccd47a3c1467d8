"""A worker process whose live process does not read: it stays small, and says everything when it is heard again."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from opentelemetry.sdk.resources import Resource
from support.experiments import experiment, target
from support.records import begin
from support.resources import asleep, rss_of

from shadowmesh.mirror.assembly import WorkerSetup
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.codec import Decoder, encode
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.mirror.frames import Credit, Credits, Drain, Frame, LiveDone, Reload, Reported, Settled, Setup, State
from shadowmesh.names import SERVICE_INSTANCE_ID, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.worker import Worker

SHED = (Admission("candidate", 1.0, DropReason.CAPTURE_FULL),)
MOST_CALLS = 60_000
"""More than the buffers of a socket pair have room for, and the answers to what is in them."""
MOST_BYTES = 32 << 20
SILENCE_SECONDS = 1.0
"""Who takes nothing for so long takes nothing."""


class Peer:
    """A live process as its worker knows it, which reads when it is told to."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.process = process
        self._connection = connection
        self._unsent = b""
        self._calls = count(1)

    def send(self, *frames: Frame) -> bool:
        """Write frames, the last of which may stay unsent in part; return whether there was room."""
        self._unsent += b"".join(map(encode, frames))
        if not select.select([], [self._connection], [], SILENCE_SECONDS)[1]:
            return False
        with_room = self._connection.send(self._unsent)
        self._unsent = self._unsent[with_room:]
        return True

    def call(self) -> bool:
        """Begin and end a call that was shed: nothing but its legs, which hold no token and a page."""
        number, now = next(self._calls), time.monotonic_ns()
        end = LiveDone(number, now, "OK", "completed", 0, captured=False, total=1, times_ns=(now,), pages=1)
        return self.send(begin(call=number, at_ns=now, wall_ns=time.time_ns(), admissions=SHED), end)

    def read(self) -> Iterator[Frame]:
        """Read to the end, and write what is unsent meanwhile."""
        decoder = Decoder()
        while True:
            waiting = [self._connection] if self._unsent else []
            readable, writable, _ = select.select([self._connection], waiting, [], 20)
            assert readable or writable, "the worker is stuck"
            if writable:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
            if readable:
                try:
                    data = self._connection.recv(1 << 16)
                except ConnectionResetError:
                    # It has ended with something of ours unread.
                    return
                if not data:
                    return
                yield from decoder.feed(data)


@contextmanager
def worker() -> Iterator[Peer]:
    """A worker in a process of its own, which exports nowhere."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "shadowmesh.worker", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        theirs.close()
        ours.setblocking(False)
        with process:
            try:
                peer = Peer(process, ours)
                setup = WorkerSetup.of(MirrorSettings(), TelemetrySettings(), Resource({SERVICE_INSTANCE_ID: "one"}))
                peer.send(
                    Setup(0, setup.model_dump_json().encode()),
                    Reload(0, EXPERIMENTS.dump_json((experiment(target()),))),
                )
                yield peer
            finally:
                process.kill()


def fill(peer: Peer) -> int:
    """Make calls until the worker takes no more; return how many."""
    for calls in range(1, MOST_CALLS):
        # One that has only not come to it, because it starts or the machine is busy, is not asleep.
        if not peer.call() and asleep(peer.process.pid):
            return calls
    raise AssertionError("it takes whatever it is given")


def test_a_worker_that_nobody_hears_takes_no_more_than_it_can_keep_and_loses_nothing() -> None:
    with worker() as peer:
        for _ in range(100):
            peer.call()
        before = rss_of(peer.process.pid)
        calls = 100 + fill(peer)
        assert rss_of(peer.process.pid) - before < MOST_BYTES
        peer.send(Drain(0, 5.0))
        settled: Counter[int] = Counter()
        pages: Counter[int] = Counter()
        for frame in peer.read():
            if isinstance(frame, Settled):
                settled.update(dict(zip(frame.calls, frame.exchanges, strict=True)))
            elif isinstance(frame, Credits):
                pages.update(dict(zip(frame.calls, frame.pages, strict=True)))
        every = dict.fromkeys(range(1, calls + 1), 1)
        assert settled == every
        assert pages == every
        assert peer.process.wait(20) == 0


def test_a_worker_that_is_told_to_end_waits_until_it_is_heard() -> None:
    with worker() as peer:
        fill(peer)
        peer.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            peer.process.wait(2 * SILENCE_SECONDS)
        peer._unsent = b""
        assert [frame for frame in peer.read() if isinstance(frame, State)] == [
            State(0, "summaries", "candidate", DropReason.SHUTDOWN)
        ]
        assert peer.process.wait(20) == 0


async def test_a_word_that_cannot_be_said_silences_no_other() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    with ours:
        transport, spoken = await loop.create_connection(Worker, sock=theirs)
        spoken.say(Reported(0, "\ud800", 1))
        spoken.say(Credit(1, 2))
        data = await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), 20)
        assert [frame for frame in Decoder().feed(data) if isinstance(frame, Credits)] == [Credits(0, (1,), (2,))]
        transport.close()
