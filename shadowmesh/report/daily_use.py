"""What a day at full traffic uses on either side: means per call, times the calls of a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shadowmesh.report import units
from shadowmesh.report.candidate import DailyUse

_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class UseRow(NamedTuple):
    """One quantity on both sides, as number and as text."""

    label: str
    live: float
    shadow: float
    live_text: str
    shadow_text: str
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What there is to show. ``per`` is what the rows are of; ``saving`` is a sentence, empty where cost is unknown."""

    rows: tuple[UseRow, ...] = ()
    per: str = ""
    saving: str = ""
    notes: tuple[str, ...] = ()


def day(use: DailyUse | None) -> Day:
    """Return the rows of a day; of a thousand calls where the rate of calls is unknown."""
    if use is None:
        return Day()
    known = use.calls_per_day is not None and use.calls_per_day > 0
    calls = use.calls_per_day if use.calls_per_day is not None and known else 1000.0
    rows = []
    for label, live, shadow in (
        ("input tokens", use.live.input_tokens, use.shadow.input_tokens),
        ("output tokens", use.live.output_tokens, use.shadow.output_tokens),
    ):
        if live is not None and shadow is not None:
            rows.append(_row(label, live * calls, shadow * calls, None))
    saving, notes = "", use.assumptions
    if use.live.cost is not None and use.shadow.cost is not None and use.currency is not None:
        live_cost, shadow_cost = use.live.cost * calls, use.shadow.cost * calls
        rows.append(_row("cost", live_cost, shadow_cost, use.currency))
        saving = _saving(live_cost, shadow_cost, use.currency, "a day" if known else "per 1,000 calls")
    elif rows:
        notes = (*notes, "What it costs is unknown: there are no prices for one of the models.")
    per = f"a day, {quantity(calls)} calls" if known else "1,000 calls"
    return Day(rows=tuple(rows), per=per, saving=saving, notes=notes) if rows else Day()


def quantity(value: float) -> str:
    """Return a large number in three figures: 999, 12.3 k, 4.56 M."""
    for factor, label in _LARGE:
        if abs(value) >= factor:
            return f"{_three(value / factor)} {label}"
    return f"{value:.0f}"


def _row(label: str, live: float, shadow: float, currency: str | None) -> UseRow:
    share = "" if not live or shadow == live else f" ({signed_percent(shadow / live - 1)})"
    if currency is None:
        difference = ("+" if shadow > live else "") + quantity(shadow - live)
        texts = quantity(live), quantity(shadow)
    else:
        difference = units.money(shadow - live, currency, signed=True)
        texts = units.money(live, currency), units.money(shadow, currency)
    return UseRow(label, live, shadow, *texts, difference.replace("-", "\N{MINUS SIGN}") + share)


def _saving(live: float, shadow: float, currency: str, per: str) -> str:
    if live == shadow:
        return "Switching would not change the cost."
    share = f" ({abs(shadow / live - 1):.1%})" if live else ""
    amount = units.money(abs(shadow - live), currency)
    if shadow < live:
        return f"Switching would save about {amount} {per}{share}."
    return f"Switching would cost about {amount} {per} more{share}."


def signed_percent(share: float) -> str:
    """Return a change as a percentage with its sign."""
    sign = "\N{MINUS SIGN}" if share < 0 else "+"
    return f"{sign}{abs(share):.1%}"


def _three(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
