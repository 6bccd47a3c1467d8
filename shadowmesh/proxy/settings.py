"""What a user may set of a proxy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from shadowmesh.policy.credentials import NO_TLS, FileName, Tls
from shadowmesh.policy.routes import check_pattern
from shadowmesh.settings import ByteSize, ListenAddress, Seconds, Settings, TargetAddress
from shadowmesh.telemetry.server_tls import ServerTlsSettings

Shape = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
"""gRPC's own names of the shapes of a method."""

Compression = Literal["none", "deflate", "gzip"]
"""How messages are compressed that we send; what comes is read however it comes."""


class LiveServerSettings(Settings):
    """
    The server behind the proxy.

    Args:
        address: a gRPC target; ``dns:///name:port`` may stand for several servers.
        balancing: ``pick_first`` uses one of them, ``round_robin`` all.
        tls: whether and how to connect with TLS.
        compression: of the requests that we send on.
    """

    address: TargetAddress
    balancing: Literal["pick_first", "round_robin"] = "pick_first"
    tls: Tls = NO_TLS
    compression: Compression = "none"


class ProxySettings(Settings):
    """
    Where the proxy listens, and for whom.

    Args:
        listen: ``host:port``; a port that anybody listens on already is refused.
        live: the server behind it; ``None`` where the command line names it.
        tls: our certificate; without it the port is in the clear.
        compression: of the answers that we send on.
        workers: processes that share the port; each has a mesh of its own.
        methods: shapes of methods, by pattern as in ``experiments[].methods``; the first that fits counts.
        descriptors: a file with a ``FileDescriptorSet``, as ``protoc --descriptor_set_out`` writes it, whose services
            tell the shapes of their methods; so do the descriptors under ``protocols``.
        reflection: whether the live server is asked for the shapes of methods that neither of them tells.
        grace: how long calls in flight may go on after SIGTERM.
        max_streams: calls of one connection at the same time; by default as many as the client likes.
        window: what of a stream, each way, may have come and not gone on; a stream of small messages gets at most that
            much through in a round trip.
    """

    listen: ListenAddress = "127.0.0.1:50050"
    live: LiveServerSettings | None = None
    tls: ServerTlsSettings | None = None
    compression: Compression = "none"
    workers: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    methods: dict[str, Shape] = Field(default={})
    descriptors: FileName | None = None
    reflection: Annotated[bool, Field(strict=True)] = True
    grace: Seconds = 30.0
    max_streams: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    window: Annotated[ByteSize, Field(ge=1 << 16, le=1 << 30)] = 1 << 18

    @field_validator("methods")
    @classmethod
    def _patterns(cls, methods: dict[str, Shape]) -> dict[str, Shape]:
        for method in methods:
            check_pattern(method)
        return methods
