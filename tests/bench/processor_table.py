"""The report of the processor's benchmark for reading, within 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_Row = dict[str, Any]


def print_report(report: _Row, console: Console) -> None:
    """Print a table for each kind of load, the parts, the machine, and what was expected."""
    common = ("pairs/s", "CPU µs/pair", "core", "others", "p50 lag s", "p99 lag s")
    console.print(_table("saturation: eight senders", ("subject", *common), report["saturation"], ("subject",)))
    console.print(_table("open loops", ("share", *common), report["load"], ("share",)))
    console.print(_table("the same open loop beside ever more stored pairs", ("stored", *common), report["growth"],
                         ("stored",)))  # fmt: skip
    table = Table(title="a pair, by part", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("part")
    table.add_column("CPU µs", justify="right")
    for name, cost in report["parts_us_per_pair"].items():
        table.add_row(name.replace("_", " "), f"{cost:.1f}")
    console.print(table)
    for line in _lines(report):
        console.print(line, highlight=False)


def _table(title: str, columns: Sequence[str], rows: list[_Row], first: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, collapse_padding=True)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        lags = [f"{row[name]:.3f}" if name in row else "" for name in ("p50_lag_s", "p99_lag_s")]
        table.add_row(*(str(row[name]) for name in first), str(row["pairs_per_s"]), f"{row['cpu_us_per_pair']:.0f}",
                      f"{row['busy']:.0%}", f"{row['others_on_core']:.0%}", *lags)  # fmt: skip
    return table


def _lines(report: _Row) -> list[str]:
    machine, settings = report["machine"], report["settings"]
    live, shadow = settings["attributes_per_span"]
    lines = [
        (
            f"{report['pairs_per_s']} pairs/s, {report['spans_per_s']} spans/s; {report['pairs_per_cpu_s']} pairs per"
            f" second of CPU; {report['bytes_per_open_pair']} bytes per open pair"
        ),
        (
            f"requests of {2 * settings['pairs_per_request']} spans and {settings['request_bytes']} bytes, {live} and"
            f" {shadow} attributes; {machine['cpu']}, {machine['cores']} cores, Python {machine['python']};"
            f" processor and Collector on core {machine['pinning']['processor']}"
        ),
    ]
    if "ratio" in report:
        lines.append(
            f"the Collector: {report['collector_spans_per_s']} spans/s; we are at {report['ratio']:.2f} of that, by CPU"
            f" time at {report['ratio_cpu']:.2f}"
        )
    for one in report["expectations"]:
        mark = "[green]met[/green]" if one["met"] else "[red]not met[/red]"
        lines.append(f"expected {one['figure']} {one['relation']} {one['limit']:g}; measured {one['value']:g}: {mark}")
    return [*lines, *(f"note: {note}" for note in report["notes"])]
