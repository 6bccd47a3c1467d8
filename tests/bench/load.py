"""
The load generator: closed loops that keep so many calls in flight, or an open loop at a rate.

The open loop's calls are due at random times (from a seed, so every mode gets the same ones), and their latency counts
from when they were due, sent late or not. Several servers at once get their calls in turns, in an order drawn anew
every time, so that whatever stalls the machine stalls them all alike, and one hardly ever works while another does.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from collections.abc import Sequence
from itertools import chain, count
from typing import Any, Final

from bench import payload
from bench.control import say
from bench.wire import Connection

MOST_CALLS = 200_000
MOST_IN_FLIGHT = 128
"""Per connection; what is due beyond waits, and its latency grows. Keeps every connection inside its send window."""
_GIVE_UP_NS = 20_000_000_000
_JITTER = 0.5
_NUMBERS: Final = count(1)


class Load:
    """Runs one window; see :func:`run`."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = {connection.socket.fileno(): connection for connection in connections}
        self._started: dict[tuple[int, int], int] = {}
        self.latencies: dict[int, list[int]] = {descriptor: [] for descriptor in self._connections}

    @property
    def in_flight(self) -> int:
        """How many calls have not ended."""
        return len(self._started)

    def send(self, descriptor: int, due: list[int]) -> None:
        """Start a call for every time it was due, on one connection."""
        for stream, at_ns in zip(self._connections[descriptor].send(len(due)), due, strict=True):
            self._started[descriptor, stream] = at_ns

    def collect(self, descriptor: int) -> int:
        """Read one connection, which must have something; return how many calls have ended."""
        ended = self._connections[descriptor].receive()
        now = time.perf_counter_ns()
        for stream in ended:
            self.latencies[descriptor].append(now - self._started.pop((descriptor, stream)))
        return len(ended)

    def closed(self, in_flight: int, seconds: float) -> None:
        """Keep ``in_flight`` calls going, spread evenly over the connections."""
        poll = select.epoll()
        for descriptor in self._connections:
            poll.register(descriptor, select.EPOLLIN)
        began = time.perf_counter_ns()
        for descriptor in self._connections:
            self.send(descriptor, [began] * (in_flight // len(self._connections)))
        stop = began + int(seconds * 1e9)
        while self.in_flight:
            for descriptor, _ in poll.poll(1.0):
                ended = self.collect(descriptor)
                now = time.perf_counter_ns()
                if ended and now < stop and len(self.latencies[descriptor]) < MOST_CALLS:
                    self.send(descriptor, [now] * ended)
            _check(stop)
        poll.close()

    def open(self, calls: Sequence[tuple[float, int]]) -> None:
        """Start each call when it is due, seconds from now and in order, on the connection of that place."""
        began = time.perf_counter_ns()
        descriptors = list(self._connections)
        due = [(began + int(seconds * 1e9), descriptors[place]) for seconds, place in calls]
        most = MOST_IN_FLIGHT * len(descriptors)
        sent = 0
        while sent < len(due) or self.in_flight:
            now = time.perf_counter_ns()
            while sent < len(due) and due[sent][0] <= now and self.in_flight < most:
                self.send(due[sent][1], [due[sent][0]])
                sent += 1
            waiting = sent < len(due) and self.in_flight < most
            # select and not epoll: its time-out has microseconds.
            wait = max((due[sent][0] - time.perf_counter_ns()) / 1e9, 0.0) if waiting else 1.0
            for descriptor in select.select(descriptors, (), (), wait)[0]:
                self.collect(descriptor)
            _check(due[-1][0])


def arrivals(rate: float, seconds: float, connections: int, chance: random.Random) -> list[tuple[float, int]]:
    """Return when ``rate`` times ``seconds`` calls are due and on which connection: at random times, in turn."""
    # Uniform times in order are the arrivals of a Poisson process of which the number is known.
    due = sorted(chance.random() * seconds for _ in range(round(rate * seconds)))
    return [(at, number % connections) for number, at in enumerate(due)]


def turns(rate: float, seconds: float, servers: int, chance: random.Random) -> list[tuple[float, int]]:
    """Return the same for several servers of which each gets ``rate`` calls a second, one after the other."""
    calls, step = [], 1 / rate / servers
    for cycle in range(round(rate * seconds)):
        for place, server in enumerate(chance.sample(range(servers), servers)):
            calls.append((cycle / rate + (place + chance.random() * _JITTER) * step, server))
    return calls


def _check(stop_ns: int) -> None:
    if time.perf_counter_ns() > stop_ns + _GIVE_UP_NS:
        raise TimeoutError("the server owes answers long after the window")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one window; return its seconds and, by server, calls, bad ones, P50 and P99, and all latencies if asked."""
    streaming = bool(job["streaming"])
    method = payload.STREAM if streaming else payload.UNARY
    messages = payload.STREAM_MESSAGES if streaming else 1
    answer_bytes = messages * (payload.FRAMING_BYTES + payload.REPLY_BYTES)
    servers, each = job["servers"], job["connections"]
    metadata = _metadata if job["metadata"] else None
    connections = [
        Connection(ports[place % len(ports)], method.full_name, payload.request(), answer_bytes, metadata)
        for ports in servers
        for place in range(each)
    ]
    load = Load(connections)
    began = time.perf_counter_ns()
    if job["rate"]:
        order, many = (turns, len(servers)) if len(servers) > 1 else (arrivals, each)
        load.open(order(job["rate"], job["seconds"], many, random.Random(job["seed"])))
    else:
        load.closed(job["concurrency"], job["seconds"])
    seconds = (time.perf_counter_ns() - began) / 1e9
    for connection in connections:
        connection.close()
    latencies = list(load.latencies.values())
    seen = [
        _seen(connections[first : first + each], latencies[first : first + each], whole=job["latencies"])
        for first in range(0, len(connections), each)
    ]
    return {"seconds": seconds, "servers": seen}


def _metadata() -> tuple[tuple[str, str], ...]:
    """Return that of the next call; no two calls of this process share a number."""
    return payload.metadata(next(_NUMBERS))


def _seen(connections: list[Connection], latencies: list[list[int]], *, whole: bool) -> dict[str, Any]:
    ordered = sorted(chain.from_iterable(latencies))
    return {
        "calls": len(ordered),
        "bad": sum(connection.bad for connection in connections),
        "p50_us": ordered[len(ordered) // 2] / 1e3 if ordered else 0.0,
        "p99_us": ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)] / 1e3 if ordered else 0.0,
        "latencies_us": [ns // 1000 for ns in ordered] if whole else [],
    }


if __name__ == "__main__":
    say({})
    for line in sys.stdin:
        say(run(json.loads(line)))
