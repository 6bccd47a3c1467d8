"""A receiver on free ports, an intake that does as it is told, and one way to send over every protocol."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.faults import Faults

PROTOBUF, JSON = "application/x-protobuf", "application/json"
FORMS = ("grpc", "protobuf", "json")
FILES = Path(__file__).parent / "tls"
ROOTS, NAME = str(FILES / "roots.pem"), "model.internal"
_IDS = ("traceId", "spanId", "parentSpanId")


class ScriptedIntake:
    """
    Remembers what it was given, and answers as told.

    Args:
        answers: for the first requests, in order: what to return or raise; what comes after is accepted.
    """

    def __init__(self, *answers: Accepted | Exception) -> None:
        self.taken: list[tuple[Signal, bytes]] = []
        self.begun = 0
        self.open = asyncio.Event()
        self.open.set()
        self._answers = list(answers)
        self._changed = asyncio.Condition()

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        async with self._changed:
            self.begun += 1
            self._changed.notify_all()
        await self.open.wait()
        answer = self._answers.pop(0) if self._answers else Accepted()
        if isinstance(answer, Exception):
            raise answer
        self.taken.append((signal, request))
        return answer

    async def until_begun(self, count: int) -> None:
        """Wait until so many requests have come, whether they were taken or not."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.begun >= count), 20)


@asynccontextmanager
async def receiving(
    intake: ScriptedIntake | None = None,
    *,
    ready: Callable[[], str | None] = lambda: None,
    faults: Faults | None = None,
    clock: Callable[[], int] | None = None,
    routes: tuple[Any, ...] = (),
    **settings: Any,
) -> AsyncIterator[Receiver]:
    """Run a receiver on two free ports."""
    any_port = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    chosen = ProcessorSettings.model_validate(any_port | settings)
    times = {} if clock is None else {"clock": clock}
    receiver = Receiver(chosen, intake or ScriptedIntake(), ready=ready, routes=routes, faults=faults, **times)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.close()


class Answer(NamedTuple):
    """
    What a sender was told.

    ``status`` is a gRPC status or an HTTP status, ``form`` a content type (of gRPC ``""``), ``retry_after`` seconds.
    """

    status: grpc.StatusCode | int
    body: bytes
    form: str = ""
    message: str = ""
    retry_after: float | None = None
    headers: Mapping[str, str] = {}

    @property
    def ok(self) -> bool:
        return self.status in (grpc.StatusCode.OK, 200)

    def response(self, signal: Signal) -> Any:
        """Return the response message of a request that was accepted."""
        assert self.ok, self
        kind = SERVICES[signal].response
        return Parse(self.body, kind()) if self.form == JSON else kind.FromString(self.body)


class Client:
    """Sends to a receiver, in one of the :data:`FORMS`."""

    def __init__(
        self,
        receiver: Receiver,
        form: str,
        *,
        headers: Mapping[str, str] | None = None,
        gzipped: bool = False,
        tls: str | None = None,
    ) -> None:
        self._receiver = receiver
        self._form = form
        self._headers = dict(headers or {})
        self._gzipped = gzipped
        self._tls = tls

    async def send(self, signal: Signal, request: Message | bytes) -> Answer:
        """Send a message in this form, or bytes as they are."""
        if self._form == "grpc":
            data = request if isinstance(request, bytes) else request.SerializeToString()
            return await self._call(signal, data)
        if isinstance(request, bytes):
            data = request
        else:
            data = as_json(request) if self._form == "json" else request.SerializeToString()
        headers = {"content-type": JSON if self._form == "json" else PROTOBUF} | self._headers
        if self._gzipped:
            data, headers["content-encoding"] = gzip.compress(data), "gzip"
        return await asyncio.to_thread(self._post, SERVICES[signal].path, data, headers)

    async def _call(self, signal: Signal, data: bytes) -> Answer:
        compression = grpc.Compression.Gzip if self._gzipped else None
        # A connection of its own, where channels would share one.
        options: list[tuple[str, Any]] = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{self._receiver.port}"
        if self._tls is None:
            channel = grpc.aio.insecure_channel(address, options, compression)
        else:
            options.append(("grpc.ssl_target_name_override", NAME))
            channel = grpc.aio.secure_channel(address, _channel_credentials(self._tls), options, compression)
        async with channel:
            export: Any = channel.unary_unary(SERVICES[signal].method)
            call = export(data, timeout=20, metadata=tuple(self._headers.items()))
            try:
                return Answer(grpc.StatusCode.OK, await call)
            except grpc.aio.AioRpcError as error:
                return Answer(error.code(), b"", "", error.details() or "", retry_asked(error))

    def _post(self, path: str, data: bytes, headers: dict[str, str]) -> Answer:
        if self._tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._receiver.http_port, timeout=20)
        else:
            context = client_context(self._tls)
            connection = http.client.HTTPSConnection("127.0.0.1", self._receiver.http_port, timeout=20, context=context)
        try:
            connection.request("POST", path, data, headers)
            return http_answer(connection.getresponse())
        finally:
            connection.close()


def http_answer(response: http.client.HTTPResponse) -> Answer:
    """Return what came back, its Status read where it is none of success."""
    body = response.read()
    form = response.headers["content-type"]
    message = ""
    if response.status != 200 and form in (JSON, PROTOBUF):
        status = Parse(body, Status()) if form == JSON else Status.FromString(body)
        message = status.message
    retry = response.headers["retry-after"]
    headers = {key.lower(): value for key, value in response.headers.items()}
    return Answer(response.status, body, form, message, None if retry is None else float(retry), headers)


def retry_asked(error: grpc.aio.AioRpcError) -> float | None:
    """Return the delay asked for; both forms must say the same."""
    trailers = dict(error.trailing_metadata() or ())
    asked = [RetryInfo.FromString(trailers[key]) for key in trailers if key == "google.rpc.retryinfo-bin"]
    for key, value in trailers.items():
        if key == "grpc-status-details-bin":
            status = Status.FromString(value)
            assert (status.code, status.message) == (error.code().value[0], error.details())
            for detail in status.details:
                retry = RetryInfo()
                assert detail.Unpack(retry)
                asked.append(retry)
    if not asked:
        return None
    first, second = asked
    assert first == second
    return float(first.retry_delay.ToNanoseconds() / 1e9)


def as_json(message: Message) -> bytes:
    """Return a message as OTLP's JSON, by way of protobuf's: with hexadecimal ids and numbers for enums."""
    return json.dumps(_with_hexadecimal_ids(MessageToDict(message, use_integers_for_enums=True))).encode()


def _with_hexadecimal_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hexadecimal_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: b64decode(item).hex() if key in _IDS else _with_hexadecimal_ids(item) for key, item in value.items()}


def _channel_credentials(name: str) -> grpc.ChannelCredentials:
    roots = Path(ROOTS).read_bytes()
    if not name:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(
        roots, (FILES / f"{name}.key").read_bytes(), (FILES / f"{name}.pem").read_bytes()
    )


def client_context(name: str) -> ssl.SSLContext:
    """Return a context that trusts the test root, with the certificate of ``name`` where there is one."""
    context = ssl.create_default_context(cafile=ROOTS)
    # The server is at an address, its certificate has a name.
    context.check_hostname = False
    if name:
        context.load_cert_chain(FILES / f"{name}.pem", FILES / f"{name}.key")
    return context


def json_of(message: Message) -> str:
    """Return protobuf's own JSON of a message."""
    return MessageToJson(message, indent=None)
