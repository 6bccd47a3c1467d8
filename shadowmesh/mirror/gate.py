"""
The mirror gate: what must be read from a request before a target may have it.

It is compiled once per target and method from the target's policies, and decides message by message: pass it on, as it
is or changed, or shed the shadow for a reason. A method about which nothing has to be read has no gate, and costs
nothing. What cannot be read does not pass: nobody can say that it is harmless, nor change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.mirror.translation import (
    Mapped,
    Translation,
    Unfit,
    translation_misfits,
    translation_of,
    unmapped,
)
from shadowmesh.names import DropReason
from shadowmesh.policy.effects import Effect, allowed, effect_of
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.routes import matches
from shadowmesh.policy.transform import TransformSettings
from shadowmesh.protocols.edits import has_place
from shadowmesh.protocols.generation import Refusal
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.rewrite import Rewrite


class Passed(NamedTuple):
    """A message as the target may have it; with a ``drop_reason`` it may not, and ``detail`` may say more of that."""

    data: bytes
    drop_reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """
    What one target's policies make of the requests of one method.

    ``refusal`` is the drop reason of a method that is not for this target at all, and ``detail`` may say more of it.
    What is translated loses its tools by ``rewrite`` before, where they have to go; ``transform`` has the changes
    after, in the target's protocol.
    """

    refusal: str = ""
    method_map: MethodMap | None = None
    refuses_tools: bool = False
    rewrite: Rewrite | None = None
    detail: str = ""
    translation: Translation | None = None
    transform: Rewrite | None = None

    @property
    def reads(self) -> bool:
        """Whether anything has to be read before a message may be sent."""
        if self.translation is not None:
            return True
        asks = self.method_map is not None and bool(self.method_map.unshadowable)
        return asks or self.refuses_tools or self.rewrite is not None or self._identifies

    @property
    def _identifies(self) -> bool:
        """Whether messages have an id, in whose place a shadow gets its own."""
        identity = self.method_map.identity if self.method_map is not None else None
        return identity is not None and identity.key is None

    @property
    def changes(self) -> bool:
        """Whether messages are sent as others than they came, but for an id."""
        return self.translation is not None or self.rewrite is not None

    def changed(self, data: bytes) -> bytes:
        """
        Return what a message that has passed was sent as, but for its id.

        Raises:
            DecodeError: it cannot have passed.
        """
        data = data if self.rewrite is None else self.rewrite(data)
        if self.translation is not None:
            translated = self._translated(data)
            if isinstance(translated, Refusal):
                raise DecodeError(translated.reason)
            data = translated
        return data

    def _translated(self, data: bytes) -> bytes | Refusal:
        translated: bytes | Refusal = data if self.translation is None else self.translation(data)
        if isinstance(translated, Refusal) or self.transform is None:
            return translated
        return self.transform(translated)

    def judge(self, data: bytes, own_id: str = "") -> Passed:
        """Return what becomes of one request message; ``own_id`` is the shadow's in the place of the live one's."""
        method_map = self.method_map
        message = method_map.parse_request(data) if method_map is not None else None
        if method_map is None or message is None or not method_map.parts.readable(message):
            return Passed(data, DropReason.UNREADABLE)
        if any(find(message) for find in method_map.unshadowable):
            return Passed(data, DropReason.UNSAFE)
        tools = method_map.parts.tools
        if self.refuses_tools and tools is not None and tools.find(message):
            return Passed(data, DropReason.UNSAFE)
        try:
            changed = data if self.rewrite is None else self.rewrite.apply(data, message)
            if self.translation is not None:
                translated = self._translated(changed)
                if isinstance(translated, Refusal):
                    return Passed(data, DropReason.UNTRANSLATABLE, translated.reason)
                method_map, changed = self.translation.method_map, translated
            # A translation says no id, by which a client's abort would find it.
            always = self.translation is not None
            return Passed(method_map.identified(changed, own_id, always=always) if own_id else changed)
        except DecodeError:
            return Passed(data, DropReason.UNREADABLE)


_NOWHERE = "no method here says where its requests have that"
OPEN = Gate()
"""Everything passes, unread."""


def gate_of(
    experiment: ExperimentSettings,
    target: TargetSettings,
    method: str,
    method_map: MethodMap | None,
    mapped: Mapped = unmapped,
) -> Gate:
    """
    Return the gate of one target for one method.

    Args:
        mapped: every method of a protocol, where a target is asked in another one.

    Raises:
        ProtocolMapError: the target's transform does not fit the method; :func:`misfit` finds that at start.
    """
    permitted = allowed(method, target.allow_unsafe)
    effect = effect_of(method, experiment.effects, experiment.methods, mapped=method_map is not None)
    if effect is Effect.UNSAFE and not permitted:
        return Gate(DropReason.UNSAFE)
    translation = translation_of(experiment, target, method_map, mapped)
    if isinstance(translation, Unfit):
        return Gate(DropReason.UNTRANSLATABLE, detail=translation.problem)
    if method_map is None:
        return Gate(DropReason.UNREADABLE) if target.transform else OPEN
    dropped = target.transform.tools == "drop"
    has_tools = method_map.parts.tools is not None
    stubs = None
    # A stub that cannot answer is no stub: what offers tools is refused then.
    if has_tools and (dropped or (permitted and (method_map.parts.can_stub or not target.stubs))):
        stubs = {} if dropped else target.stubs
    refuses_tools = has_tools and stubs is None
    if translation is not None:
        # A tool that would have to be answered for is no part of a translation: all of them go.
        bare = None if stubs is None else Rewrite(method_map, stubs={})
        transform = _rewrite(target, translation.method_map, None) if target.transform else None
        return Gate("", method_map, refuses_tools, bare, translation=translation, transform=transform)
    rewrite = _rewrite(target, method_map, stubs) if target.transform or stubs is not None else None
    return Gate("", method_map, refuses_tools, rewrite)


def misfit(
    experiment: ExperimentSettings,
    target: TargetSettings,
    mapped: Mapping[str, MethodMap],
    protocols: Mapped = unmapped,
) -> tuple[str, str] | None:
    """
    Return the key, within the target, of a policy that fits no method of the experiment, and why; ``None`` if all fit.

    Args:
        mapped: the methods with a protocol map, under the experiment's protocol.
        protocols: those of any protocol.
    """
    covered = {
        method: found
        for method, found in mapped.items()
        if any(matches(pattern, method) for pattern in experiment.methods)
    }
    return next(_misfits(experiment, target, covered, protocols), None)


def _misfits(
    experiment: ExperimentSettings, target: TargetSettings, covered: dict[str, MethodMap], protocols: Mapped
) -> Iterator[tuple[str, str]]:
    transform, live = target.transform, covered.values()
    if transform and not covered:
        yield "transform", "no method here has a protocol map, so nothing in its requests can be changed"
    yield from translation_misfits(experiment, target, covered, protocols)
    if transform.tools and not any(found.parts.tools for found in live):
        yield "transform.tools", _NOWHERE
    if target.stubs and not any(found.parts.can_stub for found in live):
        yield "stubs", _NOWHERE
    goals = (translation_of(experiment, target, found, protocols) or found for found in live)
    yield from _unchangeable(transform, [_sent_by(goal) for goal in goals if not isinstance(goal, Unfit)])
    for method, found in covered.items():
        try:
            gate_of(experiment, target, method, found, protocols)
        except ProtocolMapError as error:
            yield "transform" if transform else "stubs", f"{method}: {error}"


def _sent_by(goal: MethodMap | Translation) -> MethodMap:
    """Return how requests are read as they are sent."""
    return goal.method_map if isinstance(goal, Translation) else goal


def _unchangeable(transform: TransformSettings, maps: Sequence[MethodMap]) -> Iterator[tuple[str, str]]:
    for name in transform.named:
        if not any(name in found.settable for found in maps):
            yield f"transform.{name}", _NOWHERE
    if transform.system_prompt and not any(found.parts.takes_system_prompt for found in maps):
        yield "transform.system_prompt", _NOWHERE
    for key, texts in (("set_fields", transform.set_fields), ("remove_fields", transform.remove_fields)):
        for text in texts:
            if not any(_has(found, text) for found in maps):
                yield f"transform.{key}", f"no request of the methods here has a field {text!r}"


def _rewrite(target: TargetSettings, method_map: MethodMap, stubs: dict[str, str] | None) -> Rewrite:
    """Compile what fits this method: a target's methods have different requests, and not each has every field."""
    transform, parts = target.transform, method_map.parts
    prompt = transform.system_prompt if parts.takes_system_prompt else None
    system = None if prompt is None else prompt.replace if prompt.prepend is None else prompt.prepend
    settable = method_map.settable
    named = {settable[name]: value for name, value in transform.named.items() if name in settable}
    others = {text: value for text, value in transform.set_fields.items() if _has(method_map, text)}
    return Rewrite(
        method_map,
        values=named | others,
        removed=[text for text in transform.remove_fields if _has(method_map, text)],
        system=system,
        replaces=prompt is not None and prompt.replace is not None,
        stubs=stubs,
    )


def _has(method_map: MethodMap, text: str) -> bool:
    return has_place(text, method_map.request_descriptor)
