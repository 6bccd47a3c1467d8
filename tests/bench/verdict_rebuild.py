"""How long it takes to make the ledgers of a store anew from its pairs, on SQLite."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

from support.folded import KEY, fold, pair

from shadowmesh.model import Cost, Fields
from shadowmesh.names import CostSource
from shadowmesh.store.records import PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store

_BATCH: Final = 2000
_PER_SECOND: Final = 100
_CONTROL: Final = replace(KEY, target="control", target_digest="t0")
_COST: Final = Cost(amount=0.01, currency="USD", source=CostSource.COLLECTOR)


def rebuild_seconds(pairs: int, *, controls: int = 0) -> float:
    """
    Store so many streams of one candidate in a new file, and return how long it takes to read and fold them all.

    Args:
        controls: one of so many exchanges is mirrored to a control, too; 0 for none.
    """
    with tempfile.TemporaryDirectory() as directory:
        settings = StoreSettings.model_validate({"url": f"sqlite:///{Path(directory) / 'bench.db'}"})
        store = Store.open(settings, name="bench", instance="bench", now_ns=1)
        try:
            random = Random(1)
            for start in range(0, pairs, _BATCH):
                store.add(list(_pairs(random, start, min(start + _BATCH, pairs), controls)), now_ns=1)
            began = time.perf_counter()
            folded = fold(store)
            seconds = time.perf_counter() - began
        finally:
            store.close()
    if folded != pairs + (-(-pairs // controls) if controls else 0):
        raise RuntimeError(f"{folded} of {pairs} pairs were folded")
    return seconds


def _pairs(random: Random, start: int, end: int, controls: int) -> Iterator[PairRecord]:
    for number in range(start, end):
        if controls and number % controls == 0:
            both = ("candidate", "control")
            yield _pair(random, number, targets=both)
            yield _pair(random, number, targets=both, key=_CONTROL, target_kind="control")
        else:
            yield _pair(random, number)


def _pair(random: Random, number: int, **facts: Any) -> PairRecord:
    return pair(
        f"{number:032x}",
        dispatched=number / _PER_SECOND,
        seconds=random.lognormvariate(-1.6, 0.6),
        fields=Fields(operation="chat", input_tokens=100, output_tokens=random.randrange(300)),
        cost=_COST,
        streaming=True,
        time_to_first_chunk=random.lognormvariate(-3.0, 0.3),
        **facts,
    )
