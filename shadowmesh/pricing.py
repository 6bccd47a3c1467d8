"""
What one leg cost: prices from the configuration first, then public list prices, else unknown.

Three kinds of price, because a self-hosted model has no list price: per token, per second of the call, and
per accelerator-hour shared between the calls that were in flight at that backend. Kinds of one entry add up.
A part that cannot be known makes the whole cost unknown, never 0 and never a partial sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Protocol

from pydantic import Field, model_validator

from shadowmesh.model import Cost, Fields, Leg
from shadowmesh.names import CallEnd, CostSource, Role
from shadowmesh.settings import Name, Settings

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""An amount of money, 0 allowed: free is something a user may say and we may not assume."""

_REMEMBERED_MODELS = 4096


class TokenPrices(Settings):
    """
    Prices per million tokens.

    Cached tokens are a subset of the input and reasoning tokens one of the output; each is billed at its own
    price where one is given, else like the rest.

    Args:
        input: of tokens read.
        output: of tokens generated.
        cached_input: of those read from a cache.
        reasoning_output: of those generated and not in the answer.
    """

    input: Price
    output: Price
    cached_input: Price | None = None
    reasoning_output: Price | None = None


class PriceSettings(Settings):
    """
    One entry of the price table; the first entry whose conditions all hold prices a leg. Kinds of price add up.

    Args:
        target: holds for the shadow legs of this target.
        role: holds for all legs of one side, ``live`` or ``shadow``.
        model: shell pattern of the model that answered, or was asked for where the answer does not say.
        provider: shell pattern of its provider.
        currency: of the prices, three letters.
        version: names the price list in spans, so that a figure can be traced to its prices.
        per_million_tokens: prices by kind of token.
        per_second: of the call.
        per_accelerator_hour: shared by the calls in flight at that backend.
        accelerators: how many of them serve together.
    """

    target: Name | None = None
    role: Role | None = None
    model: str | None = None
    provider: str | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    version: str | None = None
    per_million_tokens: TokenPrices | None = None
    per_second: Price | None = None
    per_accelerator_hour: Price | None = None
    accelerators: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _prices_something(self) -> PriceSettings:
        if self.per_million_tokens is None and self.per_second is None and self.per_accelerator_hour is None:
            raise ValueError("needs a price: per_million_tokens, per_second or per_accelerator_hour")
        if self.target is not None and self.role is Role.LIVE:
            raise ValueError("target is a shadow target, so role live never holds beside it")
        return self

    def applies(self, leg: Leg) -> bool:
        """Return whether every condition of this entry holds for the leg."""
        return (
            (self.target is None or (leg.role == Role.SHADOW and self.target == leg.target))
            and (self.role is None or self.role == leg.role)
            and _fits(self.model, _model(leg))
            and _fits(self.provider, leg.fields.provider)
        )

    def amount(self, leg: Leg) -> float | None:
        """Return the leg's cost in ``currency``; ``None`` when a part of it cannot be known."""
        parts: list[float | None] = []
        if self.per_million_tokens is not None:
            parts.append(_tokens(self.per_million_tokens, leg.fields))
        if self.per_second is not None:
            parts.append(self.per_second * leg.duration)
        if self.per_accelerator_hour is not None:
            parts.append(self._accelerators(leg, self.per_accelerator_hour))
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _accelerators(self, leg: Leg, per_hour: float) -> float | None:
        if leg.concurrency is None:
            return None
        # The leg itself is in flight, so fewer than one call is a rounding of the measurement.
        return per_hour * self.accelerators * leg.duration / 3600 / max(leg.concurrency, 1.0)


class ListPrices(Protocol):
    """Public prices by provider and model."""

    version: str
    currency: str

    def amount(self, provider: str, model: str, fields: Fields, at: datetime) -> float | None:
        """Return the cost at the list prices of that moment; ``None`` where they do not say."""
        ...


class Pricing:
    """Prices legs by a table of entries, then by list prices where there are any."""

    def __init__(self, entries: Sequence[PriceSettings] = (), *, list_prices: ListPrices | None = None) -> None:
        self._entries = tuple(entries)
        self._list_prices = list_prices

    def cost(self, leg: Leg, *, source: CostSource) -> Cost | None:
        """
        Return the leg's own cost when it has one, else the computed one; ``source`` says who computes.

        ``None`` is "unknown". A shed leg never ran and has no cost.
        """
        if leg.cost is not None or leg.end == CallEnd.SHED:
            return leg.cost
        for entry in self._entries:
            if entry.applies(leg):
                return _cost(entry.amount(leg), entry.currency, source, entry.version)
        model, provider = _model(leg), leg.fields.provider
        if self._list_prices is None or not model or not provider:
            return None
        at = datetime.fromtimestamp(leg.started_ns // 1_000_000_000, UTC)
        amount = self._list_prices.amount(provider, model, leg.fields, at)
        return _cost(amount, self._list_prices.currency, source, self._list_prices.version)


def bundled_list_prices() -> ListPrices | None:
    """Return the prices bundled with genai-prices, ``None`` where that package is not installed."""
    try:
        import genai_prices
    except ImportError:
        return None
    return _GenaiPrices(genai_prices)


class _GenaiPrices:
    """genai-prices with the data it ships: only its ``UpdatePrices`` fetches, and we never start that."""

    currency = "USD"

    def __init__(self, package: Any) -> None:
        self._package = package
        self._unlisted: set[tuple[str, str]] = set()
        self.version = f"genai-prices {package.__version__}"

    def amount(self, provider: str, model: str, fields: Fields, at: datetime) -> float | None:
        # Half of the usage would give half of the price, which looks like a bargain.
        if fields.input_tokens is None or fields.output_tokens is None or (provider, model) in self._unlisted:
            return None
        usage = self._package.Usage(
            input_tokens=fields.input_tokens,
            output_tokens=fields.output_tokens,
            cache_read_tokens=fields.cached_input_tokens,
            output_reasoning_tokens=fields.reasoning_output_tokens,
        )
        try:
            calculation = self._package.calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
        except LookupError:
            # Finding out that a model is not listed walks the whole list, and self-hosted models never are.
            if len(self._unlisted) < _REMEMBERED_MODELS:
                self._unlisted.add((provider, model))
            return None
        except ValueError:
            # Its word for usage that contradicts itself: more cached tokens than input tokens.
            return None
        return float(calculation.total_price)


def _cost(amount: float | None, currency: str, source: CostSource, version: str | None) -> Cost | None:
    if amount is None or not math.isfinite(amount):
        return None
    return Cost(amount=amount, currency=currency, source=source, pricing_version=version)


def _model(leg: Leg) -> str | None:
    return leg.fields.response_model or leg.fields.request_model


def _fits(pattern: str | None, value: str | None) -> bool:
    return pattern is None or (value is not None and fnmatchcase(value, pattern))


def _tokens(prices: TokenPrices, fields: Fields) -> float | None:
    billed_input = _split(fields.input_tokens, fields.cached_input_tokens, prices.input, prices.cached_input)
    billed_output = _split(fields.output_tokens, fields.reasoning_output_tokens, prices.output, prices.reasoning_output)
    return None if billed_input is None or billed_output is None else billed_input + billed_output


def _split(total: int | None, part: int | None, price: float, part_price: float | None) -> float | None:
    """Bill ``part`` of ``total`` tokens at its own price; an unsaid part is none, as in the conventions."""
    part = part or 0
    if part_price is None:
        part, part_price = 0, 0.0
    if total is None:
        # Embeddings have no output to count, and a user says so with a price of 0.
        return 0.0 if price == 0 and not part_price else None
    return ((total - part) * price + part * part_price) / 1_000_000 if part <= total else None
