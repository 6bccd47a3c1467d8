"""
The account of every covered exchange: what the interceptors say they sent, and what became of it here.

The interceptors' counters arrive as OTLP sums, one series per process and attribute set, of which growth is booked. The
account is kept per (experiment, target).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shadowmesh.names import OTHER, WITHOUT_LEGS, Decision, Outcome
from shadowmesh.processor.growth import Growth


class FunnelSeries(NamedTuple):
    """What tells two counters of ``shadowmesh.mirror.requests`` apart; empty where a sender does not say."""

    instance: str
    experiment: str
    target: str
    decision: str
    reason: str = ""
    method: str = ""
    operation: str = ""


class FunnelPoint(NamedTuple):
    """One point of an interceptor's ``shadowmesh.mirror.requests``."""

    series: FunnelSeries
    cumulative: bool
    started_ns: int
    at_ns: int
    value: int


@dataclass(frozen=True, slots=True)
class Account:
    """
    One target of one experiment: exchanges by decision, drops by reason, ended pairs by outcome.

    ``waiting`` pairs have begun to arrive and have not ended.
    """

    experiment: str
    target: str
    decisions: Mapping[str, int] = field(default_factory=dict)
    drop_reasons: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

    @property
    def sent(self) -> int:
        """Exchanges whose legs were made: the mirrored ones, and the shed ones, whose leg says so."""
        dropped = self.decisions.get(Decision.DROPPED, 0)
        without_legs = sum(self.drop_reasons.get(reason, 0) for reason in WITHOUT_LEGS)
        return self.decisions.get(Decision.MIRRORED, 0) + dropped - without_legs

    @property
    def missing(self) -> int:
        """
        Exchanges that were sent and have neither ended nor begun here: under way, or lost.

        0 when all is at rest and nothing was lost. Negative while counters are older than the spans.
        """
        return self.sent - sum(self.outcomes.values()) - self.waiting


# DropReason has far fewer; the rest is what a hostile sender may add.
_MOST_REASONS = 64


class FunnelBook:
    """
    Books growth and outcomes.

    Args:
        most_series: series (and, apart from them, accounts) kept at once. Beyond it the series that was
            silent longest is forgotten, its bookings stay; a new account is booked as ``_OTHER``.
    """

    def __init__(self, *, most_series: int = 10_000) -> None:
        self._most = most_series
        self._series: OrderedDict[FunnelSeries, Growth] = OrderedDict()
        self._decisions: dict[tuple[str, str], Counter[str]] = {}
        self._drop_reasons: dict[tuple[str, str], Counter[str]] = {}
        self._outcomes: dict[tuple[str, str], Counter[str]] = {}

    def add(self, point: FunnelPoint) -> None:
        """Book what the point adds to its series."""
        key = point.series
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Growth()
            if len(self._series) > self._most:
                self._series.popitem(last=False)
        else:
            self._series.move_to_end(key)
        (value,) = series.by(
            (point.value,), cumulative=point.cumulative, started_ns=point.started_ns, at_ns=point.at_ns
        )
        grown = int(value)
        self._counts(self._decisions, key.experiment, key.target)[_decision(key.decision)] += grown
        if key.decision == Decision.DROPPED:
            reasons = self._counts(self._drop_reasons, key.experiment, key.target)
            reasons[key.reason if key.reason in reasons or len(reasons) < _MOST_REASONS else OTHER] += grown

    def ended(self, experiment: str, target: str, outcome: Outcome) -> None:
        """Book the end of one pair."""
        self._counts(self._outcomes, experiment, target)[outcome] += 1

    def accounts(self, waiting: Mapping[tuple[str, str], int]) -> list[Account]:
        """Return the account of every target, in order of name; ``waiting`` is :meth:`Pairing.waiting`."""
        keys = self._decisions.keys() | self._outcomes.keys() | waiting.keys()
        return [
            Account(
                experiment=experiment,
                target=target,
                decisions=dict(self._decisions.get((experiment, target), {})),
                drop_reasons=dict(self._drop_reasons.get((experiment, target), {})),
                outcomes=dict(self._outcomes.get((experiment, target), {})),
                waiting=waiting.get((experiment, target), 0),
            )
            for experiment, target in sorted(keys)
        ]

    def state(self) -> dict[str, Any]:
        """Return everything that was booked, as JSON has it."""
        return {
            "series": [[*key, one.started_ns, one.at_ns, *one.values] for key, one in self._series.items()],
            **{name: [[*key, dict(counts)] for key, counts in book.items()] for name, book in self._books.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """
        Book on from what :meth:`state` returned.

        Raises:
            TypeError, ValueError, KeyError: it is no such state.
        """
        series: OrderedDict[FunnelSeries, Growth] = OrderedDict()
        for *key, started_ns, at_ns, value in state["series"]:
            series[FunnelSeries(*key)] = Growth(started_ns, at_ns, (value,))
        books = {
            name: {(experiment, target): Counter(counts) for experiment, target, counts in state[name]}
            for name in self._books
        }
        self._series = series
        for name, book in self._books.items():
            book.clear()
            book.update(books[name])

    @property
    def _books(self) -> dict[str, dict[tuple[str, str], Counter[str]]]:
        return {"decisions": self._decisions, "drop_reasons": self._drop_reasons, "outcomes": self._outcomes}

    def _counts(self, book: dict[tuple[str, str], Counter[str]], experiment: str, target: str) -> Counter[str]:
        key = (experiment, target)
        if key not in book and len(book) >= self._most:
            key = (OTHER, OTHER)
        counts = book.get(key)
        if counts is None:
            counts = book[key] = Counter()
        return counts


_DECISIONS = frozenset(Decision)


def _decision(value: str) -> str:
    return value if value in _DECISIONS else OTHER
