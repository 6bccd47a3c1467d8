"""
What an interceptor or a processor says of itself, for a terminal of 80 columns.

Names come from whoever configured or sent them, so what is no printable character is not printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shadowmesh.report import units
from shadowmesh.report.terminal import heading
from shadowmesh.telemetry.status_shape import (
    Buffers,
    Captured,
    Carrier,
    ConfigFile,
    Error,
    Export,
    Fill,
    Funnel,
    InterceptorStatus,
    Limit,
    Paired,
    ProcessorStatus,
    SamplingKeys,
    Status,
    Storage,
    Target,
)

_INDENT = 2


def status(known: InterceptorStatus | ProcessorStatus) -> RenderableType:
    """Return everything a status says."""
    body = _interceptor(known) if isinstance(known, InterceptorStatus) else _processor(known)
    return Group(*_who(known), *body, *_errors(known))


def _who(known: InterceptorStatus | ProcessorStatus) -> Iterator[RenderableType]:
    name = f" {_plain(known.service_name)}" if known.service_name else ""
    up = units.elapsed(known.uptime)
    yield Text.assemble(
        (f"{known.kind}{name}", "bold"), f": ShadowMesh {_plain(known.version)}, pid {known.pid}, up {up}"
    )
    yield Text(f"instance {_plain(known.instance_id) if known.instance_id else 'not started yet'}", style="dim")


def _interceptor(known: InterceptorStatus) -> Iterator[RenderableType]:
    if not known.accepting:
        yield Text("mirrors nothing: switched off, or being closed", style="bold yellow")
    for experiment in known.experiments:
        yield Text()
        yield heading(f"experiment {_plain(experiment.name)}")
        if experiment.sampling_keys is not None:
            yield _line(1, _sampling_keys(experiment.sampling_keys))
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
    yield _facts(facts)


def _captured(captured: Captured) -> str:
    parts = [f"{captured.written:,} calls written whole"]
    others = {"incomplete": captured.incomplete, "failed at the disk": captured.failed}
    parts += [f"{count:,} {what}" for what, count in others.items() if count]
    if captured.shed:
        parts.append(f"shed: {_counts(captured.shed)}")
    if captured.queue.used or captured.bytes.used:
        parts.append(f"{captured.queue.used:,} frames, {units.size(captured.bytes.used)} wait for the disk")
    return ", ".join(parts) + ("" if captured.accepting else "; ended")


def _sampling_keys(keys: SamplingKeys) -> str:
    share = units.UNKNOWN if keys.top_share is None else f"{keys.top_share * 100:.3g} % of calls"
    return f"sampled by key: most frequent one {share}, {keys.missing:,} calls without a key"


def _target(target: Target) -> Iterator[RenderableType]:
    rate = f"{target.rate * 100:.4g} %"
    yield _line(1, f"{_plain(target.name)}: {_plain(target.kind)} at {_plain(target.address)}, {rate} of calls")
    flight = f", {_of(target.in_flight)} in flight"
    if target.admits:
        yield _line(2, Text.assemble(("admits", "green"), flight))
    else:
        reason = _words(target.shed_reason or units.UNKNOWN)
        yield _line(2, Text.assemble((f"sheds everything: {reason}", "bold red"), flight))
    yield _line(2, _sum(target.funnel))
    if target.funnel.drop_reasons:
        yield _line(3, f"dropped: {_counts(target.funnel.drop_reasons)}")
    if target.limits:
        yield _line(2, f"left: {', '.join(map(_limit, target.limits))}")
    for name, detail in target.misfits.items():
        yield _line(2, Text.assemble((_words(name), "bold red"), f": {_plain(detail)}"))
    if target.lost:
        yield _line(3, Text.assemble(("legs lost", "bold yellow"), f": {_counts(target.lost)}"))


def _limit(limit: Limit) -> str:
    name = _words(limit.name)
    if limit.currency is None:
        return f"{limit.left:,.0f} of {limit.limit:,.0f} {name}"
    money = [units.money(amount, _plain(limit.currency)) for amount in (limit.left, limit.limit)]
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
    parts = [_plain(carrier.kind), "running" if carrier.running else "not running"]
    if carrier.workers is not None:
        parts.append(f"{_of(carrier.workers)} workers up")
    if carrier.restarts is not None:
        parts.append(f"restarted {carrier.restarts:,} \N{MULTIPLICATION SIGN}")
    if carrier.unconfirmed is not None:
        parts.append(f"{carrier.unconfirmed:,} calls unconfirmed")
    return ", ".join(parts)


def _config_file(file: ConfigFile) -> str:
    watched = "watched" if file.watched else "not watched"
    text = f"{_plain(file.path)}, {watched}, changed {file.applied:,} \N{MULTIPLICATION SIGN}"
    if file.refused:
        text += f", refused {file.refused:,} \N{MULTIPLICATION SIGN}"
    return f"{text}; what is there now is not in force: {_plain(file.problem)}" if file.problem else text


def _harm_guard(report: Mapping[str, object] | None) -> str:
    if report is None:
        return "none"
    return ", ".join(f"{_words(key)} {_value(value)}" for key, value in report.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({', '.join(f'{_words(str(key))} {_value(item)}' for key, item in value.items())})"
    if isinstance(value, list):
        return "; ".join(map(_value, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: units.UNKNOWN}[value]
    return f"{value:,.4g}" if isinstance(value, float) else _plain(str(value)) or "none"


def _processor(known: ProcessorStatus) -> Iterator[RenderableType]:
    requests = known.requests
    yield Text()
    yield _facts(
        {
            "listens on": _plain(known.listen),
            "requests": f"{requests.accepted:,} accepted, {requests.invalid:,} invalid, {requests.failed:,} failed, "
            f"{requests.set_aside:,} set aside, "
            f"{requests.overloaded:,} told to come again, {requests.refused:,} refused",
            "spans": f"{sum(known.spans.values()):,} received: {_counts(known.spans)}",
            "waiting": f"{_of(known.waiting)} legs",
            **(_kept(known.storage) if known.storage is not None else {}),
        }
    )
    for experiment in known.experiments:
        yield Text()
        yield heading(f"experiment {_plain(experiment.name)}")
        for target in experiment.targets:
            yield from _paired(target)
    if known.targets_left_out:
        yield _line(1, f"and {known.targets_left_out:,} more targets")
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
    return {
        "journal": f"{units.size(storage.journal.used)} of {units.size(storage.journal.cap)}",
        "store": ", ".join([_plain(storage.store), f"{storage.waiting:,} waiting", *troubles]),
    }


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
    yield _line(1, _plain(target.name))
    yield _line(2, verdict)
    if target.outcomes:
        yield _line(3, f"ended: {_counts(target.outcomes)}")
    yield _line(2, Text.assemble("interceptors: ", _sum(target.funnel)))
    if target.funnel.drop_reasons:
        yield _line(3, f"dropped: {_counts(target.funnel.drop_reasons)}")


def _export(export: Export) -> Iterator[RenderableType]:
    yield _line(1, _plain(export.endpoint))
    for queue in export.queues:
        waits = f"{_of(queue.items)} waiting"
        done = f"{queue.sent:,} sent, {queue.lost:,} lost, {queue.dropped:,} dropped"
        yield _line(2, f"{_plain(queue.name)}: {waits}, {done}")


def _errors(known: Status) -> Iterator[RenderableType]:
    yield Text()
    if not known.errors:
        yield Text("no errors", style="dim")
        return
    yield heading("errors, the last one first")
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=True, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for error in known.errors:
        table.add_row(f"{error.count:,} \N{MULTIPLICATION SIGN}", _last(error, known.at), _plain(error.cause))
    yield table
    if known.errors_left_out:
        yield _line(1, f"and {known.errors_left_out:,} more causes")


def _last(error: Error, now: datetime) -> str:
    if error.last_at is None:
        return units.UNKNOWN
    return f"{error.last_at:%Y-%m-%d %H:%M:%SZ}, {units.elapsed((now - error.last_at).total_seconds())} ago"


def _sum(funnel: Funnel) -> Text:
    parts = {"mirrored": funnel.mirrored, "not sampled": funnel.not_sampled, "dropped": funnel.dropped}
    if funnel.disabled:
        parts["disabled"] = funnel.disabled
    terms = " + ".join(f"{count:,} {what}" for what, count in parts.items())
    verdict = ("adds up", "bold green") if funnel.adds_up else ("does not add up", "bold red")
    return Text.assemble(verdict, f": {funnel.eligible:,} eligible = {terms}")


def _facts(facts: Mapping[str, str]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, fact)
    return table


def _line(depth: int, text: str | Text) -> Padding:
    return Padding(text if isinstance(text, Text) else Text(text), (0, 0, 0, depth * _INDENT))


def _fill(fill: Fill) -> Sequence[str]:
    return f"{fill.used:,}", f"{fill.cap:,}"


def _of(fill: Fill) -> str:
    return f"{fill.used:,} of {fill.cap:,}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_words(name)}" for name, count in sorted(counts.items()))


def _words(name: str) -> str:
    return _plain(name).replace("_", " ")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
