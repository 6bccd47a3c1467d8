"""What page and terminal write alike of a candidate: shares, moments, the lines of a funnel."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from shadowmesh.names import Decision
from shadowmesh.processor.funnel import Account
from shadowmesh.report import units
from shadowmesh.report.candidate import LoadStep, Timeline, Trouble, WorstPair
from shadowmesh.verdict.records import Finding, Verdict


class FunnelRow(NamedTuple):
    """One line of the funnel; ``share`` is of the line it hangs under."""

    label: str
    number: int
    depth: int
    share: float | None


def moment(nanoseconds: int) -> str:
    """Return a wall-clock moment in UTC, to the second."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def funnel_rows(account: Account | None) -> list[FunnelRow]:
    """Return the lines of a funnel: what interceptors decided, then what became of the pairs."""
    if account is None:
        return []
    rows = []
    exchanges = sum(account.decisions.values())
    if exchanges:
        rows.append(FunnelRow("exchanges seen", exchanges, 0, None))
        for decision, number in account.decisions.items():
            rows.append(FunnelRow(words(decision), number, 1, number / exchanges))
            if decision == Decision.DROPPED:
                rows.extend(
                    FunnelRow(words(reason), times, 2, times / number if number else None)
                    for reason, times in sorted(account.drop_reasons.items(), key=lambda each: (-each[1], each[0]))
                )
    pairs = sum(account.outcomes.values())
    if pairs:
        rows.append(FunnelRow("pairs stored", pairs, 0, None))
        rows.extend(
            FunnelRow(words(outcome), number, 1, number / pairs) for outcome, number in account.outcomes.items()
        )
    return rows


def needed(one: Verdict | Finding) -> str:
    """Return how much is still needed at the present rate; empty where nobody knows."""
    parts = []
    if one.eta_pairs:
        parts.append(f"about {one.eta_pairs:,} more pairs")
    if one.eta_seconds:
        parts.append(f"about {units.elapsed(one.eta_seconds)}")
    return ", ".join(parts)


def trouble(pair: WorstPair, kind: Trouble) -> str:
    """Return by how much a pair is among the worst of a kind."""
    if kind is Trouble.LATENCY and pair.live_duration and pair.shadow_duration is not None:
        return units.ratio(pair.shadow_duration / pair.live_duration)
    if kind is Trouble.COST and pair.live_cost and pair.shadow_cost is not None:
        return units.ratio(pair.shadow_cost / pair.live_cost)
    if kind is Trouble.SIMILARITY and pair.similarity is not None:
        return percent(pair.similarity)
    return ""


def load_words(step: LoadStep) -> str:
    """Return how many calls were in flight beside the legs of a step."""
    return f"{step.calls:,} to {2 * step.calls:,}"


def percent(share: float) -> str:
    """Return a share as a percentage: three figures, and never a 0 for what is not."""
    if share and abs(share) < 0.0001:
        return "< 0.01 %"
    return f"{share * 100:.2f} %" if abs(share) < 0.1 else f"{share * 100:.1f} %"


def step(timeline: Timeline) -> str:
    """Return how much time one dot of a timeline stands for."""
    starts = [each.started_ns for each in timeline.moments]
    gaps = [after - before for before, after in pairwise(starts)]
    return "about " + units.elapsed(sorted(gaps)[len(gaps) // 2] / 1e9) if gaps else "a part"


def words(name: str) -> str:
    """Return a name of ours as words."""
    return str(name).replace("_", " ")
