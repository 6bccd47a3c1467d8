"""
What a target may cost, and whether one more call fits (pure: the clock is an argument).

What a call costs is known when it is over, so a call in flight is reserved at the cost of the largest of late. Hence
the bound: **in an hour, in a day and in all, a limit is overshot by at most (calls in flight) × (the largest call)**.
A call counts in the hour and the day it is settled in, and "in flight" are the calls that are admitted and not settled.
It is not 0 because a call may cost more than any before it; where none does, nothing is overshot but by calls that fly
over the end of their hour. Until the first cost is known calls go one at a time, and those among them whose cost nobody
can tell are remembered, and counted at that first cost: the bound counts them among those in flight.

What is not known is never 0:

- a call that ended well and that no price, or no usage, tells the cost of counts as ``unpriced`` says;
- a call that was cut, cancelled or broken counts as the largest of late: what it was billed, nobody tells us;
- a call that its backend refused before it answered anything cost nothing (:func:`refused`).

Hours and days are those of UTC. A clock that is set back never brings money back: it goes on in the hour it was in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from shadowmesh.names import BudgetLimit
from shadowmesh.policy.meter import Meter, Reading
from shadowmesh.settings import Settings

Money = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A positive amount of money."""

Tokens = Annotated[int, Field(strict=True, gt=0)]
"""A positive number of tokens."""

_HOUR, _DAY = 3600, 86400
# With these a backend turns a request away before it works on it. With others it may have worked, and bill it.
_REFUSALS = frozenset(
    {
        "UNAVAILABLE", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "NOT_FOUND",
        "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED",
    }
)  # fmt: skip


class FallbackSettings(Settings):
    """
    What a call counts as that ended well and that nothing tells the cost of.

    Args:
        per_call: its money, in the budget's currency.
        tokens: its tokens; needed where ``tokens`` are limited.
    """

    per_call: Money
    tokens: Tokens | None = None


class BudgetSettings(Settings):
    """
    What one target may cost. Without a limit there is no budget, and nothing is counted.

    Args:
        per_hour: money per hour of UTC.
        per_day: money per day of UTC.
        total: money in all, over restarts where ``mirror.budget.state`` is set.
        tokens: input and output tokens in all, likewise.
        currency: of the money; a price in another currency is no price.
        unpriced: what a call counts as that ended well and whose cost nobody knows: ``block`` closes the target until
            the configuration changes or the process starts anew, a fallback gives it a price. Never 0.
    """

    per_hour: Money | None = None
    per_day: Money | None = None
    total: Money | None = None
    tokens: Tokens | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    unpriced: Literal["block"] | FallbackSettings = "block"

    @property
    def money(self) -> dict[BudgetLimit, float]:
        """The limits on money that are set."""
        limits = {
            BudgetLimit.PER_HOUR: self.per_hour,
            BudgetLimit.PER_DAY: self.per_day,
            BudgetLimit.TOTAL: self.total,
        }
        return {limit: amount for limit, amount in limits.items() if amount is not None}

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetSettings:
        if not self.money and self.tokens is None:
            raise ValueError("needs a limit: per_hour, per_day, total or tokens")
        if self.tokens is not None and isinstance(self.unpriced, FallbackSettings) and self.unpriced.tokens is None:
            raise ValueError("tokens are limited, so unpriced needs tokens as well")
        return self


def refused(status: str | None, answers: int) -> bool:
    """Return whether a call with this status and so many response messages was turned away, and so cost nothing."""
    return not answers and status in _REFUSALS


class Usage(NamedTuple):
    """What a call came to; ``None`` is unknown. ``settled`` says that it ended well, so that it should be known."""

    money: float | None
    tokens: float | None
    settled: bool


NOTHING = Usage(0.0, 0, settled=True)
"""What a call came to that was refused."""

LOST = Usage(None, None, settled=False)
"""What is known of a call of which nothing came back."""


class Remaining(NamedTuple):
    """What is left of one limit of one target, for this engine. ``currency`` is empty for tokens and pairs."""

    experiment: str
    target: str
    limit: str
    currency: str
    amount: float
    left: float


class Reservation(NamedTuple):
    """What a call in flight holds of each limit; ``None``: everything, because nothing is known of its size."""

    money: float | None
    tokens: float | None


class Budget:
    """
    One target's budget. Moments are wall-clock nanoseconds.

    Args:
        part: the part of the limits that is this process's, above 0 and up to 1.
        state: what :meth:`state` returned before a restart; nothing was spent where it is empty.

    Raises:
        ValueError: ``state`` is none of ours.
    """

    def __init__(self, settings: BudgetSettings, *, part: float = 1.0, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        # Money of another currency is another account.
        money = state.get("money", {}) if state.get("currency") == settings.currency else {}
        periods = {BudgetLimit.PER_HOUR: _HOUR, BudgetLimit.PER_DAY: _DAY, BudgetLimit.TOTAL: None}
        self._money = Meter(periods, {}, state=money)
        self._tokens = Meter({BudgetLimit.TOKENS: None}, {}, state=state.get("tokens", {}))
        self.adopt(settings, part)

    def adopt(self, settings: BudgetSettings, part: float) -> None:
        """Put other limits in the same currency in force: what was spent and what flies stays, what blocked goes."""
        self.settings = settings
        self.blocked = False
        self._money.limit({limit: amount * part for limit, amount in settings.money.items()})
        self._tokens.limit({} if settings.tokens is None else {BudgetLimit.TOKENS: settings.tokens * part})

    def refusal(self, now_ns: int, *, flying: bool = True) -> BudgetLimit | None:
        """Return the limit that one more call would not fit in; without ``flying`` as if nothing were in flight."""
        if self.blocked:
            return BudgetLimit.UNPRICED
        return self._money.refusal(now_ns, flying=flying) or self._tokens.refusal(now_ns, flying=flying)

    def reserve(self) -> Reservation:
        """Take in a call that begins; whether it fits was asked before."""
        return Reservation(self._money.reserve(), self._tokens.reserve())

    def settle(self, held: Reservation, usage: Usage, now_ns: int) -> None:
        """Take in what a call came to, in place of what it held."""
        fallback = self.settings.unpriced
        money, tokens = usage.money, usage.tokens
        if isinstance(fallback, FallbackSettings):
            # One that broke off is no dearer for want of a price, and no cheaper either.
            if money is None and (usage.settled or not self._money.known):
                money = fallback.per_call
            if tokens is None and (usage.settled or not self._tokens.known):
                tokens = fallback.tokens
        elif usage.settled:
            unpriced = self._money.limited and money is None
            self.blocked = self.blocked or unpriced or (self._tokens.limited and tokens is None)
        self._money.settle(held.money, money, now_ns)
        self._tokens.settle(held.tokens, tokens, now_ns)

    def readings(self, now_ns: int) -> dict[BudgetLimit, Reading]:
        """Return what is spent and left of every limit that is set; what is in flight counts as spent."""
        return self._money.readings(now_ns) | self._tokens.readings(now_ns)

    def state(self, now_ns: int) -> dict[str, Any]:
        """Return what must outlive this process, as JSON can hold it; what is in flight counts as spent."""
        return {
            "currency": self.settings.currency,
            "money": self._money.state(now_ns),
            "tokens": self._tokens.state(now_ns),
        }
