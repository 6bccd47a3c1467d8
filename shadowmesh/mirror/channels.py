"""
Connections to shadow backends: one asynchronous and one synchronous channel per target, made at first use.

A channel belongs to the loop that made it, so all of this lives in the engine's loop. Retries are off: a shadow is
sent once, and its failure is a result.

Channels are made by grpc itself, whatever instrumentation has put in the place of its functions: that is for the calls
of the user's program. It would count shadows among them, send a second ``traceparent``, and return calls that cannot be
cancelled as grpc's can.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import grpc
import grpc.aio

from shadowmesh.mirror.credentials import CallCredentials, channel_credentials
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    # A target of one experiment must not share its connection with the same address elsewhere in this process.
    ("grpc.use_local_subchannel_pool", 1),
)
# Where grpc.aio defines them. Private, so it may be gone one day; then the public way has to do.
_AIO: Any = getattr(grpc.aio, "_channel", grpc.aio)


class Channels:
    """The channels of one target, and ``credentials``, what it is called with besides."""

    def __init__(self, target: TargetSettings, *, clock: Callable[[], int], faults: Faults) -> None:
        self.credentials = CallCredentials(target.credentials, clock=clock, faults=faults)
        self._target = target
        self._aio: grpc.aio.Channel | None = None
        self._sync: grpc.Channel | None = None
        self._methods: dict[tuple[str, Arity], Any] = {}

    def method(self, path: str, arity: Arity) -> Any:
        """
        Return the multicallable for ``path`` that takes and gives bytes: grpc.aio's where the request is one
        message, the synchronous API's where it is a stream (see ``shadow_stream``).

        Raises:
            CredentialError: a file of the target's TLS settings cannot be read.
        """
        key = (path, arity)
        found = self._methods.get(key)
        if found is None:
            channel = self._sync_channel() if arity.request_streaming else self._aio_channel()
            found = getattr(channel, arity.value)(path, request_serializer=None, response_deserializer=None)
            self._methods[key] = found
        return found

    async def close(self) -> None:
        """Close both; calls that still run end as cancelled."""
        self._methods.clear()
        asynchronous, self._aio = self._aio, None
        synchronous, self._sync = self._sync, None
        if asynchronous is not None:
            await asynchronous.close()
        if synchronous is not None:
            synchronous.close()

    def _aio_channel(self) -> grpc.aio.Channel:
        if self._aio is None:
            address, tls = self._target.address, self._target.tls
            if tls:
                self._aio = _AIO.secure_channel(address, channel_credentials(tls), options=self._options())
            else:
                self._aio = _AIO.insecure_channel(address, options=_OPTIONS)
        return self._aio

    def _sync_channel(self) -> grpc.Channel:
        if self._sync is None:
            address, tls = self._target.address, self._target.tls
            if tls:
                self._sync = unwrap(grpc.secure_channel)(address, channel_credentials(tls), options=self._options())
            else:
                self._sync = unwrap(grpc.insecure_channel)(address, options=_OPTIONS)
        return self._sync

    def _options(self) -> tuple[tuple[str, int | str], ...]:
        name = self._target.tls.server_name
        return (*_OPTIONS, ("grpc.ssl_target_name_override", name)) if name is not None else _OPTIONS
