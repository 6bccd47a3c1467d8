"""What the demo prints, in the order it is read."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shadowmesh.cli.demo import exchange
from shadowmesh.cli.demo.configuration import LIVE_MODEL, SHADOW_MODEL
from shadowmesh.cli.demo.judging import Evidence
from shadowmesh.cli.demo.results import Results
from shadowmesh.cli.demo.stage import Stage
from shadowmesh.cli.demo.traffic import Sent
from shadowmesh.report import terminal, trace_tree, verdict_table
from shadowmesh.verdict.judgement import Judgement

_WIDEST = 100
_SMALL = (
    "These limits are small, for seconds of traffic: half of the calls at most 3 times as slow, at most 5 points more "
    "failures, more than 100 pairs. The defaults ask for 10,000 pairs of 100 minutes. Every figure with its chart:"
)


def introduce(console: Console, stage: Stage, *, seconds: float) -> None:
    """Say who is on stage, and what is about to happen."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for name, model, note in (
        ("live model", LIVE_MODEL.name, f"{LIVE_MODEL.write_ms:g} ms a token"),
        ("shadow model", SHADOW_MODEL.name, f"{SHADOW_MODEL.write_ms:g} ms a token"),
        ("processor", "", "pairs and compares"),
    ):
        table.add_row(Text(name, style="bold"), stage.addresses[name], model, Text(note, style="dim"))
    console.print(table)
    console.print(f"Sending prompts to the live model for {seconds:g} s; every call is mirrored.", style="dim")


def show(console: Console, results: Results) -> None:
    """Print the funnel, the comparison and one exchange."""
    _section(console, "Every call accounted for")
    console.print(Text(_clients_view(results.sent)))
    console.print(terminal.funnel(results.funnel))
    _section(console, "Live and shadow compared")
    console.print(terminal.comparison(results.groups))
    console.print(Text("\nratio is shadow / live, delta is shadow − live; both pair by pair\n", style="dim"))
    console.print(terminal.costs(results.groups))
    for side, model in (("live", LIVE_MODEL), ("shadow", SHADOW_MODEL)):
        console.print(Text(f"{side}: {model.price_in_words}", style="dim"))
    console.print()
    console.print(terminal.checks(results.checks))
    if results.example is not None:
        _section(console, f"One exchange, trace {results.example.live.trace_id:032x}")
        console.print(trace_tree.draw(exchange.tree(results.example), width=min(console.width, _WIDEST)))


def judge(console: Console, evidence: Evidence, judged: Judgement) -> None:
    """Print the verdict, and where the report of it is."""
    _section(console, "May it go live?")
    console.print(verdict_table.judgement(judged))
    console.print(Text(f"\n{_SMALL}\n", style="dim"))
    if not evidence.report():
        console.print("With pip install 'shadowmesh[report]' an HTML report of it is written here.", markup=False)


def invite(console: Console, stage: Stage) -> None:
    """Say what can be done with processes that stay up."""
    _section(console, "Everything stays up until Ctrl-C")
    for name, address in stage.addresses.items():
        console.print(Text(f"{name:<14} {address}"))
    console.print(Text(f"{'files':<14} {stage.directory}"))
    console.print("\nMore traffic, from another terminal:")
    address = stage.addresses["live model"]
    console.print(Text(f"  {_python()} -m shadowmesh.cli.demo.traffic --address {address}"), soft_wrap=True)
    evidence = Evidence(stage.directory)
    console.print("May it go live? A pair counts as evidence half a minute after its call:")
    command = f"gate --config {evidence.file} --store {evidence.url}"
    console.print(Text(f"  {_python()} -m shadowmesh {command}"), soft_wrap=True)


def _python() -> str:
    """Return this interpreter as it can be typed here: it may be that of an environment that is not activated."""
    executable, here = Path(sys.executable), Path.cwd()
    return str(executable.relative_to(here) if executable.is_relative_to(here) else executable)


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(terminal.heading(title))
    console.print()


def _clients_view(sent: Sent) -> str:
    methods = (
        f"{method} {', '.join(f'{count} {status}' for status, count in statuses.items())}"
        for method, statuses in sent.by_method().items()
    )
    return f"The client made {sent.total} calls: {'; '.join(methods)}.\n"
