"""
The connections to the live server, and calls over them, in bytes.

A call with a stream of requests is written to through grpc.aio's inner call. Its public ``write`` makes up a status of
its own, INTERNAL, where the server ends the call meanwhile (grpc/grpc#36066), and from then on nobody can ask for the
real one; a write that fails here only ends the writing, and the status is the server's. ``check`` says at the start
whether the installed grpcio has what that takes.

Channels are made by grpc itself, whatever instrumentation has put in the place of its functions: of calls that others
have wrapped nobody gets at the inner one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import grpc
import grpc.aio

from shadowmesh.errors import StartError
from shadowmesh.mirror.credentials import CredentialError, channel_credentials, check_tls, tls_files
from shadowmesh.policy.credentials import TlsSettings
from shadowmesh.proxy.settings import LiveServerSettings
from shadowmesh.rpc import Arity

COMPRESSIONS = {
    "none": grpc.Compression.NoCompression,
    "deflate": grpc.Compression.Deflate,
    "gzip": grpc.Compression.Gzip,
}
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # What a server answers is for its client to retry, and for nobody in between.
    ("grpc.enable_retries", 0),
    # By default up to two minutes, in which every caller is refused by us whose server is long back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_ROUND_ROBIN = '{"loadBalancingConfig":[{"round_robin":{}}]}'
# Where grpc.aio defines them. Private, so it may be gone one day; then the public way has to do.
_AIO: Any = getattr(grpc.aio, "_channel", grpc.aio)
_INNER, _SEND = "_cython_call", "send_serialized_message"
# Names of methods come from clients.
_MOST_METHODS = 1024
# As much as any gRPC server takes by default, which is Go's: how much is too much is for client and live server to say.
_MOST_METADATA = 1 << 24


def sizes(window: int) -> tuple[tuple[str, int], ...]:
    """Return what holds on both sides: messages and metadata of any size, ``window`` bytes of a stream nobody reads."""
    return (
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_metadata_size", _MOST_METADATA),
        ("grpc.absolute_max_metadata_size", _MOST_METADATA),
        # gRPC lets every stream's window grow to 16 MiB and more, and what a slow reader leaves would pile up here.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", window),
    )


def check() -> None:
    """
    Check that request streams can be forwarded without inventing a status.

    Raises:
        StartError: this grpcio has no such call inside.
    """
    inner = getattr(import_module("grpc._cython.cygrpc"), "_AioCall", None)
    if not hasattr(inner, _SEND):
        raise StartError(f"grpcio {grpc.__version__} is not one the proxy knows: it forwards no request stream rightly")


class Upstream:
    """
    One channel, of the loop that makes this.

    Attributes:
        generation: how often the channel has been made anew; multicallables of an older one are not to be used.
    """

    def __init__(self, settings: LiveServerSettings, window: int) -> None:
        """
        Make the channel; it connects at the first call, and a stream holds up to ``window`` bytes.

        Raises:
            StartError: a file of the TLS settings cannot be used.
        """
        self._settings = settings
        self._window = window
        self._files = _renewed(settings.tls, None)
        self.channel = self._channel()
        self._before: grpc.aio.Channel | None = None
        self.generation = 0
        self._methods: dict[tuple[str, Arity], Any] = {}

    def method(self, path: str, arity: Arity) -> Any:
        """Return the multicallable for ``path``, which takes and gives bytes."""
        found = self._methods.get((path, arity))
        if found is None:
            found = getattr(self.channel, arity.value)(path, request_serializer=None, response_deserializer=None)
            if len(self._methods) < _MOST_METHODS:
                self._methods[path, arity] = found
        return found

    async def refresh(self) -> None:
        """
        Connect anew where a certificate was renewed: a channel keeps what it was made with, beyond its expiry.

        Calls go on over the channel that they have begun on, until certificates are renewed once more.

        Raises:
            StartError: a file cannot be used, as while only one of two is renewed; nothing has changed.
        """
        files = _renewed(self._settings.tls, self._files)
        if files == self._files:
            return
        self._files = files
        before, self._before, self.channel = self._before, self.channel, self._channel()
        self._methods.clear()
        self.generation += 1
        if before is not None:
            await before.close()

    async def close(self) -> None:
        """Close the channels; calls that still run end as cancelled."""
        await self.channel.close()
        if self._before is not None:
            await self._before.close()

    def _channel(self) -> grpc.aio.Channel:
        settings = self._settings
        options = (*_OPTIONS, *sizes(self._window))
        if settings.balancing == "round_robin":
            options = (*options, ("grpc.service_config", _ROUND_ROBIN))
        tls, compression = settings.tls, COMPRESSIONS[settings.compression]
        channel: grpc.aio.Channel
        if tls:
            if tls.server_name is not None:
                options = (*options, ("grpc.ssl_target_name_override", tls.server_name))
            credentials = channel_credentials(tls)
            channel = _AIO.secure_channel(settings.address, credentials, options=options, compression=compression)
        else:
            channel = _AIO.insecure_channel(settings.address, options=options, compression=compression)
        return channel


def _renewed(tls: TlsSettings, before: tuple[bytes | None, ...] | None) -> tuple[bytes | None, ...]:
    try:
        files = tls_files(tls)
        if files != before:
            check_tls(tls)
        return files
    except CredentialError as error:
        raise StartError(f"proxy.live.{error.key}: {error.problem}") from None


async def send(call: Any, message: bytes) -> bool:
    """Write a message and return whether it went; where it did not the call has ended, and its status says how."""
    try:
        await getattr(call, _INNER).send_serialized_message(message)
    except Exception:  # noqa: BLE001  # of several kinds, none of them public, and all mean the same
        return False
    return True


async def half_close(call: Any) -> None:
    """Say that nothing more is written."""
    try:
        await getattr(call, _INNER).send_receive_close()
    except Exception:  # noqa: BLE001  # see ``send``
        return
