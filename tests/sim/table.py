"""The table for reading, within 100 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sim.outcome import Outcome


def print_table(outcomes: Sequence[Outcome], took: float, console: Console) -> None:
    """Print what was observed of each row, what it was held against, and whether that is as it has to be."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for place, name in enumerate(("row", "runs", "observed", "limit", "half by", "4/5 by", "")):
        table.add_column(name, justify="right" if place else "left", no_wrap=bool(place))
    for each in outcomes:
        table.add_row(*_cells(each))
    console.print(table)
    console.print(
        "observed: share of the runs that decided as the row says; half by, 4/5 by: pairs until so many of them had."
        " Straw men have to break their limit.",
        highlight=False,
    )
    wrong = [each.name for each in outcomes if not each.ok]
    said = f"not as it has to be: {', '.join(wrong)}" if wrong else "all as it has to be"
    console.print(f"{len(outcomes)} rows in {took:.0f} s: {said}", highlight=False)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    sign = "≤" if outcome.at_most else "≥"
    verdict = "ok" if outcome.ok else "WRONG"
    if outcome.straw and outcome.ok:
        verdict = "broken"
    return (
        outcome.name,
        str(outcome.runs),
        _percent(outcome.share),
        f"{sign} {_percent(outcome.limit)}",
        _pairs(outcome.median),
        _pairs(outcome.most),
        verdict,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _pairs(pairs: float | None) -> str:
    return "" if pairs is None else f"{pairs:,.0f}".replace(",", " ")
