"""
The demo's client: real prompts over real gRPC, unary and streaming mixed, at a rate of its own.

The loop is open: a call starts when its time has come, however slow the answers are. By hand, against a server of
``shadowmesh demo --keep``: ``python -m shadowmesh.cli.demo.traffic --address 127.0.0.1:PORT``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc.aio

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.api import stub
from shadowmesh.schema.messages import GenerateRequest, SamplingParameters

RATE = 10.0
"""Calls per second on average: enough to see a distribution, and no strain on two small cores."""
MODEL = "pydoc"
"""The model the client asks for; which one answers is the server's affair."""

_IN_FLIGHT = 32
_DEADLINE = 20.0
_LONGEST_ANSWER = 48
_CHANNEL = (("grpc.enable_http_proxy", 0),)


@dataclass(slots=True)
class Sent:
    """What the client saw: calls by method and status name."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All calls."""
        return self.calls.total()

    def by_method(self) -> dict[str, dict[str, int]]:
        """Return calls per method and status."""
        methods: dict[str, dict[str, int]] = {}
        for (method, status), count in sorted(self.calls.items()):
            methods.setdefault(method, {})[status] = count
        return methods


async def send(
    address: str,
    *,
    seconds: float,
    rate: float = RATE,
    seed: int = 0,
    progress: Callable[[float, int], None] = lambda _elapsed, _calls: None,
) -> Sent:
    """
    Call the server for so many seconds and return once every call has ended.

    The seed makes the prompts. ``progress`` gets the seconds that have passed and the calls that have ended; what it
    raises ends the traffic.
    """
    sent, chance = Sent(), random.Random(seed)
    prompts = corpus.sentences()
    slots = asyncio.Semaphore(_IN_FLIGHT)
    async with grpc.aio.insecure_channel(address, options=_CHANNEL) as channel:

        async def one(method: str, request: GenerateRequest) -> None:
            try:
                sent.calls[method, await _call(channel, method, request)] += 1
            finally:
                slots.release()

        begun = due = time.monotonic()
        calls: list[asyncio.Task[None]] = []
        try:
            while (due := due + chance.expovariate(rate)) < begun + seconds:
                await asyncio.sleep(max(due - time.monotonic(), 0))
                await slots.acquire()
                method = chance.choice(("Generate", "StreamGenerate"))
                request = _request(chance.choice(prompts), chance)
                calls.append(asyncio.create_task(one(method, request)))
                progress(due - begun, sent.total)
            await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()
    progress(seconds, sent.total)
    return sent


def _request(prompt: str, chance: random.Random) -> GenerateRequest:
    return GenerateRequest(
        request_id=f"{chance.getrandbits(64):016x}",
        model=MODEL,
        prompt=prompt,
        max_tokens=chance.randint(_LONGEST_ANSWER // 3, _LONGEST_ANSWER),
        seed=chance.getrandbits(32),
        sampling=SamplingParameters(temperature=0.8, top_k=40),
    )


async def _call(channel: grpc.aio.Channel, method: str, request: GenerateRequest) -> str:
    call = stub(channel, method)(request, timeout=_DEADLINE)
    try:
        if method == "Generate":
            await call
        else:
            async for _ in call:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the client with these command-line arguments and print what it saw."""
    parser = argparse.ArgumentParser(prog="traffic", description="Send prompts to a server of the demo.")
    parser.add_argument("--address", required=True, help="host:port of the live model")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE, help="calls per second")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    sent = asyncio.run(send(given.address, seconds=given.seconds, rate=given.rate, seed=given.seed))
    for method, statuses in sent.by_method().items():
        print(method, *(f"{status} {count}" for status, count in statuses.items()))  # noqa: T201 (its result)


if __name__ == "__main__":
    main()
