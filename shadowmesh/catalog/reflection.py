"""
Descriptors by gRPC's server reflection.

Messages are read by a wire view of our own: grpc's package for them registers itself in the default pool and asks for a
late protobuf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from shadowmesh.catalog.descriptors import set_of
from shadowmesh.errors import ProtocolMapError
from shadowmesh.model import Metadata
from shadowmesh.policy.credentials import NO_TLS, CredentialSettings, TlsSettings
from shadowmesh.schema.descriptors import message_class

METHODS = tuple(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha"))
"""The newest first; their messages are the same."""
_VIEW = "shadowmesh.views.reflection"
_SECONDS = 5.0
_MOST_FILES = 1024


class Described(NamedTuple):
    """A server that describes its services: its address, how it is connected to, and what a call has to bear."""

    address: str
    tls: TlsSettings = NO_TLS
    credentials: tuple[CredentialSettings, ...] = ()


Connect = Callable[[Described], tuple[grpc.Channel, Metadata]]
"""
Makes a channel to a server, and the metadata of calls to it.

Raises:
    ConfigError: a file or variable cannot be used; its key is the place within the settings.
"""


def asking(**about: str) -> bytes:
    """Return a request: ``file_containing_symbol`` or ``file_by_filename``."""
    message: Any = message_class(f"{_VIEW}.Request")(**about)
    data: bytes = message.SerializeToString()
    return data


def files_in(answer: bytes) -> list[FileDescriptorProto]:
    """Return the files that an answer describes; one that is none describes none."""
    try:
        read: Any = message_class(f"{_VIEW}.Response").FromString(answer)
        return [FileDescriptorProto.FromString(data) for data in read.files.descriptors]
    except DecodeError:
        return []


@cache
def described_by(server: Described, services: tuple[str, ...], connect: Connect) -> bytes:
    """
    Return the descriptors of services and of all they import, as a ``FileDescriptorSet``.

    A server is asked once in the life of a process, and it has five seconds for each answer.

    Raises:
        ProtocolMapError: it cannot be reached, has no reflection, or does not know a service.
        ConfigError: what it is to be called with cannot be used.
    """
    address = server.address
    channel, metadata = connect(server)
    with channel:
        for method in METHODS:
            try:
                return _Asking(channel, method, address, metadata).all_of(services)
            except grpc.RpcError as error:
                code: Any = getattr(error, "code", lambda: None)()
                if code is not grpc.StatusCode.UNIMPLEMENTED:
                    raise ProtocolMapError(f"{address}: reflection ended with {getattr(code, 'name', code)}") from error
    raise ProtocolMapError(f"{address}: the server has no reflection")


class _Asking:
    """Asks one server in one version."""

    def __init__(self, channel: Any, method: str, address: str, metadata: Metadata) -> None:
        self._metadata = metadata
        self._call = channel.stream_stream(method)
        self._address = address
        self._files: dict[str, FileDescriptorProto] = {}

    def all_of(self, services: tuple[str, ...]) -> bytes:
        for service in services:
            if not self._take(file_containing_symbol=service):
                raise ProtocolMapError(f"{self._address}: the server does not describe {service}")
        # Some servers answer with all that a file imports, others with the file alone.
        while missing := list(self._missing()):
            for name in missing:
                if not self._take(file_by_filename=name) or name not in self._files:
                    raise ProtocolMapError(f"{self._address}: the server does not describe {name}")
        return set_of({name: file.SerializeToString() for name, file in self._files.items()})

    def _missing(self) -> Iterator[str]:
        for file in tuple(self._files.values()):
            yield from (one for one in file.dependency if one not in self._files)

    def _take(self, **about: str) -> bool:
        answers = self._call(iter([asking(**about)]), timeout=_SECONDS, metadata=self._metadata)
        found = [file for answer in answers for file in files_in(answer)]
        self._files.update((file.name, file) for file in found)
        if len(self._files) > _MOST_FILES:
            raise ProtocolMapError(f"{self._address}: the server describes more than {_MOST_FILES} files")
        return bool(found)
