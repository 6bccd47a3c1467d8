"""Which shape a method has."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from shadowmesh.catalog.given import GivenProtocol
from shadowmesh.errors import StartError
from shadowmesh.policy.routes import matches
from shadowmesh.rpc import Arity
from shadowmesh.schema.inference import methods

# Names of methods come from clients.
_MOST_UNKNOWN = 1024
# gRPC's own services, which every server may have and few describe.
_OWN = {
    "/grpc.health.v1.Health/Check": Arity.UNARY_UNARY,
    "/grpc.health.v1.Health/Watch": Arity.UNARY_STREAM,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Arity.STREAM_STREAM,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Arity.STREAM_STREAM,
}


class Shapes:
    """
    Knows shapes, and learns more while the proxy runs.

    Args:
        told: shapes by pattern, in order.
        described: shapes by full method name.
        wanted: called with a service's name, once for each, when a method of it has a shape that nobody has told; what
            it finds out comes back by :meth:`learn`, and that it could not ask by :meth:`forget`.
    """

    def __init__(
        self,
        told: Mapping[str, str],
        described: Mapping[str, Arity],
        *,
        wanted: Callable[[str], None] | None = None,
    ) -> None:
        self._told = tuple((pattern, Arity(shape)) for pattern, shape in told.items())
        self._known = {**_OWN, **_reference(), **described}
        self._wanted = wanted
        self._asked: set[str] = set()
        self.unknown: dict[str, None] = {}
        """Methods that were called and whose shape is not known, in the order of their first call."""

    def of(self, method: str) -> Arity:
        """Return the shape of a method; where nobody knows it, a stream both ways, which serves all."""
        for pattern, shape in self._told:
            if matches(pattern, method):
                return shape
        known = self._known.get(method)
        if known is not None:
            return known
        self._miss(method)
        return Arity.STREAM_STREAM

    def learn(self, described: Mapping[str, Arity]) -> None:
        """Know these from now on."""
        self._known.update(described)
        for method in described:
            self.unknown.pop(method, None)

    def forget(self, service: str) -> None:
        """Ask about a service again when it is called the next time: nobody has answered."""
        self._asked.discard(service)

    def _miss(self, method: str) -> None:
        if len(self.unknown) < _MOST_UNKNOWN:
            self.unknown[method] = None
        service = method[1:].rpartition("/")[0]
        if self._wanted is not None and service not in self._asked and len(self._asked) < _MOST_UNKNOWN:
            self._asked.add(service)
            self._wanted(service)


def _reference() -> dict[str, Arity]:
    """Return the shapes of our own model API."""
    return {
        one.full_name: Arity.of(request_streaming=one.request_streaming, response_streaming=one.response_streaming)
        for one in methods().values()
    }


def shapes_of(file: FileDescriptorProto) -> dict[str, Arity]:
    """Return the shapes of a file's methods, by full method name."""
    package = f"{file.package}." if file.package else ""
    return {
        f"/{package}{service.name}/{method.name}": Arity.of(
            request_streaming=method.client_streaming, response_streaming=method.server_streaming
        )
        for service in file.service
        for method in service.method
    }


def shapes_of_protocols(protocols: Iterable[GivenProtocol]) -> dict[str, Arity]:
    """Return the shapes that the descriptors of protocols tell, which were read with the configuration."""
    return _shapes_of_sets(FileDescriptorSet.FromString(b64decode(one.descriptors)) for one in protocols)


def _shapes_of_sets(sets: Iterable[FileDescriptorSet]) -> dict[str, Arity]:
    return {method: shape for one in sets for file in one.file for method, shape in shapes_of(file).items()}


def read_descriptors(name: str) -> dict[str, Arity]:
    """
    Return the shapes that a file with a ``FileDescriptorSet`` tells.

    Raises:
        StartError: it cannot be read, or is none.
    """
    try:
        described = FileDescriptorSet.FromString(Path(name).read_bytes())
    except OSError as error:
        raise StartError(f"proxy.descriptors: {name}: {error.strerror or 'cannot be read'}") from error
    except DecodeError as error:
        raise StartError(f"proxy.descriptors: {name}: not a FileDescriptorSet") from error
    return _shapes_of_sets([described])
