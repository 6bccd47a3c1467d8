"""
What older conventions and other instrumentations say of a leg, in our words.

An attribute of ours always wins over its alias. What cannot be put into our words is not said: an unknown status is
no status (and its pair not comparable), a cost without a currency is no cost.
"""

from __future__ import annotations

from typing import Any

from shadowmesh.names import CallEnd, CostSource, Foreign

# grpc/status.h; the place is the number.
_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
STATUSES = frozenset(_STATUSES)
"""The statuses gRPC has; whatever else a span says is not known."""

ALIASES: dict[str, type] = {
    Foreign.RPC_SERVICE: str,
    Foreign.RPC_GRPC_STATUS_CODE: int,
    Foreign.GEN_AI_SYSTEM: str,
    Foreign.GEN_AI_USAGE_PROMPT_TOKENS: int,
    Foreign.GEN_AI_USAGE_COMPLETION_TOKENS: int,
    Foreign.LLM_TOKEN_COUNT_PROMPT: int,
    Foreign.LLM_TOKEN_COUNT_COMPLETION: int,
    Foreign.GEN_AI_USAGE_COST: float,
    Foreign.GEN_AI_USAGE_COST_AMOUNT: float,
    Foreign.GEN_AI_USAGE_COST_CURRENCY: str,
    Foreign.LLM_COST_TOTAL: float,
}
"""Every alias that is read, and the type it has."""

# By field of ``Fields``, the one that is believed first in front.
_FIELDS = {
    "provider": (Foreign.GEN_AI_SYSTEM,),
    "input_tokens": (Foreign.GEN_AI_USAGE_PROMPT_TOKENS, Foreign.LLM_TOKEN_COUNT_PROMPT),
    "output_tokens": (Foreign.GEN_AI_USAGE_COMPLETION_TOKENS, Foreign.LLM_TOKEN_COUNT_COMPLETION),
}
# Those who write these count in dollars and say so in their documentation only.
_DOLLARS = (Foreign.GEN_AI_USAGE_COST, Foreign.LLM_COST_TOTAL)
_ENDS = {"CANCELLED": CallEnd.CANCELLED, "DEADLINE_EXCEEDED": CallEnd.DEADLINE}


def resolve(aliases: dict[str, Any], leg: dict[str, Any], fields: dict[str, Any], cost: dict[str, Any]) -> None:
    """Fill in, by field, what only the ``aliases`` say of a leg, of its ``Fields`` and of its ``Cost``."""
    service, method = aliases.get(Foreign.RPC_SERVICE), leg.get("method")
    if service and method and "/" not in method:
        leg["method"] = f"{service}/{method}"
    code = aliases.get(Foreign.RPC_GRPC_STATUS_CODE)
    if "status" not in leg and code is not None and 0 <= code < len(_STATUSES):
        leg["status"] = _STATUSES[code]
    for field, names in _FIELDS.items():
        said = [aliases[name] for name in names if name in aliases]
        if said:
            fields.setdefault(field, said[0])
    if not cost:
        cost |= _cost(aliases)


def _cost(aliases: dict[str, Any]) -> dict[str, Any]:
    amount, currency = aliases.get(Foreign.GEN_AI_USAGE_COST_AMOUNT), aliases.get(Foreign.GEN_AI_USAGE_COST_CURRENCY)
    if amount is None or not currency:
        amount, currency = next((aliases[name] for name in _DOLLARS if name in aliases), None), "USD"
    return {} if amount is None else {"amount": amount, "currency": currency, "source": CostSource.PROVIDER.value}


def end_of(status: str | None) -> str:
    """Return how a call ended whose span does not say: by its status, and ``cut`` when nobody knows that either."""
    return CallEnd.CUT.value if status is None else _ENDS.get(status, CallEnd.COMPLETED).value
