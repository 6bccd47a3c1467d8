"""
What has ended goes to the store in batches, in a thread of its own, and comes back as what was newly stored.

The journal is what makes that safe: a batch that the store does not take now waits and is tried again, and what waits
is still in the journal, from :meth:`Writer.oldest` on. Nothing here is dropped but what the store refuses for good,
which is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from shadowmesh.errors import StoreError
from shadowmesh.store.records import Added, Content, PairRecord
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults

_BATCH = 1024
_FIRST_BACK_OFF = 0.1
_MOST_BACK_OFF = 5.0
THREAD = "shadowmesh-store"
"""What the names of the threads begin with that may wait for a store."""

Result = TypeVar("Result")


class Stored(NamedTuple):
    """A batch of pairs, what became of each, and the number of the last row of this processor after it."""

    records: Sequence[PairRecord]
    added: Added
    number: int


class _Waiting(NamedTuple):
    item: PairRecord | Content
    position: int


class Writer:
    """
    Belongs to one event loop; the store is used in one thread, one call at a time and in order.

    Args:
        stored: told, on the loop, of every batch of pairs that was stored.
        most_waiting: beyond it :attr:`full` says so, and whoever feeds the writer stops for a while.
        patience: seconds that closing waits for a store that does not answer.
    """

    def __init__(
        self,
        store: Store,
        stored: Callable[[Stored], None],
        *,
        faults: Faults,
        wall_ns: Callable[[], int] = time.time_ns,
        most_waiting: int = 50_000,
        patience: float = 5.0,
    ) -> None:
        self._patience = patience
        self.refused = 0
        """What the store would not take, whatever was tried."""
        self.failing = False
        self._store = store
        self._stored = stored
        self._faults = faults
        self._wall_ns = wall_ns
        self._most = most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._under_way: Sequence[_Waiting] = ()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
        self._more, self._idle, self._roomy = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many are not stored yet."""
        return len(self._waiting) + len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether nothing more should come for a while."""
        return self.waiting >= self._most

    def oldest(self) -> int | None:
        """Return the smallest position of the journal that something not stored was made from; ``None`` if all is."""
        return min((one.position for batch in (self._waiting, self._under_way) for one in batch), default=None)

    def pairs(self) -> Iterator[PairRecord]:
        """Return the pairs that are not stored yet."""
        for batch in (self._under_way, self._waiting):
            for item, _ in batch:
                if isinstance(item, PairRecord):
                    yield item

    def earliest(self) -> int | None:
        """Return the wall-clock time of the earliest dispatch of what is not stored; ``None`` if everything is."""
        legs = (pair.live or pair.shadow for pair, _ in self.pairs())
        return min((leg.started_ns for leg in legs if leg is not None), default=None)

    def put(self, item: PairRecord | Content, position: int) -> None:
        """Take one in; it is stored soon."""
        self._waiting.append(_Waiting(item, position))
        self._idle.clear()
        self._more.set()

    def start(self) -> None:
        """Begin to store."""
        self._task = asyncio.create_task(self._run())

    async def room(self) -> None:
        """Return when at most half of what may wait is waiting."""
        while self.waiting > self._most // 2:
            self._roomy.clear()
            await self._roomy.wait()

    async def call(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returns when it is done in the store's thread, after what was begun before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def drain(self, seconds: float) -> bool:
        """Return whether everything was stored within so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return not self.waiting

    async def close(self) -> None:
        """
        Finish the call that is under way, leave the rest to the journal, and close the store.

        A call to which the store gives no answer goes on in its thread, and the store is closed after it.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        closed = asyncio.wrap_future(self._thread.submit(self._store.close))
        self._thread.shutdown(wait=False)
        await asyncio.wait([closed], timeout=self._patience)
        if closed.done():
            closed.result()
        else:
            self._faults.report("store", "gives no answer, and was left alone")

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._under_way = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            batch = self._under_way
            await self._pairs([one.item for one in batch if isinstance(one.item, PairRecord)])
            self._under_way = [one for one in batch if isinstance(one.item, Content)]
            await self._contents([one.item for one in self._under_way if isinstance(one.item, Content)])
            self._under_way = ()
            if self.waiting <= self._most // 2:
                self._roomy.set()
            if not self._waiting:
                self._more.clear()
                self._idle.set()

    async def _pairs(self, records: list[PairRecord]) -> None:
        def add() -> Stored:
            added = self._store.add(records, now_ns=self._wall_ns())
            return Stored(records, added, self._store.number)

        if not records:
            return
        stored = await self._tried(add)
        if stored is not None:
            self._stored(stored)
        elif len(records) == 1:
            self._lose()
        else:
            # One of them may be what it does not take.
            half = len(records) // 2
            await self._pairs(records[:half])
            await self._pairs(records[half:])

    async def _contents(self, contents: list[Content]) -> None:
        def add() -> int:
            return self._store.add_content(contents, now_ns=self._wall_ns())

        if not contents or await self._tried(add) is not None:
            return
        if len(contents) == 1:
            self._lose()
        else:
            half = len(contents) // 2
            await self._contents(contents[:half])
            await self._contents(contents[half:])

    async def _tried(self, work: Callable[[], Result]) -> Result | None:
        """Do it, however often that has to be tried; ``None`` where the store will never do it."""
        back_off = _FIRST_BACK_OFF
        while True:
            try:
                result = await self.call(work)
            except StoreError as error:
                self._faults.report("store", error)
                if not error.retryable:
                    return None
                self.failing = True
                await asyncio.sleep(back_off)
                back_off = min(back_off * 2, _MOST_BACK_OFF)
            except Exception as error:  # noqa: BLE001 - the one boundary: who stores must not end over one record
                self._faults.report("store", error)
                return None
            else:
                self.failing = False
                return result

    def _lose(self) -> None:
        self.refused += 1
        self._faults.report("store", "refuses a pair or its text for good, which is lost")
