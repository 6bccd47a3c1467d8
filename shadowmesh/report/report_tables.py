"""A report for a terminal of 80 columns, without need of colour; the page has more, and the charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shadowmesh.report import units, verdict_table
from shadowmesh.report.candidate import (
    QUANTILES,
    CandidateReport,
    Distribution,
    LoadStep,
    Report,
    StatusRow,
    WorstPair,
)
from shadowmesh.report.candidate_text import funnel_rows, load_words, percent, trouble
from shadowmesh.report.daily_use import Day, day
from shadowmesh.report.finding_text import NOTHING, measure_words
from shadowmesh.report.terminal import Trimmed, heading
from shadowmesh.report.wire_text import one_line

_MOST_STATUSES = 12
_MOST_WORST = 8


def report(shown: Report) -> RenderableType:
    """Return everything of a report that a terminal can show."""
    if not shown.candidates:
        period = "" if shown.since_ns is None else " in this period"
        return Text(f"There is no evidence about any candidate{period}: no pair was stored.")
    parts: list[RenderableType] = []
    for one in shown.candidates:
        parts += [verdict_table.verdict(one.verdict), *_sections(one), Text()]
    return Trimmed(Group(*parts[:-1]))


def _sections(one: CandidateReport) -> Iterator[RenderableType]:
    if one.distributions:
        yield from (Text(), _latencies(one.distributions))
    if one.by_load:
        yield from (Text(), _by_load(one.by_load))
    use = day(one.use)
    if use.rows:
        yield from (Text(), _day(use))
        if use.saving:
            yield Text(use.saving)
        yield from (Text(note, style="dim") for note in use.notes)
    if one.statuses:
        yield from (Text(), _statuses(one.statuses))
    rows = funnel_rows(one.account)
    if rows:
        yield from (Text(), heading("funnel"))
        digits = len(f"{max(row.number for row in rows):,}")
        for row in rows:
            share = f"  {percent(row.share)}" if row.share is not None else ""
            yield Text(f"{row.number:>{digits},}  {'  ' * row.depth}{one_line(row.label, 48)}{share}")
    if one.worst:
        yield from (Text(), _worst(one.worst))


def _table(*columns: str) -> Table:
    """Return a table whose first column is text and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 2), pad_edge=False, show_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    return table


def _latencies(measures: Sequence[Distribution]) -> Table:
    table = _table("time", *(f"P{quantile * 100:g}" for quantile in QUANTILES), "calls", "cut off")
    for measure in measures:
        for side, values, counts, beyond in (
            ("live", measure.live_quantiles, measure.live, measure.beyond_live),
            ("shadow", measure.shadow_quantiles, measure.shadow, measure.beyond_shadow),
        ):
            texts = [NOTHING if value is None else units.duration(value) for value in values]
            table.add_row(f"{measure_words(measure.name)}, {side}", *texts, f"{sum(counts):,}", f"{beyond:,}")
    return table


def _by_load(steps: Sequence[LoadStep]) -> Table:
    table = _table("calls in flight", "live", "P50", "P95", "shadow", "P50", "P95")
    for step in steps:
        sides = ((step.live, step.live_p50, step.live_p95), (step.shadow, step.shadow_p50, step.shadow_p95))
        cells = []
        for legs, *quantiles in sides:
            cells += [f"{legs:,}", *(NOTHING if one is None else units.duration(one) for one in quantiles)]
        table.add_row(load_words(step), *cells)
    return table


def _day(use: Day) -> Table:
    table = _table(use.per, "live", "shadow", "difference")
    for row in use.rows:
        table.add_row(row.label, row.live_text, row.shadow_text, row.difference)
    return table


def _statuses(rows: Sequence[StatusRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 2), pad_edge=False, show_edge=False)
    table.add_column("live ended", overflow="fold")
    table.add_column("shadow ended", overflow="fold")
    table.add_column("pairs", justify="right", no_wrap=True)
    for row in rows[:_MOST_STATUSES]:
        table.add_row(
            Text(one_line(row.live, 24) or units.UNKNOWN),
            Text(one_line(row.shadow, 40) or units.UNKNOWN),
            f"{row.pairs:,}",
        )
    return table


def _worst(pairs: Sequence[WorstPair]) -> Table:
    # With wider gaps the longest status is one letter too long for 80 columns.
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("worst in", no_wrap=True)
    table.add_column("trace id", no_wrap=True)
    table.add_column("live", justify="right", overflow="fold")
    table.add_column("shadow", justify="right", overflow="fold")
    for pair in _first_of_each(pairs):
        table.add_row(
            "\n".join(f"{kind} {trouble(pair, kind)}".strip() for kind in pair.troubles),
            Text(pair.trace_id or NOTHING),
            _leg(pair.live_duration, pair.live_status),
            _leg(pair.shadow_duration, pair.shadow_status),
        )
    return table


def _first_of_each(pairs: Sequence[WorstPair]) -> list[WorstPair]:
    """Return the worst of every kind before the second worst of any."""
    seen: dict[str, int] = {}
    ranked = []
    for pair in pairs:
        rank = seen[pair.trouble] = seen.get(pair.trouble, 0) + 1
        ranked.append((rank, pair))
    return [pair for _, pair in sorted(ranked, key=lambda each: each[0])][:_MOST_WORST]


def _leg(duration: float | None, status: str) -> Text:
    took = "" if duration is None else units.duration(duration)
    failed = "" if status == "OK" else one_line(status, 20).lower()
    return Text("\n".join(part for part in (took, failed) if part) or NOTHING)
