"""
OTLP over HTTP: protobuf and JSON on the same paths, and every answer in the form of its request.

No body is read before its head was accepted, and none is held beyond the limits, packed or unpacked.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # generated, without stubs
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shadowmesh.errors import DecodeError
from shadowmesh.processor.gunzip import Gunzip
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.limits import LimitSettings, Place
from shadowmesh.processor.otlp_json import memory_of, parse_json
from shadowmesh.processor.otlp_services import SERVICES, response
from shadowmesh.processor.reception import Reception
from shadowmesh.processor.refusal import Refusal, RefusedError


class _Form(Enum):
    """How a message is written."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"

    def write(self, message: Message) -> bytes:
        """Return the message in this form."""
        return message.SerializeToString() if self is _Form.PROTOBUF else MessageToJson(message, indent=None).encode()


class OtlpHttp:
    """
    An ASGI application that answers the paths of the three signals.

    Args:
        most: bytes of one body, packed and unpacked.
    """

    def __init__(self, reception: Reception, *, most: int, limits: LimitSettings) -> None:
        self._reception = reception
        self._most = most
        self._memory = limits.memory
        self._body_time = limits.body_time
        self._signals = {service.path: signal for signal, service in SERVICES.items()}
        # What a JSON text becomes on its way takes many times its size, so one is read at a time; and in a thread of
        # their own, for others may be busy with something that waits for us.
        self._reading_json = asyncio.Lock()
        self._json_thread = ThreadPoolExecutor(1, thread_name_prefix="shadowmesh-json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = _Body(receive)
        headers = Headers(scope=scope)
        form = _form(headers)
        try:
            answer = await self._export(scope, headers, body, form)
        except ClientDisconnect:
            return
        # What has not been read of the body the server drops, for as long as a head may take.
        await answer(scope, receive, send)

    def close(self) -> None:
        """Let the thread go."""
        self._json_thread.shutdown(wait=False, cancel_futures=True)

    async def _export(self, scope: Scope, headers: Headers, body: _Body, form: _Form | None) -> Response:
        try:
            signal = self._signals.get(scope["path"])
            if signal is None:
                raise RefusedError(Refusal.NOT_FOUND, "no such path")
            if scope["method"] != "POST":
                raise RefusedError(Refusal.WRONG_METHOD, "only POST is supported")
            if form is None:
                supported = " and ".join(one.value for one in _Form)
                raise RefusedError(Refusal.UNSUPPORTED, f"the content types {supported} are supported")
            with self._reception.admit(headers.getlist("authorization")) as place:
                accepted = await self._take(signal, headers, body, form, place)
        except RefusedError as refused:
            self._reception.count(refused)
            return _refusal(refused, form or _Form.JSON)
        return _answer(200, response(signal, accepted), form)

    async def _take(self, signal: Signal, headers: Headers, body: _Body, form: _Form, place: Place) -> Accepted:
        try:
            async with asyncio.timeout(self._body_time):
                request = await self._read(headers, body, place)
            if form is _Form.JSON:
                request = await self._from_json(signal, request, place)
        except TimeoutError:
            raise RefusedError(Refusal.TOO_SLOW, f"the body took longer than {self._body_time:g} s") from None
        except DecodeError as error:
            raise RefusedError(Refusal.MALFORMED, str(error)) from None
        except (RefusedError, ClientDisconnect):
            raise
        except Exception as error:  # noqa: BLE001 - the one boundary: whatever was sent, its sender gets an answer
            raise self._reception.failed(error) from None
        return await self._reception.take(signal, request, place)

    async def _read(self, headers: Headers, body: _Body, place: Place) -> bytes:
        encoding = ",".join(headers.getlist("content-encoding")).strip().lower() or "identity"
        if encoding not in ("identity", "gzip"):
            raise RefusedError(Refusal.UNSUPPORTED, "the content encodings gzip and identity are supported")
        gunzip = Gunzip(self._most) if encoding == "gzip" else None
        left = self._most
        if _declared(headers) > left:
            raise self._too_large()
        request = bytearray()
        while not body.complete:
            piece = await body.next()
            left -= len(piece)
            if left < 0:
                raise self._too_large()
            if gunzip is not None and piece:
                piece = gunzip.feed(piece)
            place.hold(len(piece))
            request += piece
        if gunzip is not None:
            gunzip.finish()
        return bytes(request)

    async def _from_json(self, signal: Signal, text: bytes, place: Place) -> bytes:
        memory = memory_of(text)
        if len(text) + memory > self._memory:
            raise RefusedError(Refusal.TOO_LARGE, f"reading it as JSON may take more than {self._memory} bytes")
        async with self._reading_json:
            place.hold(memory)
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(self._json_thread, parse_json, SERVICES[signal].request, text)
            finally:
                place.let_go(memory)

    def _too_large(self) -> RefusedError:
        return RefusedError(Refusal.TOO_LARGE, f"larger than {self._most} bytes")


class _Body:
    """The body of a request, as far as it has been read."""

    def __init__(self, receive: Receive) -> None:
        self.complete = False
        self._receive = receive

    async def next(self) -> bytes:
        """
        Return what comes next.

        Raises:
            ClientDisconnect: nothing does.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.complete = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


def _form(headers: Headers) -> _Form | None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((form for form in _Form if form.value == kind), None)


def _declared(headers: Headers) -> int:
    """Return the length that the head says; the server has checked that it is a number."""
    return int(headers.get("content-length", "0"))


def _refusal(refused: RefusedError, form: _Form) -> Response:
    refusal = refused.refusal
    number: int = refusal.status.value[0]
    answer = _answer(refusal.http, Status(code=number, message=str(refused)), form)
    if refusal is Refusal.WRONG_METHOD:
        answer.headers["allow"] = "POST"
    if refusal is Refusal.UNAUTHENTICATED:
        answer.headers["www-authenticate"] = "Bearer"
    if refused.retry_after is not None:
        # The header has whole seconds only.
        answer.headers["retry-after"] = str(max(math.ceil(refused.retry_after), 1))
    return answer


def _answer(status: int, message: Message, form: _Form) -> Response:
    return Response(form.write(message), status, media_type=form.value)
