"""The configuration file: composes the settings of the rooms below, and names the file and key of every mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from shadowmesh.catalog.builtin import RAW, mapped_methods, protocol_names
from shadowmesh.errors import ConfigError
from shadowmesh.mirror import choice
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.file_watch import ReloadSettings
from shadowmesh.mirror.gate import misfit
from shadowmesh.policy.experiment import Content, ExperimentSettings
from shadowmesh.policy.timebox import share_of
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.settings import Settings
from shadowmesh.telemetry.settings import TelemetrySettings

# Credentials stand under these keys; what is wrong with one is said without it.
_SECRETS = frozenset({"headers", "credentials", "tls", "bearer_token", "url"})


class Config(Settings):
    """
    A whole file. The interceptor reads all but ``processor``, the processor only that.

    Args:
        experiments: what is mirrored, and to whom.
        mirror: how it is carried, within which bounds.
        reload: whether a changed file takes effect without a restart.
        telemetry: where our own spans and metrics go.
        processor: what pairs and compares them.
    """

    experiments: tuple[ExperimentSettings, ...] = ()
    mirror: MirrorSettings = MirrorSettings()
    reload: ReloadSettings = ReloadSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    processor: ProcessorSettings = ProcessorSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names: set[str] = set()
        known = protocol_names()
        for position, experiment in enumerate(self.experiments):
            if experiment.name in names:
                raise _wrong(f"experiments[{position}].name", f"two experiments are named {experiment.name}")
            names.add(experiment.name)
            if experiment.protocol is not None and experiment.protocol not in known:
                problem = f"{experiment.protocol!r} is none of {', '.join(known)}"
                raise _wrong(f"experiments[{position}].protocol", problem)
            if experiment.content is not Content.OFF and experiment.protocol == RAW:
                raise _wrong(f"experiments[{position}].content", "protocol raw does not say where a text is")
            if problem := _too_few_pairs(self.mirror, experiment):
                raise _wrong(f"experiments[{position}].time_box.pairs", problem)
            mapped = mapped_methods(experiment.protocol)
            if unknown := choice.misfit(experiment, mapped):
                raise _wrong(f"experiments[{position}].{unknown[0]}", unknown[1])
            for place, target in enumerate(experiment.targets):
                if found := misfit(experiment, target, mapped):
                    raise _wrong(f"experiments[{position}].targets[{place}].{found[0]}", found[1])
        return self


def _too_few_pairs(mirror: MirrorSettings, experiment: ExperimentSettings) -> str:
    """Return what is wrong with a number of pairs of which no engine would get one."""
    pairs = experiment.time_box.pairs if experiment.time_box is not None else None
    if pairs is None or share_of(pairs, mirror.part) >= 1:
        return ""
    return f"{pairs} pairs over every engine are less than one for each (mirror.budget, mirror.workers)"


def _wrong(key: str, problem: str) -> PydanticCustomError:
    """Return the error of a key that is wrong beside others; a validator of the whole has no place of its own."""
    return PydanticCustomError("inconsistent", "{problem}", {"problem": problem, "key": key})


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently let go of the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Check the keys as written, before merges are made."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in seen:
                    raise yaml.composer.ComposerError(problem=f"key {key.value!r} twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


def load(path: str | Path) -> Config:
    """
    Read and check a configuration file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or a key in it is wrong; its text is one line.
    """
    return parse(read(path), source=str(path))


def read(path: str | Path) -> str:
    """
    Return the text of a configuration file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        raise ConfigError(reason, source=str(path)) from error


def parse(text: str, *, source: str = "") -> Config:
    """
    Check a configuration given as YAML text.

    Raises:
        ConfigError: the text is not YAML, or a key in it is wrong.
    """
    try:
        loaded = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader that is stricter still
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The last two: numbers and dates that are none, and nesting without end.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or "not YAML").replace("\n", " ")
        raise ConfigError(problem, source=source, key=where) from error
    try:
        return Config.model_validate({} if loaded is None else loaded)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        problem = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            problem = "unknown key"
        elif not isinstance(first["input"], (dict, list, Config)) and _SECRETS.isdisjoint(first["loc"]):
            problem = f"{problem} (got {_shown(first['input'])!r})"
        # An element that is wrong makes its list "too short" as well.
        others = [other for other in others if first["loc"][: len(other["loc"])] != other["loc"]]
        if others:
            problem += f" (and {len(others)} more)"
        key = first.get("ctx", {}).get("key") or _key_path(first["loc"])
        raise ConfigError(problem.replace("\n", " "), source=source, key=key) from error


@contextmanager
def named(source: str | Path) -> Iterator[None]:
    """Name the file in a ``ConfigError`` of what was read from it, where only the key is known."""
    try:
        yield
    except ConfigError as error:
        if error.source:
            raise
        raise ConfigError(error.problem, source=str(source), key=error.key) from error


def check_credentials(config: Config, *, source: str = "") -> None:
    """
    Check that this process can read the credentials of every target; the processor, which calls none, need not.

    Raises:
        ConfigError: a file or an environment variable is missing or cannot be used.
    """
    from shadowmesh.mirror.credentials import check

    if wrong := check(config.experiments):
        key, problem = wrong
        raise ConfigError(problem, source=source, key=key)


def _shown(value: object) -> object:
    """Return a value as it may be repeated: an address without the password somebody has put into it."""
    from shadowmesh.telemetry.snapshot import without_secrets

    return without_secrets(value) if isinstance(value, str) else value


def _key_path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
