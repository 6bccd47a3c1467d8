"""An engine with a recorder that only listens, and the frames a live side would send it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from support.experiments import CONVERSE, GENERATE, INGEST, STREAM_GENERATE, experiment, target
from support.records import begin
from support.wire import request, response

from shadowmesh.mirror.aborting import SECONDS as ABORT_SECONDS
from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.engine import EXPERIMENTS, Engine
from shadowmesh.mirror.frames import (
    Begin,
    Credit,
    Frame,
    LiveDone,
    Outcome,
    Reload,
    Request,
    RequestEnd,
    State,
)
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.mirror.legs import assemble
from shadowmesh.names import CallEnd
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import Backend, ReceivedCall

ARITIES = {
    GENERATE: Arity.UNARY_UNARY,
    STREAM_GENERATE: Arity.UNARY_STREAM,
    INGEST: Arity.STREAM_UNARY,
    CONVERSE: Arity.STREAM_STREAM,
}
CANDIDATE = (Admission("candidate", 1.0),)


class Mirror:
    """An engine, with everything it says and records."""

    def __init__(
        self,
        *experiments: JudgedExperimentSettings,
        accounts: Accounts | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        abort_seconds: float = ABORT_SECONDS,
    ) -> None:
        self.replies: list[Frame] = []
        self.records: list[CallRecord] = []
        self.exchanges = 1
        self.broken = False
        self.faults = Faults()
        self._accounts = accounts
        self._changed = asyncio.Event()
        self.engine = Engine(
            self._reply,
            recorder=self,
            instance_id="instance-1",
            max_call_bytes=1 << 20,
            faults=self.faults,
            accounts=accounts,
            clock=clock,
            abort_seconds=abort_seconds,
        )
        self.reload(*experiments)

    def reload(self, *experiments: JudgedExperimentSettings) -> None:
        self.engine.feed(Reload(0, EXPERIMENTS.dump_json(experiments)))

    def record(self, record: CallRecord) -> int:
        self.records.append(record)
        self._changed.set()
        if self.broken:
            raise RuntimeError("the recorder is broken")
        if self._accounts is not None:
            for _, shadows, _ in assemble(record, new_span_id=lambda: 1, digest_key=b"k"):
                for leg in shadows:
                    self._accounts.charge(record.begin.call, leg)
        return self.exchanges

    def _reply(self, frame: Frame) -> None:
        self.replies.append(frame)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the engine says and records to fulfil ``condition``."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def recorded(self, count: int = 1) -> list[CallRecord]:
        await self.until(lambda: len(self.records) >= count and not self.engine.open_calls)
        return self.records

    def feed(self, *frames: Frame) -> None:
        for frame in frames:
            self.engine.feed(frame)

    def begin(self, call: int = 1, method: str = GENERATE, **changes: Any) -> Begin:
        facts = {"call": call, "method": method, "arity": ARITIES.get(method, Arity.UNARY_UNARY)}
        frame = begin(**facts | {"at_ns": time.monotonic_ns(), "wall_ns": time.time_ns()} | changes)
        self.feed(frame)
        return frame

    def unary(
        self, call: int = 1, method: str = GENERATE, *, data: bytes = b"", pages: int = 1, **changes: Any
    ) -> Begin:
        """Begin a call whose request is one message."""
        frame = self.begin(call, method, **changes)
        self.feed(Request(call, (frame.at_ns,), (data or request(),), pages), RequestEnd(call, frame.at_ns))
        return frame

    def done(self, call: int = 1, status: str = "OK", end: str = CallEnd.COMPLETED, *, at_ns: int = 0) -> None:
        self.feed(LiveDone(call, at_ns or time.monotonic_ns(), status, end, 0, captured=True, total=0))

    def outcomes(self) -> Counter[tuple[int, str]]:
        return Counter((frame.call, frame.target) for frame in self.replies if isinstance(frame, Outcome))

    def gate(self, name: str = "candidate") -> list[str]:
        """Return what the live gate was told of a target, in order."""
        return [frame.closed for frame in self.replies if isinstance(frame, State) and frame.target == name]

    async def play(self, *calls: int, **changes: Any) -> None:
        """Play whole calls, one after another."""
        for call in calls:
            self.unary(call, **changes)
            self.done(call)
            await self.recorded()

    def credit(self) -> int:
        return sum(frame.pages for frame in self.replies if isinstance(frame, Credit))

    def said(self, kind: type[Frame]) -> list[Frame]:
        return [frame for frame in self.replies if isinstance(frame, kind)]


@asynccontextmanager
async def mirror(
    *experiments: JudgedExperimentSettings,
    accounts: Accounts | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    abort_seconds: float = ABORT_SECONDS,
) -> AsyncIterator[Mirror]:
    """An engine that is closed, and has nothing open, at the end of the test."""
    mirrored = Mirror(*experiments, accounts=accounts, clock=clock, abort_seconds=abort_seconds)
    try:
        yield mirrored
        assert mirrored.engine.open_calls == 0
    finally:
        await mirrored.engine.close()


def answer(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    list(requests)
    return [response("four")]


def hang(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    yield from ()
    call.ended.wait(20)


def at(backend: Backend, **changes: Any) -> JudgedExperimentSettings:
    return experiment(target(address=backend.address, **changes))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
