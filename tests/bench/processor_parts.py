"""What a pair costs by part, each on its own: the same code on the same requests, in this process, by CPU time."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
from bench.processor_plan import Settings
from bench.processor_requests import PAIRS, templates
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from pydantic import SecretStr

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Pair
from shadowmesh.names import CostSource
from shadowmesh.pricing import PriceSettings, Pricing, TokenPrices
from shadowmesh.processor.decoded import Decoded
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.journal_format import Kind
from shadowmesh.processor.journal_segments import Entry, Segments
from shadowmesh.processor.pairing import Pairing
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, Content, PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store

_REQUESTS = 48
_BATCH = 1024
_PRICES = PriceSettings(model="m-*", per_million_tokens=TokenPrices(input=1.0, output=3.0))


def parts(settings: Settings, directory: Path, core: int) -> dict[str, float]:
    """Return the median CPU time of each part in µs for a pair, on the processor's core and collecting as seldom."""
    cores, thresholds = os.sched_getaffinity(0), gc.get_threshold()
    os.sched_setaffinity(0, {core})
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    try:
        return _measured(settings, directory)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        os.sched_setaffinity(0, cores)


def _measured(settings: Settings, directory: Path) -> dict[str, float]:
    made, chance = templates(Random(settings.seed)), np.random.default_rng(settings.seed)
    requests = [made[number % len(made)].fill(chance, time.time_ns()) for number in range(_REQUESTS)]
    ended: list[PairRecord | Content] = []
    spans: list[ReadableSpan] = []
    pricing = Pricing((_PRICES,))
    pipeline = Pipeline(
        ProcessorSettings(),
        pricing=pricing,
        resource=Resource({}),
        put=lambda item, _: ended.append(item),
        emit_span=spans.append,
        monotonic_ns=time.monotonic_ns,
        wall_ns=time.time_ns,
    )
    decoded: list[Decoded] = []
    figures = {
        "journal": _journal(directory / "parts-journal", requests),
        "decode": _cost(requests, lambda request: decoded.append(pipeline.decode(Signal.TRACES, request))),
    }
    figures["price"] = _cost(
        decoded, lambda one: [pricing.cost(leg, source=CostSource.COLLECTOR) for leg in _legs(one)]
    )
    buffer = Pairing(100_000, 60.0)
    figures["pair"] = _cost(decoded, lambda one: [buffer.add(leg, 0.0) for leg in _legs(one)])
    for one in decoded:
        pipeline.apply(one, 0)
    records = [item for item in ended if isinstance(item, PairRecord)]
    batches = [records[at : at + _BATCH] for at in range(0, len(records), _BATCH)]
    figures["compare"] = _cost(batches, lambda batch: [compare(pair) for pair, _ in _pairs(batch)])
    figures["store"] = _store(directory / "parts.db", batches)
    figures["metrics_and_compare_spans"] = _cost(
        batches, lambda batch: pipeline.stored(batch, Added([True] * len(batch)))
    )
    return figures


def _cost(items: Sequence[Any], work: Callable[[Any], object]) -> float:
    """Return the median CPU time of ``work`` on an item, for each pair that there is in one."""
    times = []
    for item in items:
        begun = time.thread_time()
        work(item)
        times.append(time.thread_time() - begun)
    pairs = _REQUESTS * PAIRS / len(items)
    return round(median(times) / pairs * 1e6, 1)


def _journal(directory: Path, requests: Sequence[bytes]) -> float:
    directory.mkdir()
    segments = Segments(directory, segment_bytes=64 << 20, durable=True, wall_ns=time.time_ns)
    try:
        return _cost(requests, lambda request: segments.append([Entry(Kind.TRACES, 0, request)], sync=True))
    finally:
        segments.close()


def _store(path: Path, batches: Sequence[Sequence[PairRecord]]) -> float:
    settings = StoreSettings(url=SecretStr(f"sqlite:///{path}"))
    with Store.open(settings, name="parts", instance="parts", now_ns=time.time_ns()) as store:
        return _cost(batches, lambda batch: store.add(batch, now_ns=time.time_ns()))


def _legs(decoded: Decoded) -> Iterable[Any]:
    return decoded.spans.legs


def _pairs(batch: Sequence[PairRecord]) -> Iterable[tuple[Pair, Any]]:
    return batch
