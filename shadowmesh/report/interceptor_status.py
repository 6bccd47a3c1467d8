"""What a mesh says of itself: its targets, what waits, what carries it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from shadowmesh.names import HarmFigure
from shadowmesh.report import units
from shadowmesh.report.status_lines import counted, fact_table, filled, funnel_sum, line, plain, words
from shadowmesh.report.terminal import heading
from shadowmesh.telemetry.status_shape import (
    Buffers,
    Captured,
    Carrier,
    ConfigFile,
    Fill,
    InterceptorStatus,
    Limit,
    SamplingKeys,
    Target,
)

_SIDES = ("on", "off")


def interceptor(known: InterceptorStatus) -> Iterator[RenderableType]:
    """Yield what a mesh says."""
    if not known.accepting:
        yield Text("mirrors nothing: switched off, or being closed", style="bold yellow")
    for experiment in known.experiments:
        yield Text()
        yield heading(f"experiment {plain(experiment.name)}")
        if experiment.sampling_keys is not None:
            yield line(1, _sampling_keys(experiment.sampling_keys))
        for target in experiment.targets:
            yield from _target(target)
    yield Text()
    yield _buffers(known.buffers)
    yield Text()
    facts = {"carrier": _carrier(known.carrier), "harm guard": _harm_guard(known.harm_guard)}
    if known.config_file is not None:
        facts["configuration"] = _config_file(known.config_file)
    if known.captured is not None:
        facts["captured"] = _captured(known.captured)
    yield fact_table(facts)


def _captured(captured: Captured) -> str:
    parts = [f"{captured.written:,} calls written whole"]
    others = {"incomplete": captured.incomplete, "failed at the disk": captured.failed}
    parts += [f"{count:,} {what}" for what, count in others.items() if count]
    if captured.shed:
        parts.append(f"shed: {counted(captured.shed)}")
    if captured.queue.used or captured.bytes.used:
        parts.append(f"{captured.queue.used:,} frames, {units.size(captured.bytes.used)} wait for the disk")
    return ", ".join(parts) + ("" if captured.accepting else "; ended")


def _sampling_keys(keys: SamplingKeys) -> str:
    share = units.UNKNOWN if keys.top_share is None else f"{keys.top_share * 100:.3g} % of calls"
    return f"sampled by key: most frequent one {share}, {keys.missing:,} calls without a key"


def _target(target: Target) -> Iterator[RenderableType]:
    rate = f"{target.rate * 100:.4g} %"
    yield line(1, f"{plain(target.name)}: {plain(target.kind)} at {plain(target.address)}, {rate} of calls")
    flight = f", {filled(target.in_flight)} in flight"
    if target.admits:
        yield line(2, Text.assemble(("admits", "green"), flight))
    else:
        reason = words(target.shed_reason or units.UNKNOWN)
        yield line(2, Text.assemble((f"sheds everything: {reason}", "bold red"), flight))
    yield line(2, funnel_sum(target.funnel))
    if target.funnel.drop_reasons:
        yield line(3, f"dropped: {counted(target.funnel.drop_reasons)}")
    if target.limits:
        yield line(2, f"left: {', '.join(map(_limit, target.limits))}")
    for name, detail in target.misfits.items():
        yield line(2, Text.assemble((words(name), "bold red"), f": {plain(detail)}"))
    if target.lost:
        yield line(3, Text.assemble(("legs lost", "bold yellow"), f": {counted(target.lost)}"))


def _limit(limit: Limit) -> str:
    name = words(limit.name)
    if limit.currency is None:
        return f"{limit.left:,.0f} of {limit.limit:,.0f} {name}"
    money = [units.money(amount, plain(limit.currency)) for amount in (limit.left, limit.limit)]
    return f"{money[0]} of {money[1]} {name}"


def _buffers(buffers: Buffers) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 3), pad_edge=False, show_edge=False)
    table.add_column("buffer", no_wrap=True)
    for column in ("used", "cap"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("since the start")
    table.add_row("  frames for the engine", *_fill(buffers.queue))
    captured = buffers.captured_bytes
    table.add_row("  captured messages", units.size(captured.used), units.size(captured.cap))
    pairs = buffers.pairs
    if pairs is None:
        table.add_row("  span pairs", "\N{EN DASH}", "\N{EN DASH}", "no exporter here")
    else:
        since = f"{pairs.exported:,} exported, {pairs.dropped:,} dropped, {pairs.failed:,} failed"
        table.add_row("  span pairs", *_fill(pairs.waiting), since)
    return table


def _carrier(carrier: Carrier) -> str:
    if carrier.kind is None:
        return "none yet"
    parts = [plain(carrier.kind), "running" if carrier.running else "not running"]
    if carrier.workers is not None:
        parts.append(f"{filled(carrier.workers)} workers up")
    if carrier.restarts is not None:
        parts.append(f"restarted {carrier.restarts:,} \N{MULTIPLICATION SIGN}")
    if carrier.unconfirmed is not None:
        parts.append(f"{carrier.unconfirmed:,} calls unconfirmed")
    return ", ".join(parts)


def _config_file(file: ConfigFile) -> str:
    watched = "watched" if file.watched else "not watched"
    text = f"{plain(file.path)}, {watched}, changed {file.applied:,} \N{MULTIPLICATION SIGN}"
    if file.refused:
        text += f", refused {file.refused:,} \N{MULTIPLICATION SIGN}"
    return f"{text}; what is there now is not in force: {plain(file.problem)}" if file.problem else text


def _harm_guard(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "none"
    if not any(report.get(f"slots_{side}") for side in _SIDES):
        return "nothing judged yet"
    harm = plain(str(report.get("harm") or ""))
    seen = [f"{report.get(f'calls_{side}', 0):,} calls in {report.get(f'slots_{side}', 0):,} slots" for side in _SIDES]
    lines = [f"harm by {harm}, mirroring has stopped" if harm else "no harm seen", f"on {seen[0]}, off {seen[1]}"]
    lines += [_harm_figure(figure, report.get("limit")) for figure in report.get("figures", ())]
    return "\n".join(lines)


def _harm_figure(figure: Mapping[str, Any], limit: float | None) -> str:
    shares = (figure.get(f"share_{side}") for side in _SIDES)
    on, off = (units.UNKNOWN if share is None else f"{share * 100:.3g} %" for share in shares)
    name = words(str(figure.get("name")))
    what = f"over {units.duration(limit)}" if name == HarmFigure.LATENCY and limit is not None else name
    evidence, threshold = (figure.get(key) or 0.0 for key in ("log_evidence", "threshold"))
    return f"{what}: on {on}, off {off}, evidence {evidence:.2g} of {threshold:.2g}"


def _fill(fill: Fill) -> Sequence[str]:
    return f"{fill.used:,}", f"{fill.cap:,}"
