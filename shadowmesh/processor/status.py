"""What a processor says of itself: the account of every target, the buffer, the endpoints, the errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from itertools import groupby
from typing import Any

from shadowmesh.processor.destination import Destination
from shadowmesh.processor.funnel import Account
from shadowmesh.processor.outbox import Outbox
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.reception import Requests
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.snapshot import funnel, without_secrets
from shadowmesh.telemetry.status_shape import (
    Export,
    Fill,
    Paired,
    PairedExperiment,
    ProcessorStatus,
    Queue,
    Storage,
    as_json,
)
from shadowmesh.telemetry.status_shape import Requests as RequestCounts

# Names come from whoever sends spans; the answer stays small whatever they send.
_MOST_TARGETS = 200
_LONGEST_NAME = 128
_ANSWER_SECONDS = 1.0


def status_of(
    pipeline: Pipeline,
    settings: ProcessorSettings,
    *,
    listen: str,
    header: Mapping[str, Any],
    requests: Requests,
    destinations: Iterable[Destination],
    storage: Storage | None = None,
) -> ProcessorStatus:
    """Return the status; ``header`` is what :func:`~shadowmesh.telemetry.snapshot.header` returned."""
    accounts = pipeline.accounts()
    return ProcessorStatus(
        **header,
        listen=listen,
        requests=RequestCounts(**asdict(requests)),
        spans=pipeline.received(),
        waiting=Fill(used=pipeline.waiting, cap=pipeline.capacity),
        storage=storage,
        experiments=tuple(
            PairedExperiment(name=_short(name), targets=tuple(map(_paired, group)))
            for name, group in groupby(accounts[:_MOST_TARGETS], key=lambda account: account.experiment)
        ),
        targets_left_out=max(len(accounts) - _MOST_TARGETS, 0),
        exports=tuple(
            Export(
                endpoint=without_secrets(export.endpoint),
                queues=tuple(_queue(kind, outbox) for kind, outbox in destination.outboxes().items()),
            )
            for export, destination in zip(settings.export, destinations, strict=False)
        ),
    )


def asking(loop: asyncio.AbstractEventLoop, status: Callable[[], ProcessorStatus]) -> Callable[[], dict[str, Any]]:
    """
    Return what another thread may call for the status as JSON; the loop makes it, which owns what is asked for.

    Raises:
        TimeoutError: when called, and the loop is too busy to answer.
    """

    def report() -> dict[str, Any]:
        answer: Future[dict[str, Any]] = Future()

        def look() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(as_json(status()))
                except Exception as error:  # noqa: BLE001 - handed to the thread that asked
                    answer.set_exception(error)

        loop.call_soon_threadsafe(look)
        try:
            return answer.result(_ANSWER_SECONDS)
        finally:
            answer.cancel()

    return report


def _paired(account: Account) -> Paired:
    return Paired(
        name=_short(account.target),
        funnel=funnel(account.decisions, {_short(reason): count for reason, count in account.drop_reasons.items()}),
        sent=account.sent,
        waiting=account.waiting,
        outcomes=dict(account.outcomes),
        missing=account.missing,
        adds_up=account.missing == 0,
    )


def _queue(kind: str, outbox: Outbox[Any]) -> Queue:
    return Queue(
        name=kind,
        items=Fill(used=outbox.waiting, cap=outbox.most_items),
        bytes=Fill(used=outbox.waiting_bytes, cap=outbox.most_bytes),
        sent=outbox.sent,
        lost=outbox.lost,
        dropped=outbox.dropped,
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
