"""
One quantity, money or tokens, against limits in periods of time (pure: the clock is an argument).

See :mod:`shadowmesh.policy.budget` for what is bounded, and by how much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from shadowmesh.names import BudgetLimit

# The largest call is sought among this many to twice as many of late: one that was dear a day ago holds nothing back.
_REMEMBERED = 64


class Reading(NamedTuple):
    """A limit, and what of it is left."""

    limit: float
    left: float


class Meter:
    """
    Spending by period, whether limited or not: a limit that a reload brings finds what was spent before.

    Args:
        periods: seconds by limit, ``None`` for "in all".
        limits: how much may be spent, of some of them.
        state: what :meth:`state` returned.

    Raises:
        ValueError: ``state`` is none of ours.
    """

    def __init__(
        self,
        periods: Mapping[BudgetLimit, int | None],
        limits: Mapping[BudgetLimit, float],
        *,
        state: Mapping[str, Any],
    ) -> None:
        self._limits = dict(limits)
        spent = state.get("spent", {})
        self._accounts = {limit: _Account(seconds, spent.get(limit)) for limit, seconds in periods.items()}
        self._reserved = 0.0
        self._flying = 0
        self._blind = 0
        self._unknown = _whole(state.get("unknown", 0))
        self._largest = _Largest(_amount(state.get("largest", 0)))

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return bool(self._limits)

    def limit(self, limits: Mapping[BudgetLimit, float]) -> None:
        """Put other limits in force; what was spent, and what flies, stays."""
        self._limits = dict(limits)

    @property
    def known(self) -> bool:
        """Whether anything is known of the size of a call."""
        return self._largest.amount > 0

    def refusal(self, now_ns: int, *, flying: bool = True) -> BudgetLimit | None:
        """Return the limit that one more call would not fit in."""
        if not self._limits:
            return None
        reserved = self._reserved if flying else 0.0
        for limit, amount in self._limits.items():
            spent = self._accounts[limit].at(now_ns)
            if flying and self._flying and (not self.known or self._blind):
                return limit
            # A call that is larger than the whole limit has it to itself: else it would end mirroring for ever.
            size = min(self._largest.amount, amount)
            if spent >= amount or spent + reserved + size > amount:
                return limit
        return None

    def reserve(self) -> float | None:
        """Hold the size of the largest call of late; ``None`` where none is known."""
        self._flying += 1
        if not self.known:
            self._blind += 1
            return None
        self._reserved += self._largest.amount
        return self._largest.amount

    def settle(self, held: float | None, amount: float | None, now_ns: int) -> None:
        """Take in what a call came to, ``None`` if nobody knows, in place of what was held for it."""
        self._flying -= 1
        if held is None:
            self._blind -= 1
        # Exactly nothing when nothing flies, whatever became of the fractions.
        self._reserved = max(self._reserved - (held or 0.0), 0.0) if self._flying else 0.0
        if amount is None:
            if not self.known:
                self._unknown += 1
                return
            amount = self._largest.amount
        else:
            self._largest.add(amount)
            if amount > 0 and self._unknown:
                amount += self._unknown * amount
                self._unknown = 0
        for account in self._accounts.values():
            account.add(amount, now_ns)

    def readings(self, now_ns: int) -> dict[BudgetLimit, Reading]:
        """Return every limit, and what of it is left; never less than 0."""
        readings = {}
        for limit, amount in self._limits.items():
            spent = self._accounts[limit].at(now_ns) + self._reserved
            readings[limit] = Reading(amount, max(amount - spent, 0.0))
        return readings

    def state(self, now_ns: int) -> dict[str, Any]:
        """Return what must outlive this process; what is in flight counts as spent."""
        spent = {limit.value: account.at(now_ns) + self._reserved for limit, account in self._accounts.items()}
        return {
            "spent": {limit.value: [account.number, spent[limit.value]] for limit, account in self._accounts.items()},
            "unknown": self._unknown + self._blind,
            "largest": self._largest.amount,
        }


class _Account:
    """What was spent in one period, of which the clock never goes back."""

    __slots__ = ("_width_ns", "number", "spent")

    def __init__(self, seconds: int | None, state: Any) -> None:
        self._width_ns = None if seconds is None else seconds * 1_000_000_000
        self.number, self.spent = 0, 0.0
        if state is not None:
            if not isinstance(state, list) or len(state) != 2:
                raise ValueError("an account is a period and an amount")
            self.number, self.spent = _whole(state[0]), _amount(state[1])

    def at(self, now_ns: int) -> float:
        """Return what is spent in the period of this moment."""
        if self._width_ns is not None:
            number = now_ns // self._width_ns
            if number > self.number:
                self.number, self.spent = number, 0.0
            elif number < self.number - 1:
                # Set back by more than the end of a period: what was spent goes with it.
                self.number = number
        return self.spent

    def add(self, amount: float, now_ns: int) -> None:
        """Spend."""
        self.spent = self.at(now_ns) + amount


class _Largest:
    """The largest amount of late: of the block that fills, and of the one before it."""

    __slots__ = ("_before", "_count", "_now")

    def __init__(self, amount: float) -> None:
        self._before = amount
        self._now = 0.0
        self._count = 0

    @property
    def amount(self) -> float:
        return max(self._before, self._now)

    def add(self, amount: float) -> None:
        self._now = max(self._now, amount)
        self._count += 1
        if self._count == _REMEMBERED:
            # Of a block of nothing but free calls nothing is learnt about the size of one.
            self._before, self._now, self._count = self._now or self._before, 0.0, 0


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError("not an amount")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("not a whole number")
    return value
