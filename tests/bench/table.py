"""The report for reading, within 100 columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.modes import MODES, REFERENCE
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_Row = dict[str, Any]
_COLUMNS = (
    "mode", "calls/s", "×", "p50 µs", "p99 µs", "CPU µs", "path added (95 %)", "×", "all", "share", "core",
)  # fmt: skip
_POOLED_COLUMNS = ("mode", "calls", "p50 added % (95 %)", "p99 added % (95 %)", "CPU µs", "all µs", "share")


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print one table per shape, what the columns mean, the machine, and what was expected."""
    for shape in report["settings"]["shapes"]:
        rows = [row for row in report["rows"] if row["shape"] == shape["name"]]
        pooled = bool(shape["model_seconds"])
        columns, cells = (_POOLED_COLUMNS, _pooled_cells) if pooled else (_COLUMNS, _cells)
        console.print(_table(title(shape), columns, [cells(row) for row in rows]))
    for line in (*_legend(report), *machine_lines(report["machine"]), *map(_expectation, report["expectations"])):
        console.print(line, highlight=False)
    for note in report["notes"]:
        console.print(f"note: {note}", highlight=False)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(collapse_padding=True, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _legend(report: dict[str, Any]) -> list[str]:
    measured = {row["mode"] for row in report["rows"]}
    rounds = report["settings"]["rounds_done"]
    return [
        *(f"[bold]{mode.name}[/bold]: {mode.about}" for mode in MODES if mode.name in measured),
        (
            f"Midmeans of {rounds} rounds; × and what has a sign are against the bare windows just before and after."
            " CPU: of the live process, all threads, per call or stream, at the core's typical pace; path: that and"
            " Envoy's own; all: children, shadows and OTLP sink too. share: shadow calls that reached the shadow. core:"
            " how much of its core the live process used."
        ),
    ]


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """Say what it ran on, and which cores each process had."""
    cores = {role: ", ".join(map(str, numbers)) for role, numbers in machine["pinning"].items()}
    return [
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}",
        ", ".join(f"{name} {version}" for name, version in machine["packages"].items()),
        (
            f"pinned: live server to core {cores['live']}; Envoy, and the live process's children, to {cores['envoy']};"
            f" shadow, OTLP sink, load generator and benchmark to {cores['shadow']};"
            f" load average before: {machine['load_average_at_start'][0]:.2f}"
        ),
    ]


def title(shape: dict[str, Any]) -> str:
    """Say what a shape of load is."""
    what = f"{shape['messages']}-message server streams" if shape["streaming"] else "unary"
    model = f", model of {shape['model_seconds'] * 1e3:g} ms" if shape["model_seconds"] else ""
    load = f"{shape['concurrency']} in flight" if shape["concurrency"] else f"open loop, {shape['rate']:g} calls/s"
    metadata = ", with metadata" if shape["metadata"] else ""
    return f"{shape['name']}: {what}{model}, {load}, {shape['connections']} connection(s){metadata}"


def _cells(row: _Row) -> tuple[str, ...]:
    digits = 0 if abs(row["cpu_us_path_added"]) >= 100 else 1
    reference = row["mode"] == REFERENCE
    latency: Callable[[str], str] = lambda name: (  # noqa: E731
        f"{row[name]:.0f}" if reference else f"{row[f'{name}_added']:+.0f}"
    )
    return (
        row["mode"],
        f"{row['rps']:.0f}",
        f"{row['rps_ratio']:.2f}",
        latency("p50_us"),
        latency("p99_us"),
        f"{row['cpu_us_per_call']:.0f}",
        "" if reference else _interval(row, "cpu_us_path_added", digits),
        f"{row['cpu_ratio']:.2f}",
        f"{row['cpu_us_all']:.0f}",
        f"{row['mirrored_share']:.3f}" if row["mirrored_share"] else "",
        f"{row['live_busy']:.0%}",
    )


def _pooled_cells(row: _Row) -> tuple[str, ...]:
    reference = row["mode"] == REFERENCE
    absolute = [f"{row[name] / 1e3:.2f} ms" for name in ("p50_us", "p99_us")]
    added = [_interval(row, name, 2) for name in ("p50_added_percent", "p99_added_percent")]
    return (
        row["mode"],
        str(row["calls"]),
        *(absolute if reference else added),
        f"{row['cpu_us_per_call']:.0f}",
        f"{row['cpu_us_all']:.0f}",
        f"{row['mirrored_share']:.3f}" if row["mirrored_share"] else "",
    )


def _interval(row: _Row, name: str, digits: int) -> str:
    low, high = row[f"{name}_ci"]
    return f"{row[name]:+.{digits}f} ({low:.{digits}f}…{high:.{digits}f})"


def _expectation(expected: _Row) -> str:
    low, high = expected["ci"]
    mark = "[green]met[/green]" if expected["met"] else "[red]not met[/red]"
    mark += "" if expected["certain"] else ", within the noise"
    against = f" less {expected['against']}'s" if expected["against"] else ""
    return (
        f"expected {expected['mode']}, {expected['shape']}: {expected['figure']}{against} {expected['relation']}"
        f" {expected['limit']:g}; measured {expected['value']:.3g} ({low:.3g} … {high:.3g}): "
        + (f"[yellow]void, {expected['void']}[/yellow]" if expected["void"] else mark)
    )
