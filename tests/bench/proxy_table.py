"""The report for reading, within 120 columns."""

from __future__ import annotations

from typing import Any

from bench.proxy_plan import EXTRACTION, MODES, NAMES
from bench.table import machine_lines, title
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_Row = dict[str, Any]
_COLUMNS = (
    "mode", "calls/s", "× direct", "p50 µs", "p99 µs", "live CPU µs", "hop CPU µs (95 %)", "live", "hop", "load",
)  # fmt: skip


def print_report(report: _Row, console: Console) -> None:
    """Print one table per shape, what the columns mean, the machine, and what was expected."""
    for shape in report["settings"]["shapes"]:
        table = Table(title=title(shape), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for place, name in enumerate(_COLUMNS):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for row in report["rows"]:
            if row["shape"] == shape["name"]:
                table.add_row(*_cells(row))
        console.print(table)
    lines = [
        *(f"[bold]{NAMES.get(mode.name, mode.name)}[/bold]: {mode.about}" for mode in MODES),
        (
            f"Midmeans of {report['settings']['rounds_done']} rounds. CPU per call or stream, all threads, at the"
            " cores' typical pace. live, hop, load: how many cores the live server, the hop and the load generator"
            " used."
        ),
        *(_extraction(row) for row in report["rows"] if row["mode"] == EXTRACTION),
        *machine_lines(report["machine"]),
        *map(_expectation, report["expectations"]),
        *(f"note: {note}" for note in report["notes"]),
    ]
    for line in lines:
        console.print(line, highlight=False)


def _cells(row: _Row) -> tuple[str, ...]:
    hop = f"{row['cpu_us_hop']:.0f} {_interval(row['cpu_us_hop_ci'], 0)}" if row["cpu_us_hop"] else ""
    return (
        row["mode"],
        f"{row['rps']:.0f}",
        f"{row['rps_ratio']:.2f}",
        f"{row['p50_us']:.0f}",
        f"{row['p99_us']:.0f}",
        f"{row['cpu_us_per_call']:.0f}",
        hop,
        f"{row['live_busy']:.2f}",
        f"{row['hop_busy']:.2f}" if row["cpu_us_hop"] else "",
        f"{row['load_busy']:.2f}",
    )


def _extraction(row: _Row) -> str:
    return (
        f"fields and output of a unary pair: {row['cpu_us_per_pair']:.1f} {_interval(row['cpu_us_per_pair_ci'], 1)} µs"
    )


def _expectation(one: _Row) -> str:
    mark = "[green]met[/green]" if one["met"] else "[red]not met[/red]"
    mark += "" if one["certain"] else ", within the noise"
    against = f" over {one['against']}'s" if one["against"] else ""
    return (
        f"expected {one['mode']}, {one['shape']}: {one['figure']}{against} {one['relation']} {one['limit']:g};"
        f" measured {one['value']:.3g} {_interval(one['ci'], 2)}: "
        + (f"[yellow]void, {one['void']}[/yellow]" if one["void"] else mark)
    )


def _interval(ends: list[float], digits: int) -> str:
    return f"({ends[0]:.{digits}f} … {ends[1]:.{digits}f})"
