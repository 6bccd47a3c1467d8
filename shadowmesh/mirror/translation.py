"""How one target that speaks another protocol is asked what one live method is asked (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.routes import matches
from shadowmesh.policy.translation import TranslateSettings
from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generation import Refusal
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.translation import Terms, Translator, misfits
from shadowmesh.rpc import Arity

Mapped = Callable[[str | None], Mapping[str, MethodMap]]
"""Returns every method that has a map under a protocol, by full name."""


def unmapped(_protocol: str | None) -> Mapping[str, MethodMap]:
    """Return no methods: where no target is translated, nobody needs to know more."""
    return {}


class Translation(NamedTuple):
    """The method that a target is called by, how that is read, and what makes its requests of the live ones."""

    method: str
    arity: Arity
    method_map: MethodMap
    live_map: MethodMap
    translator: Translator
    same_tokenizer: bool

    def __call__(self, data: bytes) -> bytes | Refusal:
        """Return a live request as the target is sent it, or why it is not sent."""
        message = self.live_map.parse_request(data)
        return Refusal("it cannot be read") if message is None else self.translator(data, message)


class Unfit(NamedTuple):
    """A key within ``translate`` that cannot be as it is, and why."""

    key: str
    problem: str


def translation_of(
    experiment: ExperimentSettings, target: TargetSettings, live_map: MethodMap | None, mapped: Mapped
) -> Translation | Unfit | None:
    """
    Return how requests of a live method reach a target; ``None`` where it speaks the live server's protocol.

    Args:
        live_map: how the live method is read.
    """
    settings = target.translate
    if settings is None:
        return None
    if live_map is None or not live_map.generates:
        return Unfit("protocol", "the live method is not known to generate")
    live = tuple(live_map.generates.values())
    found = _goal(settings, live, mapped)
    if isinstance(found, Unfit):
        return found
    method, method_map, generate = found
    terms = terms_of(experiment, settings)
    for key, problem in misfits(live, generate, terms):
        return Unfit(key, problem)
    arity = Arity(generate.settings.arity)
    translator = Translator(live, generate, terms)
    return Translation(method, arity, method_map, live_map, translator, terms.same_tokenizer)


def terms_of(experiment: ExperimentSettings, settings: TranslateSettings) -> Terms:
    """Return what the configuration says of a translation."""
    return Terms(
        same_tokenizer=settings.tokenizer is not None and settings.tokenizer == experiment.tokenizer,
        defaults=settings.defaults.named,
        model=settings.model or "",
    )


def _goal(
    settings: TranslateSettings, live: tuple[Generate, ...], mapped: Mapped
) -> tuple[str, MethodMap, Generate] | Unfit:
    """Return the method that is called, and how it is asked."""
    maps = {method: found for method, found in mapped(settings.protocol).items() if found.generates}
    if not maps:
        return Unfit("protocol", f"no method of {settings.protocol!r} is known to generate")
    if settings.method is not None and settings.method not in maps:
        return Unfit("method", f"{settings.method!r} is none of {', '.join(maps)}")
    ways = [
        (method, found, way)
        for method, found in maps.items()
        if settings.method in (None, method)
        for name, way in found.generates.items()
        if name == (settings.preset or "")
    ]
    if not ways:
        presets = sorted({name for found in maps.values() for name in found.generates if name})
        wanted = f"one of {', '.join(presets)}" if presets else f"{settings.protocol} has none"
        return Unfit("preset", wanted)
    chosen = [way for way in ways if settings.method is not None or way[2].settings.chosen] or ways
    asked = frozenset(form for one in live for form in one.forms)
    chosen = [way for way in chosen if way[2].forms & asked] or chosen
    streams = Arity(live[0].settings.arity).response_streaming
    alike = [way for way in chosen if Arity(way[2].settings.arity).response_streaming is streams]
    return (alike or chosen)[0]


def translation_misfits(
    experiment: ExperimentSettings, target: TargetSettings, covered: Mapping[str, MethodMap], mapped: Mapped
) -> Iterator[tuple[str, str]]:
    """
    Yield the keys of a target that ask for translations that cannot be made, and why.

    A method that only a wildcard covers may have none, if another one has: it is shed when it is called.

    Args:
        covered: the experiment's methods with a protocol map.
    """
    if target.translate is None:
        return
    found = {method: translation_of(experiment, target, one, mapped) for method, one in covered.items()}
    possible = any(isinstance(one, Translation) for one in found.values())
    for method in experiment.methods:
        if "*" not in method and method not in covered:
            yield "translate", f"{method} has no protocol map, so nobody can read what it is asked"
    for method, one in found.items():
        named = any(pattern == method for pattern in experiment.methods if matches(pattern, method))
        if isinstance(one, Unfit) and (named or not possible):
            yield f"translate.{one.key}", f"{method}: {one.problem}"
    if not found:
        yield "translate", "no method here has a protocol map, so nobody can read what they are asked"
