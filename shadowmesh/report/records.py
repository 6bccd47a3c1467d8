"""What a report can show. All times are float seconds; ``None`` is unknown, and is drawn as unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shadowmesh.names import Decision, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """
    The account of every covered exchange at one target.

    ``eligible`` was counted by somebody who does not look at decisions (a client, a proxy); ``decisions`` by
    the interceptor; ``outcomes`` by the processor. Every mirrored exchange becomes a pair, and so does every
    dropped one, whose shadow leg says that it was shed.
    """

    experiment: str
    target: str
    eligible: int
    decisions: Mapping[str, int]
    drop_reasons: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def pairs_expected(self) -> int:
        """Exchanges that must have ended as a pair."""
        return self.decisions.get(Decision.MIRRORED, 0) + self.decisions.get(Decision.DROPPED, 0)

    @property
    def lost(self) -> int:
        """Pairs that nobody has seen end; negative if more ended than were made."""
        return self.pairs_expected - sum(self.outcomes.get(outcome, 0) for outcome in Outcome)

    @property
    def undecided(self) -> int:
        """Eligible exchanges without a decision; negative if there are more decisions than exchanges."""
        return self.eligible - sum(self.decisions.get(decision, 0) for decision in Decision)

    @property
    def adds_up(self) -> bool:
        """Whether every exchange has its decision and every pair its outcome."""
        return self.lost == 0 and self.undecided == 0


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The middle and the slow end of a distribution."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """
    One quantity over the pairs of one group.

    ``unit`` is a UCUM unit as OpenTelemetry writes it: ``s``, ``{token}``, ``{token}/s``. ``ratio`` and
    ``delta`` are distributions over pairs (shadow / live and shadow − live), not ratios and differences of
    quantiles.
    """

    name: str
    unit: str
    pairs: int
    live: Quantiles | None
    shadow: Quantiles | None
    ratio: Quantiles | None
    delta: Quantiles | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """The mean cost of 1000 calls, both sides over the same pairs; ``None`` where one could not be priced."""

    live: float | None
    shadow: float | None
    currency: str | None

    @property
    def ratio(self) -> float | None:
        """Shadow / live."""
        return self.shadow / self.live if self.live and self.shadow is not None else None

    @property
    def delta(self) -> float | None:
        """Shadow − live."""
        return self.shadow - self.live if self.live is not None and self.shadow is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The comparison of one group of pairs, such as all unary ones."""

    name: str
    pairs: int
    rows: tuple[MetricRow, ...]
    cost: CostRow


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCounts:
    """How often one check matched, did not, and could not be made."""

    name: str
    match: int
    mismatch: int
    not_comparable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSpan:
    """One span of a trace to be drawn; ``facts`` are short texts in the order they matter."""

    name: str
    role: str
    started_ns: int
    ended_ns: int
    facts: tuple[str, ...] = ()
    children: tuple[TraceSpan, ...] = ()
