"""
The connections to the live server, and calls over them, in bytes.

A call with a stream of requests is written to through grpc.aio's inner call. Its public ``write`` makes up a status of
its own, INTERNAL, where the server ends the call meanwhile (grpc/grpc#36066), and from then on nobody can ask for the
real one; a write that fails here only ends the writing, and the status is the server's. ``check`` says at the start
whether the installed grpcio has what that takes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import grpc
import grpc.aio

from shadowmesh.errors import StartError
from shadowmesh.mirror.credentials import channel_credentials
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
    """One channel, of the loop that makes this."""

    def __init__(self, settings: LiveServerSettings, window: int) -> None:
        """
        Make the channel; it connects at the first call, and a stream holds up to ``window`` bytes.

        Raises:
            StartError: a file of the TLS settings cannot be read.
        """
        options = (*_OPTIONS, *sizes(window))
        if settings.balancing == "round_robin":
            options = (*options, ("grpc.service_config", _ROUND_ROBIN))
        tls, compression = settings.tls, COMPRESSIONS[settings.compression]
        if tls:
            if tls.server_name is not None:
                options = (*options, ("grpc.ssl_target_name_override", tls.server_name))
            credentials = channel_credentials(tls)
            self.channel = grpc.aio.secure_channel(
                settings.address, credentials, options=options, compression=compression
            )
        else:
            self.channel = grpc.aio.insecure_channel(settings.address, options=options, compression=compression)
        self._methods: dict[tuple[str, Arity], Any] = {}

    def method(self, path: str, arity: Arity) -> Any:
        """Return the multicallable for ``path``, which takes and gives bytes."""
        found = self._methods.get((path, arity))
        if found is None:
            found = getattr(self.channel, arity.value)(path, request_serializer=None, response_deserializer=None)
            if len(self._methods) < _MOST_METHODS:
                self._methods[path, arity] = found
        return found

    async def close(self) -> None:
        """Close the channel; calls that still run end as cancelled."""
        await self.channel.close()


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
