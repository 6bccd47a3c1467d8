"""Settings of experiments and targets."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from shadowmesh.names import TargetKind
from shadowmesh.policy.breaker import BreakerSettings
from shadowmesh.policy.headers import refuse_secret
from shadowmesh.policy.routes import check_pattern
from shadowmesh.settings import Name, Seconds, Settings, TargetAddress


class OnLiveCancel(StrEnum):
    """What a shadow does when its live call is cut short: by its client, its deadline or its server."""

    FOLLOW = "follow"
    DETACH = "detach"


class TargetSettings(Settings):
    """
    One shadow backend and its policy.

    Args:
        address: a gRPC target (``host:port``, ``dns:///…``, ``unix:…``).
        rate: share of eligible exchanges this target receives, 0 to 1.
        deadline: of each shadow call, counted from its own start; the live deadline is never inherited.
        max_in_flight: shadow calls running at once; more are shed with ``concurrency_limit``.
        metadata: keys of inbound metadata the shadow may see: exact, or a prefix followed by ``*``.
        tls: whether to connect with TLS and the system's roots.
        on_live_cancel: what becomes of a shadow whose live call is cut short (the client cancels, the live deadline
            passes): with ``follow`` it stops at the same elapsed time, so that both ran equally long; with ``detach``
            it runs on to its own end or ``deadline``. A detached request stream is sent what was captured and then
            half-closed; if the live one was not, the leg is not ``complete``.
        breaker: when the target is left alone because it fails, and how it is tried again.
    """

    name: Name
    kind: TargetKind = TargetKind.CANDIDATE
    version: Annotated[str, Field(max_length=128)] = ""
    address: TargetAddress
    rate: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 1.0
    deadline: Seconds = 60.0
    max_in_flight: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    metadata: tuple[str, ...] = ()
    tls: bool = False
    on_live_cancel: OnLiveCancel = OnLiveCancel.FOLLOW
    breaker: BreakerSettings = BreakerSettings()

    @field_validator("metadata")
    @classmethod
    def _no_secrets(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            refuse_secret(key)
        return tuple(key.lower() for key in keys)

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over everything that decides what is measured; evidence is keyed by it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class ExperimentSettings(Settings):
    """
    A name, the methods it covers, and its targets.

    Args:
        methods: ``/pkg.Service/Method``, ``/pkg.Service/*``, ``/pkg.*`` or ``*``; gRPC's own services (health,
            reflection) only when named.
        protocol: how bytes are read; by default found by method.
        output_digest: whether legs carry a keyed digest of the answer, so that equality shows without content.
    """

    name: Name
    version: Annotated[str, Field(max_length=128)] = ""
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    protocol: str | None = None
    output_digest: bool = False
    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1)]

    @field_validator("methods")
    @classmethod
    def _patterns(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            check_pattern(method)
        return methods

    @model_validator(mode="after")
    def _distinct_targets(self) -> ExperimentSettings:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("two targets of one experiment have the same name")
        return self

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over the whole policy in force."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
