"""
Telling: each change of an answer and each alarm to the log, and where a webhook is set, to its receiver.

Alerts wait in the store, at most a thousand, and are offered one after the other in the order in which they were made.
Each is offered again, ever more seldom, until its receiver takes it (a 2xx), refuses it (a redirect or a 4xx, but for
those that ask to come again), or it is too old; what is not taken is counted as lost. Delivery is at least once: who
dies between an answer and noting it offers that alert again, under the same id.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from functools import partial

from shadowmesh.names import METRIC_ALERTS_DELIVERED, METRIC_ALERTS_LOST, METRIC_ALERTS_WAITING
from shadowmesh.processor.webhook import Webhook
from shadowmesh.processor.writer import Writer
from shadowmesh.store.alerts import AlertBook, Change, Waiting
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.faults import Faults
from shadowmesh.verdict.alert import answer_changed
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Verdict

# What a receiver answers that may take the same alert later.
_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
_TAKEN = range(200, 300)
_BACK_OFF = (1.0, 300.0)

_LOG = logging.getLogger("shadowmesh")


class Alerts:
    """
    The alerts of one processor, on one event loop; nothing ever waits for them.

    Args:
        book: where they wait. It is used in the writer's thread.
        webhook: who is told; ``None``: nobody is, and nothing waits.
        max_age: seconds that an alert is offered for.
        wall_ns: the clock of their age.
        back_off: seconds before an alert is offered again: at first, and at most.
    """

    def __init__(
        self,
        book: AlertBook,
        writer: Writer,
        webhook: Webhook | None,
        *,
        max_age: float,
        faults: Faults,
        wall_ns: Callable[[], int],
        back_off: tuple[float, float] = _BACK_OFF,
    ) -> None:
        self._book = book
        self._writer = writer
        self._webhook = webhook
        self._max_age_ns = round(max_age * 1e9)
        self._faults = faults
        self._wall_ns = wall_ns
        self._back_off = back_off
        self._waiting = self._delivered = self._lost = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Offer what waits, from before the start too."""
        if self._webhook is not None:
            self._arrived.set()
            self._task = asyncio.create_task(self._run(self._webhook), name="shadowmesh-alerts")

    async def close(self) -> None:
        """Stop; what waits, waits for the next start. Safe more than once."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def idle(self, seconds: float) -> bool:
        """Return whether nothing waits any more within so many seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def gauges(self) -> dict[str, float]:
        """Return what metrics say of them."""
        return {
            METRIC_ALERTS_WAITING: self._waiting,
            METRIC_ALERTS_DELIVERED: self._delivered,
            METRIC_ALERTS_LOST: self._lost,
        }

    async def judged(self, judgement: Judgement) -> None:
        """
        Tell of every answer that is another one than the one before.

        Raises:
            StoreError: of the rest it is told the next time.
        """
        for verdict in judgement.verdicts:
            change: Change | None = await self._writer.call(partial(self._answered, verdict, judgement.at_ns))
            if change is not None:
                level = logging.INFO if verdict.answer is Answer.GO else logging.WARNING
                where = f"{verdict.key.experiment}/{verdict.key.target}"
                _LOG.log(level, "%s: %s, was %s: %s", where, verdict.answer, change.before, verdict.reason)
                self._tell(lost=not change.kept)

    def watched(self, watched: Iterable[Watched]) -> None:
        """Tell of alarms, which are on their way already."""
        for key, _, alarms, lost in watched:
            for alarm in alarms:
                if alarm.news:
                    _LOG.warning("%s/%s: alarm: %s became worse of late", key.experiment, key.target, alarm.finding)
                    self._tell()
            self._tell(lost=lost)

    def _answered(self, verdict: Verdict, at_ns: int) -> Change | None:
        alert = None if self._webhook is None else partial(answer_changed, verdict, at_ns=at_ns)
        return self._book.answered(verdict.key, verdict.answer, judged_ns=at_ns, alert=alert)

    def _tell(self, *, lost: int = 0) -> None:
        if lost:
            self._lost += lost
            self._faults.report("webhook", "too many alerts wait, dropping", lost)
        self._idle.clear()
        self._arrived.set()

    async def _run(self, webhook: Webhook) -> None:
        failed = 0
        while True:
            if not failed:
                await self._arrived.wait()
                self._arrived.clear()
            try:
                failed = 0 if await self._offer_all(webhook) else failed + 1
            except Exception as error:  # noqa: BLE001 - the one boundary: no failure may end the task that tells
                self._faults.report("webhook", error)
                failed += 1
            if failed:
                first, most = self._back_off
                await asyncio.sleep(min(first * 2.0 ** min(failed - 1, 60), most))

    async def _offer_all(self, webhook: Webhook) -> bool:
        """Offer what waits in order; return whether nothing does any more."""
        while True:
            self._waiting = await self._writer.call(self._book.waiting)
            alert = await self._writer.call(self._book.next)
            if alert is None:
                self._idle.set()
                return True
            if not await self._offer(webhook, alert):
                return False
            await self._writer.call(partial(self._book.done, alert))

    async def _offer(self, webhook: Webhook, alert: Waiting) -> bool:
        """Offer one; return whether it is done with, one way or the other."""
        document = alert.document
        if self._wall_ns() - alert.made_ns > self._max_age_ns:
            return self._given_up("too old", document)
        try:
            status = await webhook.post(str(document["id"]), json.dumps(document).encode())
        except OSError as error:
            self._faults.report("webhook", error)
            return False
        if status in _TAKEN:
            self._delivered += 1
            return True
        if status in _AGAIN:
            self._faults.report("webhook", f"the receiver answered {status}")
            return False
        return self._given_up(f"the receiver answered {status}", document)

    def _given_up(self, why: str, document: dict[str, object]) -> bool:
        self._lost += 1
        self._faults.report("webhook", f"given up: {why}")
        _LOG.warning("alert %s was given up: %s", document["id"], why)
        return True
