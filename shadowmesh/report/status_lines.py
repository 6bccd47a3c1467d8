"""Lines of a status, as an interceptor and a processor both have them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shadowmesh.telemetry.status_shape import Fill, Funnel

_INDENT = 2


def funnel_sum(funnel: Funnel) -> Text:
    """Return the sum of a funnel, and whether it adds up."""
    parts = {"mirrored": funnel.mirrored, "not sampled": funnel.not_sampled, "dropped": funnel.dropped}
    if funnel.disabled:
        parts["disabled"] = funnel.disabled
    terms = " + ".join(f"{count:,} {what}" for what, count in parts.items())
    verdict = ("adds up", "bold green") if funnel.adds_up else ("does not add up", "bold red")
    return Text.assemble(verdict, f": {funnel.eligible:,} eligible = {terms}")


def fact_table(facts: Mapping[str, str]) -> Table:
    """Return names beside what is said of them."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, fact)
    return table


def line(depth: int, text: str | Text) -> Padding:
    """Return a line, indented so many times."""
    return Padding(text if isinstance(text, Text) else Text(text), (0, 0, 0, depth * _INDENT))


def filled(fill: Fill) -> str:
    """Return how much of what there is room for."""
    return f"{fill.used:,} of {fill.cap:,}"


def counted(counts: Mapping[str, int]) -> str:
    """Return counts by name."""
    return ", ".join(f"{count:,} {words(name)}" for name, count in sorted(counts.items()))


def words(name: str) -> str:
    """Return a name of ours as words."""
    return plain(name).replace("_", " ")


def plain(text: str) -> str:
    """Return a foreign name without what is no printable character."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
