"""Whatever ends a processor, or its connection, and whenever: each pair is counted once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from support.legs import T0
from support.store_writer import batch_ids
from support.stored_pairs import matched
from support.stores import OpenStore

from shadowmesh.errors import StoreError
from shadowmesh.store.database import Database
from shadowmesh.store.reader import PairFilter
from shadowmesh.store.store import Store
from shadowmesh.store.writer import PairWriter

_numbers = count(1)


def stored_ids(store: Store) -> list[str]:
    return [stored.record.pair.pair_id for stored in store.reader.pairs(PairFilter())]


@pytest.mark.parametrize("batches", [1, 7, 30])
def test_after_a_kill_the_checkpoint_and_the_rows_behind_it_are_all_there_is(
    url: str, open_store: OpenStore, batches: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "support.store_writer", url, "killed"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    last, told = [tuple(map(int, process.stdout.readline().split())) for _ in range(batches)][-1]
    process.kill()
    process.communicate()

    store = open_store("killed")
    checkpoint = store.checkpoint()
    assert checkpoint is not None
    counted = int(checkpoint.state) + sum(1 for _ in store.rows_after(checkpoint.number))
    assert counted == len(stored_ids(store)) == len(set(stored_ids(store)))
    assert counted >= told
    # Then everything is delivered again, and more.
    for batch in range(last + 3):
        counted += sum(store.add([matched(pair_id) for pair_id in batch_ids(batch)], now_ns=T0).new)
    everything = {pair_id for batch in range(last + 3) for pair_id in batch_ids(batch)}
    assert counted == len(stored_ids(store)) >= len(everything)
    assert everything <= set(stored_ids(store))


class Unreliable(Database):
    """A database that fails as often as it is told to, before a commit or behind it."""

    def __init__(self, url: str) -> None:
        super().__init__(url, create=False)
        self.failures: list[str] = []

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        failure = self.failures.pop() if self.failures else None
        with super().writing(durable=durable) as connection:
            yield connection
            if failure == "before":
                raise StoreError("failed before the commit", retryable=True)
        if failure == "behind":
            raise StoreError("lost the answer to the commit", retryable=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    batches=st.lists(
        st.tuples(
            st.lists(st.integers(0, 8), min_size=1, max_size=6),
            st.lists(st.sampled_from(["before", "behind"]), max_size=3),
        ),
        max_size=6,
    )
)
def test_each_pair_is_told_as_new_once_whatever_fails(
    open_store: OpenStore, url: str, batches: list[tuple[list[int], list[str]]]
) -> None:
    other, run = open_store("other"), next(_numbers)
    other.add([matched(f"{run}-{n}") for n in (0, 5)], now_ns=T0)
    mine = open_store(f"mine {run}")
    database = Unreliable(url)
    writer = PairWriter(database, mine._writer, mine.number)
    told: Counter[str] = Counter()
    for numbers, failures in batches:
        batch = [matched(f"{run}-{n}") for n in numbers]
        database.failures[:] = failures
        for _ in failures:
            with pytest.raises(StoreError):
                writer.add(batch, now_ns=T0)
        added = writer.add(batch, now_ns=T0)
        told.update(record.pair.pair_id for record, new in zip(batch, added.new, strict=True) if new)
        assert writer.number >= mine.number
    assert sorted(told) == sorted(stored.record.pair.pair_id for stored in mine.rows_after(0))
    assert set(told.values()) <= {1}
    database.close()
    mine.close()


def test_processors_that_store_the_same_at_once_in_different_orders_share_it_and_none_fails(
    open_store: OpenStore,
) -> None:
    rounds = [[f"{turn}-{n:04d}" for n in range(400)] for turn in range(8)]
    orders: tuple[Callable[[list[str]], list[str]], ...] = (
        lambda names: names,
        lambda names: names[::-1],
        lambda names: names[200:] + names[:200],
    )
    stores = [open_store(f"processor {n}") for n in range(len(orders))]
    told: list[Counter[str]] = [Counter() for _ in stores]
    failed: list[Exception] = []
    together = threading.Barrier(len(orders))

    def add(store: Store, order: Callable[[list[str]], list[str]], mine: Counter[str]) -> None:
        for names in rounds:
            batch = [matched(pair_id) for pair_id in order(names)]
            together.wait()
            try:
                new = store.add(batch, now_ns=T0).new
            except StoreError as error:
                failed.append(error)
            else:
                mine.update(record.pair.pair_id for record, is_new in zip(batch, new, strict=True) if is_new)

    threads = [threading.Thread(target=add, args=each) for each in zip(stores, orders, told, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    everything = [name for names in rounds for name in names]
    assert sum(told, Counter()) == Counter(everything)
    assert sorted(stored_ids(stores[0])) == everything
