"""
The mirror gate: what must be read from a request before a target may have it.

It is compiled once per target and method from the target's policies, and decides message by message: pass it on, as it
is or changed, or shed the shadow for a reason. A method about which nothing has to be read has no gate, and costs
nothing. What cannot be read does not pass: nobody can say that it is harmless, nor change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.names import DropReason
from shadowmesh.policy.effects import Effect, allowed, effect_of
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.routes import matches
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.rewrite import Rewrite


class Passed(NamedTuple):
    """A message as the target may have it; with a ``drop_reason``, it may not."""

    data: bytes
    drop_reason: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """
    What one target's policies make of the requests of one method.

    ``refusal`` is the drop reason of a method that is not for this target at all.
    """

    refusal: str = ""
    method_map: MethodMap | None = None
    refuses_tools: bool = False
    rewrite: Rewrite | None = None

    @property
    def reads(self) -> bool:
        """Whether anything has to be read before a message may be sent."""
        asks = self.method_map is not None and bool(self.method_map.unshadowable)
        return asks or self.refuses_tools or self.rewrite is not None

    def judge(self, data: bytes) -> Passed:
        """Return what becomes of one request message."""
        method_map = self.method_map
        message = method_map.parse_request(data) if method_map is not None else None
        if method_map is None or message is None:
            return Passed(data, DropReason.UNREADABLE)
        if any(find(message) for find in method_map.unshadowable):
            return Passed(data, DropReason.UNSAFE)
        tools = method_map.parts.tools
        if self.refuses_tools and tools is not None and tools.find(message):
            return Passed(data, DropReason.UNSAFE)
        if self.rewrite is None:
            return Passed(data)
        try:
            return Passed(self.rewrite.apply(data, message))
        except DecodeError:
            return Passed(data, DropReason.UNREADABLE)


OPEN = Gate()
"""Everything passes, unread."""


def gate_of(experiment: ExperimentSettings, target: TargetSettings, method: str, method_map: MethodMap | None) -> Gate:
    """
    Return the gate of one target for one method.

    Raises:
        ProtocolMapError: the target's transform does not fit the method; :func:`misfit` finds that at start.
    """
    permitted = allowed(method, target.allow_unsafe)
    effect = effect_of(method, experiment.effects, experiment.methods, mapped=method_map is not None)
    if effect is Effect.UNSAFE and not permitted:
        return Gate(DropReason.UNSAFE)
    if method_map is None:
        return Gate(DropReason.UNREADABLE) if target.transform else OPEN
    dropped = target.transform.tools == "drop"
    has_tools = method_map.parts.tools is not None
    stubs = None
    # A stub that cannot answer is no stub: what offers tools is refused then.
    if has_tools and (dropped or (permitted and (method_map.parts.can_stub or not target.stubs))):
        stubs = {} if dropped else target.stubs
    rewrite = _rewrite(target, method_map, stubs) if target.transform or stubs is not None else None
    return Gate("", method_map, has_tools and stubs is None, rewrite)


def misfit(
    experiment: ExperimentSettings, target: TargetSettings, mapped: Mapping[str, MethodMap]
) -> tuple[str, str] | None:
    """
    Return the key, within the target, of a policy that fits no method of the experiment, and why; ``None`` if all fit.

    Args:
        mapped: the methods with a protocol map, under the experiment's protocol.
    """
    covered = {
        method: found
        for method, found in mapped.items()
        if any(matches(pattern, method) for pattern in experiment.methods)
    }
    return next(_misfits(experiment, target, covered), None)


def _misfits(
    experiment: ExperimentSettings, target: TargetSettings, covered: dict[str, MethodMap]
) -> Iterator[tuple[str, str]]:
    transform, maps = target.transform, covered.values()
    nowhere = "no method here says where its requests have that"
    if transform and not covered:
        yield "transform", "no method here has a protocol map, so nothing in its requests can be changed"
    for name in transform.named:
        if not any(name in found.settable for found in maps):
            yield f"transform.{name}", nowhere
    if transform.system_prompt and not any(found.parts.prompt or found.parts.conversation for found in maps):
        yield "transform.system_prompt", nowhere
    if transform.tools and not any(found.parts.tools for found in maps):
        yield "transform.tools", nowhere
    if target.stubs and not any(found.parts.can_stub for found in maps):
        yield "stubs", nowhere
    for key, texts in (("set_fields", transform.set_fields), ("remove_fields", transform.remove_fields)):
        for text in texts:
            if not any(_has(found, text) for found in maps):
                yield f"transform.{key}", f"no request of the methods here has a field {text!r}"
    for method, found in covered.items():
        try:
            gate_of(experiment, target, method, found)
        except ProtocolMapError as error:
            yield "transform" if transform else "stubs", f"{method}: {error}"


def _rewrite(target: TargetSettings, method_map: MethodMap, stubs: dict[str, str] | None) -> Rewrite:
    """Compile what fits this method: a target's methods have different requests, and not each has every field."""
    transform, parts = target.transform, method_map.parts
    prompt = transform.system_prompt if parts.prompt or parts.conversation else None
    system = None if prompt is None else prompt.replace if prompt.prepend is None else prompt.prepend
    settable = method_map.settable
    named = {settable[name].text: value for name, value in transform.named.items() if name in settable}
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
    try:
        Path(text, method_map.request_descriptor)
    except ProtocolMapError:
        return False
    return True
