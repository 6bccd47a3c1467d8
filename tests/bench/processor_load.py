"""
The sender of trace requests: a process that is asked for a load and answers, when it is over, with what it sent.

It does what an exporter does: a request that is refused with UNAVAILABLE is sent again, the same bytes, after the time
the answer names.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from random import Random
from typing import Any

import grpc
import grpc.aio
import numpy as np
from bench.control import say
from bench.processor_requests import PAIRS, Template, templates
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # generated, without stubs
from support.otlp import TRACES

_ONLY_LIVE = slice(0, 1)
_WITHIN = 120.0
_RETRY_INFO = "google.rpc.retryinfo-bin"
_UNSAID_SECONDS = 1.0
# What an open loop may have on the way before requests wait for each other; their calls ended when they were due.
_MOST_ON_THE_WAY = 32


@dataclass(slots=True)
class Sent:
    """What became of a load; ``seconds`` are from the first request to the last answer, ``busy`` of a core."""

    pairs: int = 0
    requests: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    busy: float = 0.0
    latencies: list[float] = field(default_factory=list)


class Sender:
    """
    Sends one load.

    Args:
        port: of an OTLP/gRPC receiver on this machine.
        made: the requests to fill.
    """

    def __init__(self, port: int, made: list[Template], chance: np.random.Generator) -> None:
        self.sent = Sent()
        self._target = f"127.0.0.1:{port}"
        self._made: Iterator[Template] = cycle(made)
        self._chance = chance

    async def run(self, *, seconds: float, rate: float | None, senders: int, requests: int | None) -> Sent:
        """
        Send for so many seconds, or so many requests.

        Args:
            rate: pairs a second of an open loop; ``None`` is a closed one.
            senders: of a closed loop, each with one request on the way.
        """
        begun, cpu = time.monotonic(), time.process_time()
        most = requests if requests is not None else sys.maxsize
        async with grpc.aio.insecure_channel(self._target) as channel:
            export: Any = channel.unary_unary(TRACES)
            if rate is None:
                await asyncio.gather(*(self._closed(export, begun + seconds, most) for _ in range(senders)))
            else:
                await self._open(export, min(most, round(seconds * rate / PAIRS)), PAIRS / rate)
        self.sent.seconds = time.monotonic() - begun
        self.sent.busy = (time.process_time() - cpu) / self.sent.seconds
        return self.sent

    async def _closed(self, export: Any, until: float, most: int) -> None:
        while time.monotonic() < until and self.sent.requests < most:
            self.sent.requests += 1
            await self._send(export, time.time_ns())

    async def _open(self, export: Any, requests: int, every: float) -> None:
        ways, tasks = asyncio.Semaphore(_MOST_ON_THE_WAY), []

        async def send(due_ns: int) -> None:
            async with ways:
                await self._send(export, due_ns)

        begun, begun_ns = time.monotonic(), time.time_ns()
        for number in range(requests):
            self.sent.requests += 1
            await asyncio.sleep(begun + number * every - time.monotonic())
            tasks.append(asyncio.create_task(send(begun_ns + round(number * every * 1e9))))
        await asyncio.gather(*tasks)

    async def _send(self, export: Any, ended_ns: int) -> None:
        """Send one request until it is taken."""
        request = next(self._made).fill(self._chance, ended_ns)
        begun = time.monotonic()
        while True:
            try:
                await export(request, timeout=_WITHIN)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.sent.failed += 1
                    return
                self.sent.refused += 1
                await asyncio.sleep(_delay(error))
            else:
                self.sent.pairs += PAIRS
                self.sent.latencies.append(time.monotonic() - begun)
                return


def _delay(error: grpc.aio.AioRpcError) -> float:
    for key, value in error.trailing_metadata() or ():
        if key == _RETRY_INFO and isinstance(value, bytes):
            return float(RetryInfo.FromString(value).retry_delay.ToTimedelta().total_seconds())
    return _UNSAID_SECONDS


def serve(seed: int) -> None:
    """Send what is asked for until told to end."""
    chance, random = np.random.default_rng(seed), Random(seed)
    made = {False: templates(random), True: templates(random, sides=_ONLY_LIVE)}
    say({"request_bytes": made[False][0].size})
    for line in sys.stdin:
        question = json.loads(line)
        sender = Sender(question.pop("port"), made[question.pop("only_live")], chance)
        say(asdict(asyncio.run(sender.run(**question))))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
