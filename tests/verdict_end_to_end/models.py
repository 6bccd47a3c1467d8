"""Models of known pace: servers that answer any method as slowly as they are told, and fail as often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Any

import grpc
from support.servers import Interceptors, Server, live_server
from support.wire import request, response

from shadowmesh.schema import messages

# Long enough that what the loopback adds to the shadow's path is lost in it.
_LEAST_SECONDS = 0.15
_MEDIAN = log(0.08)


def asking(number: int) -> bytes:
    """Return the request of an exchange, by whose number models know how long it takes."""
    return request(model="m", prompt=str(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """
    How a model does: 150 ms and a lognormal time more, of which the request makes one half and luck the other.

    Args:
        slower: how many times as long it takes.
        failing: the share of calls that it fails, after the same time.
    """

    name: str
    slower: float = 1.0
    failing: float = 0.0

    def seconds(self, number: int) -> float:
        """Return how long it takes for the exchange of that number; the same every time."""
        of_request, own = (Random(text).gauss(_MEDIAN, 0.6) for text in (f"{number}", f"{self.name} {number}"))
        return self.slower * (_LEAST_SECONDS + (exp(of_request) + exp(own)) / 2)

    def fails(self, number: int) -> bool:
        """Return whether it fails that exchange."""
        return Random(f"{self.name} fails {number}").random() < self.failing


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, data: bytes, context: Any) -> bytes:
        number = int(messages.GenerateRequest.FromString(data).prompt)
        await asyncio.sleep(self._pace.seconds(number))
        if self._pace.fails(number):
            await context.abort(grpc.StatusCode.INTERNAL, "out of luck")
        return response("four", finish_reason=messages.FINISH_REASON_STOP)


@contextmanager
def serving(pace: Pace, interceptors: Interceptors = lambda: ()) -> Iterator[Server]:
    """Run a model."""
    with live_server("aio", interceptors, handler=_Handlers(pace)) as server:
        yield server
