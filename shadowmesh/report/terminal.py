"""The funnel, the comparison, the checks and the costs as tables that fit 80 columns and need no colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.console import Group as Stack
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from shadowmesh.names import Decision, Outcome
from shadowmesh.report import units
from shadowmesh.report.records import CheckCounts, Funnel, Group, MetricRow, Quantiles

_NAMES = {
    "duration": "latency",
    "time_to_first_chunk": "first chunk",
    "time_per_output_token": "per token",
    "output_tokens": "output",
    "output_rate": "speed",
}
_NOTHING = "\N{EN DASH}"
_CHECKS = {
    "status_code": "same status",
    "finish_reason": "same finish reason",
    "output_exact": "same output, byte for byte",
}


class Trimmed:
    """The same without the spaces at the ends of lines, which tables fill their last column with."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Return the lines."""
        for line in console.render_lines(self._inner, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            yield from line[:-1]
            if line:
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def heading(text: str) -> Text:
    """Return a heading of a section."""
    return Text(text, style="bold")


def funnel(account: Funnel) -> RenderableType:
    """Return the account of exchanges beside that of pairs, and whether they add up."""
    digits = len(str(max(account.eligible, account.pairs_expected)))

    def line(label: str, count: int) -> Text:
        style = "bold" if count else "dim"
        return Text.assemble((f"{count:>{digits}}", style), ("  " + _words(label), "" if count else "dim"))

    exchanges = Tree(line("eligible exchanges", account.eligible), guide_style="dim")
    for decision in _decisions(account):
        branch = exchanges.add(line(decision, account.decisions.get(decision, 0)))
        if decision is Decision.DROPPED:
            for reason, times in sorted(account.drop_reasons.items()):
                branch.add(line(reason, times))
    pairs = Tree(line("pairs, mirrored and dropped", account.pairs_expected), guide_style="dim")
    for outcome in Outcome:
        pairs.add(line(outcome, account.outcomes.get(outcome, 0)))
    pairs.add(line("lost", account.lost))
    trees = Table.grid(padding=(0, 8))
    trees.add_row(exchanges, pairs)
    return Stack(trees, _verdict(account))


def comparison(groups: Sequence[Group]) -> Table:
    """Return live, shadow, ratio and delta of every metric at P50 and P95, one block of rows per group."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("shape (pairs)", no_wrap=True, vertical="bottom")
    for side in ("live", "shadow", "ratio", "delta"):
        table.add_column(f"{side}\nP50", justify="right", no_wrap=True)
        table.add_column("\nP95", justify="right", no_wrap=True)
    for group in groups:
        table.add_row(Text(f"{group.name} ({group.pairs})", style="bold"))
        for row in group.rows:
            table.add_row(*_cells(row))
    return table


def costs(groups: Sequence[Group]) -> Table:
    """Return what 1000 calls cost on each side."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 3), pad_edge=False, show_edge=False)
    table.add_column("cost of 1000 calls", no_wrap=True)
    for side in ("live", "shadow", "ratio", "delta"):
        table.add_column(side, justify="right", no_wrap=True)
    for group in groups:
        cost = group.cost
        table.add_row(
            f"  {group.name}",
            units.money(cost.live, cost.currency),
            units.money(cost.shadow, cost.currency),
            units.ratio(cost.ratio),
            units.money(cost.delta, cost.currency, signed=True),
        )
    return table


def checks(counts: Sequence[CheckCounts]) -> Table:
    """Return how often the two legs agreed."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 3), pad_edge=False, show_edge=False)
    table.add_column("agreement", no_wrap=True)
    for column in ("same", "different", "not comparable"):
        table.add_column(column, justify="right", no_wrap=True)
    for check in counts:
        name = _CHECKS.get(check.name, check.name)
        table.add_row(f"  {name}", str(check.match), str(check.mismatch), str(check.not_comparable))
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _decisions(account: Funnel) -> list[Decision]:
    """Return the decisions in the order of the funnel; "disabled" only where it happened."""
    order = (Decision.NOT_SAMPLED, Decision.DISABLED, Decision.DROPPED, Decision.MIRRORED)
    return [decision for decision in order if decision is not Decision.DISABLED or account.decisions.get(decision)]


def _verdict(account: Funnel) -> Text:
    decided = " + ".join(str(account.decisions.get(decision, 0)) for decision in _decisions(account))
    ended = " + ".join(str(account.outcomes.get(outcome, 0)) for outcome in Outcome)
    sums = f"{account.eligible} = {decided} exchanges, {account.pairs_expected} = {ended} pairs"
    if account.adds_up:
        return Text.assemble(("adds up", "bold green"), f": {sums}")
    gaps = ((account.undecided, "without a decision"), (account.lost, "lost"))
    said = ", ".join(f"{count} {what}" for count, what in gaps if count)
    return Text.assemble(("does not add up", "bold red"), f" ({said}): {sums}")


def _cells(row: MetricRow) -> list[str | Text]:
    scale = units.scale_for(row.unit, *_values(row.live), *_values(row.shadow), *_values(row.delta))
    return [
        Text.assemble(f"  {_NAMES.get(row.name, row.name)} ", (scale.label, "dim")),
        *_both(row.live, scale.text),
        *_both(row.shadow, scale.text),
        *_both(row.ratio, units.factor),
        *_both(row.delta, lambda value: scale.text(value, signed=True)),
    ]


def _both(quantiles: Quantiles | None, text: Callable[[float], str]) -> list[str]:
    return [text(value) for value in _values(quantiles)] or [_NOTHING, _NOTHING]


def _values(quantiles: Quantiles | None) -> tuple[float, ...]:
    return (quantiles.p50, quantiles.p95) if quantiles else ()
