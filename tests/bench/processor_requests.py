"""
Trace requests of real mirrored pairs, encoded once and given other ids as often as one is sent.

The legs go through the interceptor's own table of attributes and the SDK's own encoder: 20 attributes on a live leg and
22 on its shadow, the two beside each other. Whatever differs from one exchange to the next in a real load (ids,
digests, times, durations to the first chunk) is found again in the bytes and written anew, so that nothing that
remembers attributes or ids has it easier than in a real load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from struct import pack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from support.legs import SECOND, T0, live, shadow, usage
from support.otlp import legs_request

from shadowmesh.model import Leg
from shadowmesh.telemetry.attributes import to_attributes

PAIRS = 256
"""Pairs of one request: 512 spans."""
TARGET = "candidate"
EXPERIMENT = "summaries"
_TEMPLATES = 8
# One pair in so many has outputs that differ, which is worth a compare span.
_DIFFERS = 8
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "u1").reshape(256, 2)

_Bytes = NDArray[np.uint8]
_Places = NDArray[np.int64]


class _Part(NamedTuple):
    data: bytes
    start: int
    end: int

    def places(self, wanted: bytes) -> list[int]:
        found, at = [], self.data.find(wanted, self.start, self.end)
        while at >= 0:
            found.append(at)
            at = self.data.find(wanted, at + 1, self.end)
        return found


class Template:
    """
    The bytes of one request and where in them stands what is each exchange's own.

    Args:
        pairs: legs whose ids, digests and times stand nowhere in the bytes but where they are meant.
        sides: which legs of each pair are sent.
    """

    def __init__(self, pairs: Sequence[Sequence[Leg]], *, sides: slice = slice(0, 2)) -> None:
        data = legs_request(leg for pair in pairs for leg in pair[sides])
        self._bytes = np.frombuffer(data, np.uint8)
        self._ids: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
        self._digests: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
        self._times: list[tuple[int, int]] = []
        self._seconds: list[int] = []
        # A span begins with its trace id; what belongs to a pair stands between that and the next pair's.
        starts = [data.index(pair[0].trace_id.to_bytes(16, "big")) for pair in pairs]
        for pair, start, end in zip(pairs, starts, [*starts[1:], len(data)], strict=True):
            self._find(_Part(data, start, end), pair[sides])
        self._random = [(width, np.array(places)) for (width, _), places in self._ids.items()]
        self._hex = [(width // 2, np.array(places)) for (width, _), places in self._digests.items()]

    @property
    def size(self) -> int:
        """Bytes of a request."""
        return len(self._bytes)

    def fill(self, chance: np.random.Generator, at_ns: int) -> bytes:
        """Return the request with new ids; its calls ended at ``at_ns`` (wall clock) or some milliseconds before."""
        data = self._bytes.copy()
        for width, places in self._random:
            _write(data, places, chance.integers(1, 256, (len(places), width), np.uint8))
        for width, places in self._hex:
            _write(data, places, _HEX[chance.integers(0, 256, (len(places), width), np.uint8)].reshape(-1, 2 * width))
        times = np.array([at_ns - before for _, before in self._times], "<u8")
        _write(data, np.array([[place] for place, _ in self._times]), times.view(np.uint8).reshape(-1, 8))
        seconds = chance.uniform(0.1, 0.12, len(self._seconds)).astype("<f8")
        _write(data, np.array([[place] for place in self._seconds]), seconds.view(np.uint8).reshape(-1, 8))
        return data.tobytes()

    def _find(self, data: _Part, legs: Sequence[Leg]) -> None:
        ids = {(leg.trace_id, 16) for leg in legs}
        ids |= {(number, 8) for leg in legs for number in (leg.span_id, leg.parent_span_id)}
        for number, width in sorted(ids):
            places = data.places(number.to_bytes(width, "big"))
            self._ids[width, len(places)].append(places)
        for digest in sorted({text for leg in legs for text in (leg.pair_id, leg.output_digest or "")}):
            places = data.places(digest.encode())
            self._digests[len(digest), len(places)].append(places)
        for leg in legs:
            for moment in (leg.started_ns, leg.ended_ns):
                self._times += [(place, T0 - moment) for place in data.places(moment.to_bytes(8, "little"))]
            for duration in (leg.time_to_first_chunk, leg.queue_time):
                if duration is not None:
                    self._seconds += data.places(pack("<d", duration))


def mirrored_pairs(count: int, chance: Random) -> list[tuple[Leg, Leg]]:
    """Return legs of exchanges that ended at ``T0`` or shortly before, no two of which share an id or a time."""
    return [_pair(number, chance) for number in range(count)]


def templates(chance: Random, *, sides: slice = slice(0, 2)) -> list[Template]:
    """Return a few requests, whose figures differ."""
    return [Template(mirrored_pairs(PAIRS, chance), sides=sides) for _ in range(_TEMPLATES)]


def attribute_counts() -> list[int]:
    """Return how many attributes a live leg has, and its shadow."""
    return [len(to_attributes(leg)) for leg in mirrored_pairs(1, Random(1))[0]]


def _pair(number: int, chance: Random) -> tuple[Leg, Leg]:
    digest, duration, tokens = f"{chance.getrandbits(256):064x}", chance.uniform(0.2, 1.5), chance.randrange(40, 500)
    asked = usage(chance.randrange(4000), tokens, request_model="m-large", finish_reasons=("stop",))
    shared: dict[str, Any] = {
        "experiment": EXPERIMENT,
        "trace_id": chance.getrandbits(127) | 1 << 127,
        "parent_span_id": chance.getrandbits(63) | 1 << 63,
        "streaming": True,
        "message_count": chance.randrange(8, 64),
    }

    def ended(before_ns: int, seconds: float) -> dict[str, Any]:
        return {
            "span_id": chance.getrandbits(63) | 1 << 63,
            "started_ns": T0 - before_ns - round(seconds * SECOND),
            "ended_ns": T0 - before_ns,
            "time_to_first_chunk": chance.uniform(0.1, 0.12),
        }

    name = f"{chance.getrandbits(128):032x}"
    other = f"{chance.getrandbits(256):064x}" if number % _DIFFERS == 0 else digest
    return (
        live(name, targets=(TARGET,), output_digest=digest, fields=asked, **shared,
             **ended(chance.randrange(1_000, 50_000_000), duration)),
        shadow(name, TARGET, output_digest=other, queue_time=chance.uniform(0.001, 0.01),
               fields=replace(asked, output_tokens=round(tokens * chance.uniform(0.9, 1.1))),
               **shared, **ended(chance.randrange(1_000, 5_000_000), duration * chance.uniform(0.9, 1.2))),
    )  # fmt: skip


def _write(data: _Bytes, places: _Places, values: _Bytes) -> None:
    """Write each value at all places of its row."""
    data[places[:, :, None] + np.arange(values.shape[1])] = values[:, None, :]
