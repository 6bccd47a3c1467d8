"""
The protocols that others define, by the messages and stubs that they publish themselves.

Their packages register what they describe in protobuf's default pool, where two of a kind meet: nothing but the tests
of ``tests/published`` may import this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import google.ai.generativelanguage_v1 as gemini_v1
import google.ai.generativelanguage_v1beta as gemini_v1beta
import grpc
from google.ai.generativelanguage_v1.services.generative_service.transports import (
    GenerativeServiceGrpcTransport as TransportV1,
)
from google.ai.generativelanguage_v1beta.services.generative_service.transports import (
    GenerativeServiceGrpcTransport as TransportV1Beta,
)
from google.protobuf import json_format
from google.protobuf.message import Message
from smg_grpc_proto.generated import (  # type: ignore[import-untyped]
    mlx_engine_pb2,
    mlx_engine_pb2_grpc,
    sglang_scheduler_pb2,
    sglang_scheduler_pb2_grpc,
    tokenspeed_scheduler_pb2,
    tokenspeed_scheduler_pb2_grpc,
    trtllm_service_pb2,
    trtllm_service_pb2_grpc,
    vllm_engine_pb2,
    vllm_engine_pb2_grpc,
)
from support.dialects import CALLS
from support.dialects.spoken import SERVER_STREAM, Said, Spoken
from xai_sdk.proto import (  # type: ignore[import-untyped]
    chat_pb2,
    chat_pb2_grpc,
    sample_pb2,
    sample_pb2_grpc,
)

Behaviour = Callable[[Any, Any], Any]


class Service(NamedTuple):
    """One service: the messages of its ``methods``, and a client and a server of it."""

    full_name: str
    methods: Mapping[str, tuple[type[Message], type[Message]]]
    stub: Callable[[grpc.Channel], Any]
    handlers: Callable[[Mapping[str, Behaviour]], grpc.GenericRpcHandler]


class _Kept:
    """Stands where generated code wants a server, and keeps what it would serve."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serves the same methods by another way."""


def _generated(module: Any, grpc_module: Any, name: str) -> Service:
    """Return a service that protoc's plugin wrote, with its client and its servicer."""

    def handlers(behaviours: Mapping[str, Behaviour]) -> grpc.GenericRpcHandler:
        unbound = {method: staticmethod(behaviour) for method, behaviour in behaviours.items()}
        servicer = type(name, (getattr(grpc_module, f"{name}Servicer"),), unbound)
        kept = _Kept()
        getattr(grpc_module, f"add_{name}Servicer_to_server")(servicer(), kept)
        (handler,) = kept.handlers
        return handler

    descriptor = module.DESCRIPTOR.services_by_name[name]
    methods = {one.name: (_class(one.input_type), _class(one.output_type)) for one in descriptor.methods}
    return Service(descriptor.full_name, methods, getattr(grpc_module, f"{name}Stub"), handlers)


def _class(descriptor: Any) -> type[Message]:
    kind: type[Message] = descriptor._concrete_class
    return kind


class _GeminiClient:
    """Google's own client, by the names that its methods have on the wire."""

    def __init__(self, transport: Any) -> None:
        self.GenerateContent = transport.generate_content
        self.StreamGenerateContent = transport.stream_generate_content
        self.EmbedContent = transport.embed_content


def _gemini(package: Any, transport: Any, version: str) -> Service:
    """Return Google's service; the package has no servicer, so the server is made of its messages."""
    full_name = f"google.ai.generativelanguage.{version}.GenerativeService"
    methods = {
        f"{stream}{name}": (getattr(package, f"{name}Request").pb(), getattr(package, f"{name}Response").pb())
        for stream, name in (("", "GenerateContent"), ("Stream", "GenerateContent"), ("", "EmbedContent"))
    }

    def handlers(behaviours: Mapping[str, Behaviour]) -> grpc.GenericRpcHandler:
        made = {name: _gemini_handler(*methods[name], name, behaviour) for name, behaviour in behaviours.items()}
        return grpc.method_handlers_generic_handler(full_name, made)

    return Service(full_name, methods, lambda channel: _GeminiClient(transport(channel=channel)), handlers)


def _gemini_handler(request: Any, response: Any, name: str, behaviour: Behaviour) -> Any:
    streams = name.startswith("Stream")
    kind: Any = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    return kind(behaviour, request_deserializer=request.FromString, response_serializer=response.SerializeToString)


SERVICES: dict[str, Service] = {
    service.full_name: service
    for service in (
        _generated(vllm_engine_pb2, vllm_engine_pb2_grpc, "VllmEngine"),
        _generated(sglang_scheduler_pb2, sglang_scheduler_pb2_grpc, "SglangScheduler"),
        _generated(trtllm_service_pb2, trtllm_service_pb2_grpc, "TrtllmService"),
        _generated(tokenspeed_scheduler_pb2, tokenspeed_scheduler_pb2_grpc, "TokenSpeedScheduler"),
        _generated(mlx_engine_pb2, mlx_engine_pb2_grpc, "MlxEngine"),
        _generated(chat_pb2, chat_pb2_grpc, "Chat"),
        _generated(sample_pb2, sample_pb2_grpc, "Sample"),
        _gemini(gemini_v1beta, TransportV1Beta, "v1beta"),
        _gemini(gemini_v1, TransportV1, "v1"),
    )
}
"""By full name."""
OTHER_NAMES = {("trtllm.TokenizedInput", "input_token_ids"): "input_ids"}
"""Fields that share a message of ours with fields of other engines, and are called by the name they have there."""


def _of(spoken: Spoken) -> tuple[Service, str] | None:
    service, _, name = spoken.method[1:].partition("/")
    found = SERVICES.get(service)
    return None if found is None else (found, name)


def published(spoken: Spoken) -> Spoken:
    """
    Return the same call in the messages that its protocol publishes, field by field of the same name.

    Raises:
        json_format.ParseError: the protocol has no such field, or none of that kind.
    """
    found = _of(spoken)
    assert found is not None
    service, name = found
    request, response = service.methods[name]

    def said(one: Said) -> Said:
        return replace(one, messages=[_translated(message, response) for message in one.messages])

    return replace(
        spoken,
        requests=[_translated(message, request) for message in spoken.requests],
        live=said(spoken.live),
        shadow=said(spoken.shadow),
    )


def _translated(message: Message, kind: type[Message]) -> Message:
    said = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json_format.ParseDict(said, kind())


def speaking() -> Iterator[tuple[str, Spoken]]:
    """Yield the calls in protocols with published messages, in these."""
    for name, spoken in CALLS.items():
        if _of(spoken) is not None:
            yield name, published(spoken)


class Heard(NamedTuple):
    """What a client has of a call."""

    messages: list[bytes]
    status: str
    details: str
    trailers: tuple[tuple[str, str], ...]


def client_of(spoken: Spoken, channel: grpc.Channel) -> Heard:
    """Make the call by the protocol's own client."""
    found = _of(spoken)
    assert found is not None
    service, name = found
    call = getattr(service.stub(channel), name)
    heard: list[bytes] = []
    try:
        if spoken.arity == SERVER_STREAM:
            answer = call(spoken.requests[0], timeout=20)
            heard.extend(_plain(one).SerializeToString() for one in answer)
            ended: Any = answer
        else:
            one, ended = call.with_call(spoken.requests[0], timeout=20)
            heard.append(_plain(one).SerializeToString())
    except grpc.RpcError as error:
        ended = error
    trailers = tuple((key, value) for key, value in ended.trailing_metadata() or ())
    return Heard(heard, ended.code().name, ended.details() or "", trailers)


def _plain(message: Any) -> Any:
    return getattr(message, "_pb", message)
