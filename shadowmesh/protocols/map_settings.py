"""The data file of a protocol map: its shape, and what of it contradicts itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shadowmesh.protocols.aborts import AbortSettings
from shadowmesh.protocols.generate_map import GenerateSettings
from shadowmesh.protocols.identity import IdentitySettings
from shadowmesh.protocols.parts import PartPaths
from shadowmesh.protocols.streams import StreamSettings
from shadowmesh.protocols.tensors import TensorLists
from shadowmesh.protocols.tool_calls import ToolCallPaths
from shadowmesh.settings import Settings


class RequestPaths(Settings):
    """
    Where a request says what it asks for; the first request message of the exchange decides.

    Each may be said by the call's metadata too, ``md:key``.
    """

    model: str | None = None
    max_tokens: str | None = None
    temperature: str | None = None
    top_p: str | None = None
    top_k: str | None = None
    seed: str | None = None
    stop_sequences: str | None = None


class CostPaths(Settings):
    """
    Where a response says what it cost: ``units`` of the ``amount`` are one of the currency.

    It is what was asked of the caller, and goes before every price that is known here.
    """

    amount: str
    units: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class ResponsePaths(Settings):
    """
    Where a response says what it is; of several messages the last one that says it decides, unless ``stream`` says
    otherwise.

    The texts of all messages, joined, are the answer. ``text`` may be bytes, which need not be whole characters before
    they are joined. ``ids`` are its tokens, where a protocol has these instead. ``reasoning`` is what a model thought
    before, and no part of the answer.
    """

    text: str | None = None
    ids: str | None = None
    reasoning: str | None = None
    tool_calls: ToolCallPaths | None = None
    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    cached_input_tokens: str | None = None
    reasoning_output_tokens: str | None = None
    cost: CostPaths | None = None


class ExchangeRule(Settings):
    """
    How one call splits into exchanges.

    By ``id`` a response belongs to the request that has its id, by ``order`` to the first request that is not done. An
    exchange ends with the first response that has a value at ``end``; without ``end`` each request has one response.
    """

    by: Literal["id", "order"] = "id"
    request: str | None = None
    response: str | None = None
    end: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> ExchangeRule:
        if (self.by == "id") != (self.request is not None and self.response is not None):
            raise ValueError("request and response say where the id is, and belong to by: id")
        return self


class MessageNames(Settings):
    """The messages of a method, by full name, where its own service is not in the schema."""

    request: str
    response: str


class TensorSettings(Settings):
    """Where the request and the response of a method have tensors, for ``tensor(…)``."""

    request: TensorLists | None = None
    response: TensorLists | None = None


class MethodSettings(Settings):
    """
    One method of a protocol.

    ``unshadowable`` is true of requests that no other server could take: they name what is in one server's memory.
    ``identity`` is where a request has an id that no other running one may have: a shadow gets one of its own.
    ``generate`` is how the method is asked to generate, for translation; ``presets`` are several ways by name.
    """

    messages: MessageNames | None = None
    operation: str | None = None
    identity: IdentitySettings | None = None
    tensors: TensorSettings = TensorSettings()
    request: RequestPaths = RequestPaths()
    parts: PartPaths = PartPaths()
    response: ResponsePaths = ResponsePaths()
    stream: StreamSettings = StreamSettings()
    exchanges: ExchangeRule | None = None
    unshadowable: tuple[str, ...] = ()
    generate: GenerateSettings | None = None
    presets: dict[str, GenerateSettings] = Field(default={})

    @model_validator(mode="after")
    def _one_way_or_several(self) -> MethodSettings:
        if self.generate is not None and self.presets:
            raise ValueError("generate is the only way to ask, and presets are several")
        return self

    @model_validator(mode="after")
    def _one_id_for_one_thing(self) -> MethodSettings:
        if self.identity is not None and self.exchanges is not None:
            raise ValueError("what tells the exchanges of a call apart stays as it is: identity and exchanges exclude")
        return self


class ProtocolMapSettings(Settings):
    """
    The data file of a protocol.

    ``finish_reasons`` and ``roles`` are what the conventions call the values that it has of its own. ``aborts`` are
    methods that end requests of others, by full name: they are no exchanges, and stand in ``methods`` never.
    """

    version: Literal[1]
    protocol: str
    provider: str | None = None
    finish_reasons: dict[str, str] = Field(default={})
    roles: dict[str, str] = Field(default={})
    methods: Annotated[dict[str, MethodSettings], Field(min_length=1)]
    aborts: dict[str, AbortSettings] = Field(default={})

    @model_validator(mode="after")
    def _aborts_of_its_own(self) -> ProtocolMapSettings:
        for method, abort in self.aborts.items():
            if method in self.methods:
                raise ValueError(f"{method} ends others, and is no exchange beside that")
            for other in abort.of:
                if other not in self.methods or self.methods[other].identity is None:
                    raise ValueError(f"{method} ends requests of {other}, of which the map names no identity")
        return self
