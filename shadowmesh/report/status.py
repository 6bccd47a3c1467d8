"""
What an interceptor or a processor says of itself, for a terminal of 80 columns.

Names come from whoever configured or sent them, so what is no printable character is not printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shadowmesh.report import units
from shadowmesh.report.interceptor_status import interceptor
from shadowmesh.report.processor_status import processor
from shadowmesh.report.status_lines import line, plain
from shadowmesh.report.terminal import heading
from shadowmesh.telemetry.status_shape import Error, InterceptorStatus, ProcessorStatus, Status


def status(known: InterceptorStatus | ProcessorStatus) -> RenderableType:
    """Return everything a status says."""
    body = interceptor(known) if isinstance(known, InterceptorStatus) else processor(known)
    return Group(*_who(known), *body, *_errors(known))


def _who(known: InterceptorStatus | ProcessorStatus) -> Iterator[RenderableType]:
    name = f" {plain(known.service_name)}" if known.service_name else ""
    up = units.elapsed(known.uptime)
    yield Text.assemble(
        (f"{known.kind}{name}", "bold"), f": ShadowMesh {plain(known.version)}, pid {known.pid}, up {up}"
    )
    yield Text(f"instance {plain(known.instance_id) if known.instance_id else 'not started yet'}", style="dim")


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
        table.add_row(f"{error.count:,} \N{MULTIPLICATION SIGN}", _last(error, known.at), plain(error.cause))
    yield table
    if known.errors_left_out:
        yield line(1, f"and {known.errors_left_out:,} more causes")


def _last(error: Error, now: datetime) -> str:
    if error.last_at is None:
        return units.UNKNOWN
    return f"{error.last_at:%Y-%m-%d %H:%M:%SZ}, {units.elapsed((now - error.last_at).total_seconds())} ago"
