"""A live model for tests: answers every method, one message for one, in either colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from support.servers import is_aio

Answer = Callable[[bytes], bytes]
"""From a request to its answer; may raise :class:`RefusalError`."""


class RefusalError(Exception):
    """Ends the call with a status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class Model(grpc.GenericRpcHandler):
    """Handlers of the colour of ``kind``."""

    def __init__(self, kind: str, answer: Answer) -> None:
        self._answer = answer
        behaviour: Any = self._aio if is_aio(kind) else self._sync
        self._handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler

    def _sync(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._answer(request)
        except RefusalError as refusal:
            context.abort(refusal.code, refusal.details)
            raise

    async def _aio(self, request: bytes, context: Any) -> bytes:
        try:
            return self._answer(request)
        except RefusalError as refusal:
            await context.abort(refusal.code, refusal.details)
            raise
