"""The rows for reading, within 100 columns."""

from __future__ import annotations

from typing import Any

from bench.plan import MODES
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_COLUMNS = ("mode", "calls/s", "ratio", "p50 µs", "p99 µs", "CPU µs/call", "added µs (95 %)", "share", "core")


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print one table per shape, the machine, and what was expected."""
    machine, settings = report["machine"], report["settings"]
    for shape in settings["shapes"]:
        table = Table(
            collapse_padding=True, title=_title(shape), title_justify="left", title_style="bold", box=SIMPLE_HEAD
        )
        for place, name in enumerate(_COLUMNS):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for row in report["rows"]:
            if row["shape"] == shape["name"]:
                table.add_row(*_cells(row))
        console.print(table)
    for mode in MODES:
        console.print(f"[bold]{mode.name}[/bold]: {mode.about}", highlight=False)
    console.print(
        f"Medians of {settings['rounds_done']} rounds; ratio and added against {MODES[0].name} of the same round. CPU"
        " is the live process's, all threads, per call or stream. share: shadow calls that reached the shadow. core:"
        " how much of its core the live process used.",
        highlight=False,
    )
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    cores = machine["pinning"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}",
        packages,
        f"pinned: live server to core {_list(cores['live'])}; shadow, OTLP sink, load generator and benchmark to core"
        f" {_list(cores['shadow'])}; load average before: {machine['load_average_at_start'][0]:.2f}",
        sep="\n",
        highlight=False,
    )
    for expected in report["expectations"]:
        console.print(_expectation(expected), highlight=False)
    for note in report["notes"]:
        console.print(f"note: {note}", highlight=False)


def _title(shape: dict[str, Any]) -> str:
    what = f"{shape['messages']}-message server streams" if shape["streaming"] else "unary"
    load = f"{shape['concurrency']} in flight" if shape["concurrency"] else f"open loop, {shape['rate']:g} calls/s"
    return f"{shape['name']}: {what}, {load}, {shape['connections']} connection(s)"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["cpu_us_added_ci"]
    digits = 0 if row["cpu_us_per_call"] >= 1000 else 1
    reference = row["mode"] == MODES[0].name
    return (
        row["mode"],
        f"{row['rps']:.0f}",
        f"{row['rps_ratio']:.2f}",
        f"{row['p50_us']:.0f}",
        f"{row['p99_us']:.0f}",
        f"{row['cpu_us_per_call']:.{digits}f}",
        "" if reference else f"{row['cpu_us_added']:+.{digits}f} ({low:+.{digits}f} … {high:+.{digits}f})",
        f"{row['mirrored_share']:.3f}" if row["mirrored_share"] else "",
        f"{row['live_busy']:.0%}",
    )


def _expectation(expected: dict[str, Any]) -> str:
    low, high = expected["ci"]
    mark = "[green]met[/green]" if expected["met"] else "[red]not met[/red]"
    return (
        f"expected {expected['mode']}, {expected['shape']}: {expected['figure']} {expected['relation']}"
        f" {expected['limit']:g}; measured {expected['value']:.3g} ({low:.3g} … {high:.3g}): {mark}"
    )


def _list(cores: list[int]) -> str:
    return ", ".join(map(str, cores))
