"""
What a report says of one candidate beyond its verdict. Times are float seconds, moments are wall-clock nanoseconds
since 1970.

``None`` is unknown and is shown as unknown; an empty tuple is "there is none", and its section says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from shadowmesh.processor.funnel import Account
from shadowmesh.verdict.records import Verdict

QUANTILES = (0.5, 0.9, 0.95, 0.99)
"""Which quantiles of a distribution are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """
    One measure of latency on both legs of the same pairs.

    Args:
        name: ``duration``, ``time_to_first_chunk`` or ``time_per_output_token``.
        edges: bounds of the bins, seconds, one more than there are bins.
        live, shadow: legs per bin.
        beyond_live, beyond_shadow: legs that were cut off and take at least as long as they did; they are in no bin.
        live_quantiles, shadow_quantiles: those of :data:`QUANTILES`, cut-off legs taken as longer than all others.
    """

    name: str
    edges: tuple[float, ...]
    live: tuple[int, ...]
    shadow: tuple[int, ...]
    beyond_live: int = 0
    beyond_shadow: int = 0
    live_quantiles: tuple[float | None, ...] = ()
    shadow_quantiles: tuple[float | None, ...] = ()


class LoadStep(NamedTuple):
    """
    The legs of both sides beside which from ``calls`` to twice as many were in flight: how many, and how long they
    took, in seconds; ``None`` where they are too few for a quantile.
    """

    calls: int
    live: int
    shadow: int
    live_p50: float | None = None
    live_p95: float | None = None
    shadow_p50: float | None = None
    shadow_p95: float | None = None


class Moment(NamedTuple):
    """
    Neighbouring blocks together: ``ratio`` is shadow / live of the quantile that is asked about, ``errors`` the share
    of failed shadow legs less that of failed live legs.
    """

    started_ns: int
    pairs: int
    ratio: float | None
    errors: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """How the comparison went on, against what it is held to (``None``: it is not gated)."""

    moments: tuple[Moment, ...]
    measure: str = "duration"
    quantile: float = 0.95
    ratio_limit: float | None = None
    errors_limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerCall:
    """Means over the pairs of which both legs are known; cost in the currency of its :class:`DailyUse`."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyUse:
    """
    What all calls would use in a day, if every one were answered by this side.

    ``calls_per_day`` is ``None`` where the rate is unknown. ``assumptions`` are sentences: what has to hold for it.
    """

    calls_per_day: float | None
    live: PerCall
    shadow: PerCall
    pairs: int
    currency: str | None = None
    assumptions: tuple[str, ...] = ()


class StatusRow(NamedTuple):
    """How often the two legs ended so; an empty status is a leg of which none is known."""

    live: str
    shadow: str
    pairs: int


class Trouble(StrEnum):
    """What a pair is among the worst in."""

    LATENCY = "latency"
    STATUS = "status"
    COST = "cost"
    SIMILARITY = "similarity"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstPair:
    """
    One pair to look at. ``trace_id`` is 32 hex digits, empty where neither leg has one; ``also`` is what else it is
    among the worst in.
    """

    trouble: Trouble
    pair_id: str
    trace_id: str
    method: str
    dispatched_ns: int
    live_status: str = ""
    shadow_status: str = ""
    live_duration: float | None = None
    shadow_duration: float | None = None
    live_cost: float | None = None
    shadow_cost: float | None = None
    similarity: float | None = None
    also: tuple[Trouble, ...] = ()

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Everything that it is among the worst in."""
        return self.trouble, *self.also


class Piece(NamedTuple):
    """Words of an output: ``kind`` is ``same``, ``live`` (only there) or ``shadow``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDiff:
    """Both outputs of one pair, word by word. ``cut``: more was captured than is shown."""

    pair_id: str
    trace_id: str
    pieces: tuple[Piece, ...]
    similarity: float | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateReport:
    """All about one candidate; ``account`` is what interceptors decided, where they said so, and how pairs ended."""

    verdict: Verdict
    distributions: tuple[Distribution, ...] = ()
    by_load: tuple[LoadStep, ...] = ()
    timeline: Timeline | None = None
    use: DailyUse | None = None
    statuses: tuple[StatusRow, ...] = ()
    account: Account | None = None
    worst: tuple[WorstPair, ...] = ()
    diffs: tuple[OutputDiff, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    A whole report.

    Args:
        place: where it was read from, without secrets.
        since_ns: from where on pairs were looked at; ``None``: from the first.
        jaeger: where traces are shown, an ``http(s)`` URL without a slash at its end; empty: no links.
    """

    candidates: tuple[CandidateReport, ...]
    created_ns: int
    place: str
    version: str
    since_ns: int | None = None
    jaeger: str = ""
