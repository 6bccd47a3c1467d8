"""The methods of `shadowmesh.v1.Inference`, our reference model API, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shadowmesh.schema.descriptors import pool

SERVICE = "shadowmesh.v1.Inference"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: where it is found, which side streams, and what the messages are."""

    name: str
    """The method alone: `Generate`."""
    full_name: str
    """As it stands in the `:path` of a call: `/shadowmesh.v1.Inference/Generate`."""
    request_streaming: bool
    response_streaming: bool
    request: type[Message]
    response: type[Message]


@cache
def methods() -> Mapping[str, Method]:
    """Return every method by its short name, in the order of the proto."""
    service = pool().FindServiceByName(SERVICE)
    return MappingProxyType({method.name: _method(method) for method in service.methods})


def method(name: str) -> Method:
    """
    Return one method by its short name, such as `StreamGenerate`.

    Raises:
        KeyError: the service has no such method.
    """
    return methods()[name]


def _method(descriptor: MethodDescriptor) -> Method:
    return Method(
        name=descriptor.name,
        full_name=f"/{SERVICE}/{descriptor.name}",
        request_streaming=descriptor.client_streaming,
        response_streaming=descriptor.server_streaming,
        request=GetMessageClass(descriptor.input_type),
        response=GetMessageClass(descriptor.output_type),
    )
