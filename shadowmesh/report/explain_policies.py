"""The policies of an experiment and its targets in words: whose calls, which of them, and what goes along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shadowmesh.policy.conditions import MetadataCondition, WhenSettings
from shadowmesh.policy.credentials import CredentialSettings
from shadowmesh.policy.experiment import Content, ExperimentSettings, TargetSettings
from shadowmesh.policy.sampling import SamplingKey
from shadowmesh.policy.transform import TransformSettings
from shadowmesh.policy.translation import UNSET, TranslateSettings
from shadowmesh.report import units

TOLD_OF_EXPERIMENTS = frozenset({"when", "sampling", "retries", "never", "trust_marker", "effects", "output_digest",
                                 "content", "content_limit"})  # fmt: skip
TOLD_OF_TARGETS = frozenset({"metadata", "tls", "credentials", "translate", "transform", "allow_unsafe", "stubs"})


def of_experiment(experiment: ExperimentSettings) -> Iterator[str]:
    """Return the sentences that hold for every target."""
    if conditions := _conditions(experiment.when):
        yield f"It takes only calls {_and(conditions)}."
    yield from _sampling(experiment)
    if experiment.retries.keys:
        keys, window = _or(experiment.retries.keys), units.duration(experiment.retries.window)
        yield f"Calls with the same {keys} within {window} are attempts of one call: the first is mirrored."
    if not experiment.trust_marker:
        yield "A call that only says of itself that it is a shadow is mirrored; one that this process has sent is not."
    for pattern, effect in experiment.effects.items():
        yield f"Calls of {pattern} count as {effect}."
    if experiment.never:
        yield f"{_and(experiment.never)} of the metadata never travels."
    if experiment.content is not Content.OFF:
        way = "log events" if experiment.content is Content.EVENTS else "attributes of the spans"
        yield f"Prompts and answers leave the process, as {way}, up to {units.size(experiment.content_limit)} each."
    if experiment.output_digest:
        yield "Legs carry a digest of the answer, which shows equality and no content."


def of_target(target: TargetSettings) -> Iterator[str]:
    """Return the sentences of one target."""
    seen = f"{_and(target.metadata)} of the metadata" if target.metadata else "nothing of the metadata"
    yield f"It sees {seen}, and never a credential of the client's."
    if target.tls or target.credentials:
        yield f"It is called {_connection(target)}."
    if target.translate is not None:
        yield from _translation(target.translate)
    if target.transform:
        yield f"Its requests differ from the live ones: {_and(list(_changes(target.transform)))}."
    yield _tools(target)


def _conditions(when: WhenSettings) -> list[str]:
    found = [_condition(one) for one in when.metadata]
    if when.models:
        found.append(f"that ask for the model {_or(when.models)}")
    return found


def _condition(one: MetadataCondition) -> str:
    if one.equals is not None:
        return f"whose {one.key} is {one.equals}"
    if one.prefix is not None:
        return f"whose {one.key} begins with {one.prefix}"
    return f"that bear {'a' if one.present else 'no'} {one.key}"


def _sampling(experiment: ExperimentSettings) -> Iterator[str]:
    if not any(0 < target.rate < 1 for target in experiment.targets):
        return
    by = experiment.sampling.by
    if by == "call":
        yield "Each call is sampled by itself, at all targets alike: what a lower rate takes, a higher one takes too."
        return
    key = (by.metadata or by.field) if isinstance(by, SamplingKey) else "trace id"
    yield f"Calls with the same {key} are mirrored all or none, in every replica; one without it is sampled by itself."


def _connection(target: TargetSettings) -> str:
    parts = []
    if target.tls:
        parts.append("over TLS with a certificate of its own" if target.tls.certificate else "over TLS")
    if target.credentials:
        parts.append(f"with {_and([_credential(one) for one in target.credentials])}")
    return ", ".join(parts)


def _credential(one: CredentialSettings) -> str:
    return f"{one.key} from {f'the variable {one.env}' if one.env is not None else one.file}"


def _translation(translate: TranslateSettings) -> Iterator[str]:
    method = f" by {translate.method}" if translate.method is not None else ""
    preset = f" ({translate.preset})" if translate.preset is not None else ""
    speaks = f"It speaks {translate.protocol}{preset} and is asked{method} what can be said whole in that"
    yield f"{speaks}; other requests do not reach it."
    unsaid = translate.defaults.named
    said = [f"{name} {value}" for name, value in unsaid.items() if value != UNSET]
    if said:
        yield f"Where a request leaves it unsaid, it is asked for {_and(said)}."
    if silent := [name for name, value in unsaid.items() if value == UNSET]:
        yield f"Of {_and(silent)} that a request leaves unsaid it is told nothing."


def _changes(transform: TransformSettings) -> Iterator[str]:
    for name, value in transform.named.items():
        yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
    if transform.system_prompt is not None:
        place = "in place of" if transform.system_prompt.prepend is None else "before"
        yield f"a text {place} the system prompt"
    if transform.tools is not None:
        yield "no tools"
    for path, setting in transform.set_fields.items():
        yield f"{path} {setting}"
    for path in transform.remove_fields:
        yield f"no {path}"


def _tools(target: TargetSettings) -> str:
    if target.transform.tools == "drop":
        return "Requests that offer tools reach it without them."
    if not target.allow_unsafe:
        return "What may act in the world does not reach it: requests that offer tools, methods that change something."
    tools = f"with no tools but {_and(list(target.stubs))}, which have stubs" if target.stubs else "without their tools"
    return f"Of calls that may act in the world those of {_and(target.allow_unsafe)} reach it, {tools}."


def _and(parts: Sequence[str]) -> str:
    return _joined(parts, "and")


def _or(parts: Sequence[str]) -> str:
    return _joined(parts, "or")


def _joined(parts: Sequence[str], word: str) -> str:
    *most, last = parts
    return f"{', '.join(most)} {word} {last}" if most else last
