"""What a processor says of itself: its requests, what it keeps, its targets and endpoints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from shadowmesh.report import units
from shadowmesh.report.status_lines import counted, fact_table, filled, funnel_sum, line, plain
from shadowmesh.report.terminal import heading
from shadowmesh.telemetry.status_shape import Export, JournalTroubles, Paired, ProcessorStatus, Storage


def processor(known: ProcessorStatus) -> Iterator[RenderableType]:
    """Yield what a processor says."""
    requests = known.requests
    yield Text()
    yield fact_table(
        {
            "listens on": plain(known.listen),
            "requests": f"{requests.accepted:,} accepted, {requests.invalid:,} invalid, {requests.failed:,} failed, "
            f"{requests.set_aside:,} set aside, "
            f"{requests.overloaded:,} told to come again, {requests.refused:,} refused",
            "spans": f"{sum(known.spans.values()):,} received: {counted(known.spans)}",
            "waiting": f"{filled(known.waiting)} legs",
            **(_kept(known.storage) if known.storage is not None else {}),
        }
    )
    for experiment in known.experiments:
        yield Text()
        yield heading(f"experiment {plain(experiment.name)}")
        for target in experiment.targets:
            yield from _paired(target)
    if known.targets_left_out:
        yield line(1, f"and {known.targets_left_out:,} more targets")
    if known.exports:
        yield Text()
        yield heading("exports")
        for export in known.exports:
            yield from _export(export)


def _kept(storage: Storage) -> dict[str, str]:
    troubles = [
        *(["failing"] if storage.failing else []),
        *([f"{storage.refused:,} refused"] if storage.refused else []),
        *([f"{storage.late_texts:,} texts too late to be compared"] if storage.late_texts else []),
    ]
    bytes_kept = f"{units.size(storage.journal.used)} of {units.size(storage.journal.cap)}"
    return {
        "journal": ", ".join([bytes_kept, *_journal_troubles(storage.journal_troubles)]),
        "store": ", ".join([plain(storage.store), f"{storage.waiting:,} waiting", *troubles]),
    }


def _journal_troubles(troubles: JournalTroubles | None) -> Iterator[str]:
    if troubles is None:
        return
    if troubles.full:
        yield f"{troubles.full:,} requests refused: full"
    if troubles.busy:
        yield f"{troubles.busy:,} requests refused: its disk is behind"
    if troubles.failing:
        yield f"{troubles.failing:,} requests refused: its disk fails"
    if troubles.unsynced:
        yield f"{troubles.unsynced:,} syncs failed after requests were acknowledged"
    if troubles.damaged:
        yield f"{troubles.damaged:,} × damaged, {units.size(troubles.damaged_bytes)} lost"


def _paired(target: Paired) -> Iterator[RenderableType]:
    ended = sum(target.outcomes.values())
    sums = f": {target.sent:,} pairs sent = {ended:,} ended + {target.waiting:,} waiting"
    if target.adds_up:
        verdict = Text.assemble(("adds up", "bold green"), sums)
    elif target.missing > 0:
        missing = f"{target.missing:,} missing"
        verdict = Text.assemble((missing, "bold yellow"), f" (under way, or lost){sums} + {missing}")
    else:
        ahead = f"{-target.missing:,} ahead"
        verdict = Text.assemble(
            (ahead, "bold yellow"), f" of what interceptors have counted yet{sums} \N{MINUS SIGN} {ahead}"
        )
    yield line(1, plain(target.name))
    yield line(2, verdict)
    if target.outcomes:
        yield line(3, f"ended: {counted(target.outcomes)}")
    yield line(2, Text.assemble("interceptors: ", funnel_sum(target.funnel)))
    if target.funnel.drop_reasons:
        yield line(3, f"dropped: {counted(target.funnel.drop_reasons)}")


def _export(export: Export) -> Iterator[RenderableType]:
    yield line(1, plain(export.endpoint))
    for queue in export.queues:
        waits = f"{filled(queue.items)} waiting"
        done = f"{queue.sent:,} sent, {queue.lost:,} lost, {queue.dropped:,} dropped"
        yield line(2, f"{plain(queue.name)}: {waits}, {done}")
