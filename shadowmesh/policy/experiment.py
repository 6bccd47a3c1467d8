"""Settings of experiments and targets."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shadowmesh.names import TargetKind
from shadowmesh.policy.breaker import BreakerSettings
from shadowmesh.policy.budget import BudgetSettings
from shadowmesh.policy.conditions import WhenSettings
from shadowmesh.policy.credentials import NO_TLS, CredentialSettings, Tls, check_exposure
from shadowmesh.policy.effects import Effect
from shadowmesh.policy.headers import check_entry, conflicts, refuse_secret
from shadowmesh.policy.limits import Burst, PerSecond
from shadowmesh.policy.presets import Preset, with_preset
from shadowmesh.policy.retries import RetrySettings
from shadowmesh.policy.routes import check_pattern
from shadowmesh.policy.sampling import SamplingSettings
from shadowmesh.policy.timebox import TimeBoxSettings
from shadowmesh.policy.transform import TransformSettings
from shadowmesh.policy.translation import TokenizerName, TranslateSettings
from shadowmesh.policy.warm_up import WarmUpSettings
from shadowmesh.settings import ByteSize, Name, Seconds, Settings, TargetAddress


class OnLiveCancel(StrEnum):
    """What a shadow does when its live call is cut short: by its client, its deadline or its server."""

    FOLLOW = "follow"
    DETACH = "detach"


class Content(StrEnum):
    """Whether prompts and answers leave the process, and by what: as log events, or as attributes of the spans."""

    OFF = "off"
    EVENTS = "events"
    SPANS = "spans"


def _as_written(content: object) -> object:
    """Return what somebody wrote: to YAML ``off`` is the boolean."""
    return Content.OFF if content is False else content


class TargetSettings(Settings):
    """
    One shadow backend and its policy.

    Args:
        name: becomes a metric attribute; no other target of the experiment has it.
        enabled: ``false`` switches it off, as if it were not there.
        kind: ``candidate``, or ``control``: the live model reached as a shadow, for the noise floor.
        version: yours; part of the target's digest.
        address: a gRPC target (``host:port``, ``dns:///…``, ``unix:…``).
        rate: share of eligible exchanges this target receives, 0 to 1.
        deadline: of each shadow call, counted from its own start; the live deadline is never inherited.
        max_in_flight: shadow calls running at once; more are shed with ``concurrency_limit``.
        max_rate: shadow calls per second, of each live process; more are shed with ``rate_limit``.
        burst: how many of them may start at once after a pause; by default what ``max_rate`` lets through in a second.
        metadata: keys of inbound metadata the shadow may see: exact, or a prefix followed by ``*``.
        tls: whether and how to connect with TLS: ``true`` trusts the system's roots, see
            :class:`~shadowmesh.policy.credentials.TlsSettings` for more.
        credentials: metadata entries of its own that every shadow call carries, read from files or the environment.
        translate: which protocol its requests are written in, where it is another one than the live server's.
        transform: what is changed in its requests, translated ones included.
        allow_unsafe: patterns of methods whose unsafe calls it takes, see :mod:`shadowmesh.policy.effects`.
        stubs: answers by name of tool; with them unsafe calls keep these tools, else they go without any.
        on_live_cancel: what becomes of a shadow whose live call is cut short (the client cancels, the live deadline
            passes): with ``follow`` it stops at the same elapsed time, so that both ran equally long; with ``detach``
            it runs on to its own end or ``deadline``. Where clients end calls by id, ``follow`` has the shadow's server
            asked to end it, and ``detach`` has not. A detached request stream is sent what was captured and then
            half-closed; if the live one was not, the leg is not ``complete``.
        breaker: when the target is left alone because it fails, and how it is tried again.
        budget: what it may cost; without one, whatever it costs.
        warm_up: which of its first pairs are no evidence. None by default: of the 10 000 that a verdict asks for, the
            first minute is a small part, and what a cold start does, callers will notice after the rollout as well.
    """

    name: Name
    enabled: Annotated[bool, Field(strict=True)] = True
    kind: TargetKind = TargetKind.CANDIDATE
    version: Annotated[str, Field(max_length=128)] = ""
    address: TargetAddress
    rate: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 1.0
    deadline: Seconds = 60.0
    max_in_flight: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    max_rate: PerSecond | None = None
    burst: Burst | None = None
    metadata: tuple[str, ...] = ()
    tls: Tls = NO_TLS
    credentials: tuple[CredentialSettings, ...] = ()
    translate: TranslateSettings | None = None
    transform: TransformSettings = TransformSettings()
    allow_unsafe: tuple[str, ...] = ()
    stubs: dict[str, str] = Field(default={})
    on_live_cancel: OnLiveCancel = OnLiveCancel.FOLLOW
    breaker: BreakerSettings = BreakerSettings()
    budget: BudgetSettings | None = None
    warm_up: WarmUpSettings | None = None

    @field_validator("metadata")
    @classmethod
    def _no_secrets(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            refuse_secret(key)
        return tuple(key.lower() for key in keys)

    @field_validator("allow_unsafe")
    @classmethod
    def _unsafe_patterns(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            check_pattern(method)
        return methods

    @field_validator("credentials")
    @classmethod
    def _distinct_keys(cls, credentials: tuple[CredentialSettings, ...]) -> tuple[CredentialSettings, ...]:
        keys = [one.key for one in credentials]
        if len(set(keys)) < len(keys):
            raise ValueError("two credentials have the same key")
        return credentials

    @model_validator(mode="after")
    def _fitting(self) -> TargetSettings:
        check_exposure(self.credentials, self.address, self.tls)
        if self.stubs and not self.allow_unsafe:
            raise ValueError("stubs answer the tools of unsafe calls, and allow_unsafe names none")
        if self.translate is not None and self.kind is TargetKind.CONTROL:
            raise ValueError("a control target is the live model, and speaks its protocol: it has no translate")
        if self.translate is not None and self.stubs:
            raise ValueError("stubs answer tools, and what is translated goes without tools")
        if self.burst is not None and self.max_rate is None:
            raise ValueError("burst is above a max_rate, and there is none")
        return self

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over everything that decides what is measured; evidence is keyed by it."""
        # A budget and a switch end the gathering of evidence and change none of it, and credentials only let us in.
        measured = self.model_dump_json(exclude={"budget", "credentials", "enabled"})
        return hashlib.sha256(measured.encode()).hexdigest()[:12]


class ExperimentSettings(Settings):
    """
    A name, the methods it covers, and its targets.

    Args:
        name: becomes a metric attribute; no other experiment has it.
        version: yours, recorded on every leg.
        enabled: ``false`` switches it off, as if it were not there: another one that covers its calls takes them.
        preset: defaults for keys that are not given here, see :mod:`shadowmesh.policy.presets`.
        methods: ``/pkg.Service/Method``, ``/pkg.Service/*``, ``/pkg.*`` or ``*``; gRPC's own services (health,
            reflection) only when named.
        when: which of their calls it takes, by metadata and by requested model.
        sampling: by what calls are sampled, so that those of one user or conversation are mirrored all or none.
        retries: how attempts of one call are known, so that only the first is mirrored.
        protocol: how bytes are read; by default found by method.
        tokenizer: what the live model's tokenizer is called, for targets with ``translate`` and, under
            ``mirror.tokenizers``, for the text of answers that are token ids.
        output_digest: whether legs carry a keyed digest of the answer, so that equality shows without content.
        content: whether prompts and answers leave the process: ``events`` is a log event for each leg, ``spans`` are
            attributes of the legs; by default nothing does.
        content_limit: bytes of JSON that the prompt, the instructions and the answer of a leg may have, each; what is
            longer is cut there, which the event or the span says. A receiver takes all texts of an exchange in one
            request, of 4 MiB by default.
        stall_after: a longer gap between two messages of an answer is counted as a stall.
        never: metadata keys, exact or a prefix followed by ``*``, that reach no shadow whatever its ``metadata`` says.
        trust_marker: whether the marker of a shadow call is believed whoever sent it, see
            :mod:`shadowmesh.policy.marker`.
        effects: what calls do in the world, by method pattern, see :mod:`shadowmesh.policy.effects`.
        time_box: when mirroring begins and ends by itself.
        targets: the shadow backends; at most one of them that is enabled is a ``control``.
    """

    name: Name
    enabled: Annotated[bool, Field(strict=True)] = True
    version: Annotated[str, Field(max_length=128)] = ""
    preset: Preset | None = None
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    when: WhenSettings = WhenSettings()
    sampling: SamplingSettings = SamplingSettings()
    retries: RetrySettings = RetrySettings()
    protocol: str | None = None
    tokenizer: TokenizerName | None = None
    output_digest: bool = False
    content: Annotated[Content, BeforeValidator(_as_written)] = Content.OFF
    content_limit: Annotated[ByteSize, Field(ge=1024, le=256 * 1024)] = 64 * 1024
    stall_after: Seconds = 1.0
    never: tuple[str, ...] = ()
    trust_marker: bool = True
    effects: dict[str, Effect] = Field(default={})
    time_box: TimeBoxSettings | None = None
    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: object) -> object:
        return with_preset(values)

    @field_validator("methods")
    @classmethod
    def _patterns(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            check_pattern(method)
        return methods

    @field_validator("targets")
    @classmethod
    def _one_control(cls, targets: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
        controls = [target.name for target in targets if target.enabled and target.kind is TargetKind.CONTROL]
        if len(controls) > 1:
            raise ValueError(f"an experiment has one control, and these are: {', '.join(controls)}")
        return targets

    @field_validator("effects")
    @classmethod
    def _effect_patterns(cls, effects: dict[str, Effect]) -> dict[str, Effect]:
        for method in effects:
            check_pattern(method)
        return effects

    @field_validator("never")
    @classmethod
    def _entries(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            check_entry(key)
        return tuple(key.lower() for key in keys)

    @model_validator(mode="after")
    def _never_is_never(self) -> ExperimentSettings:
        for target in self.targets:
            for key in conflicts(target.metadata, self.never):
                raise ValueError(f"{key} never travels, and target {target.name} lists it")
        return self

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


Experiment = TypeVar("Experiment", bound=ExperimentSettings)


def in_force(experiments: tuple[Experiment, ...]) -> tuple[Experiment, ...]:
    """Return the experiments without what is switched off; one without any target left is off too."""
    kept = []
    for experiment in experiments:
        targets = tuple(target for target in experiment.targets if target.enabled)
        if not (experiment.enabled and targets):
            continue
        if len(targets) < len(experiment.targets):
            kind = type(experiment)
            values = {name: getattr(experiment, name) for name in kind.model_fields}
            # Not `model_copy`: the copy would keep the digest of what was copied.
            experiment = kind(**{**values, "targets": targets})  # noqa: PLW2901
        kept.append(experiment)
    return tuple(kept)
