"""The configuration file: composes the settings of the rooms below, and names the file and key of every mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from shadowmesh.catalog import strict_yaml, tokenizers
from shadowmesh.catalog.catalog import RAW, Catalog
from shadowmesh.catalog.configured import ProtocolSettings, configured
from shadowmesh.compare import guards
from shadowmesh.errors import ConfigError
from shadowmesh.mirror import choice
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.credentials import connect
from shadowmesh.mirror.file_watch import ReloadSettings
from shadowmesh.mirror.gate import misfit
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import TargetKind
from shadowmesh.policy.experiment import Content, ExperimentSettings, in_force
from shadowmesh.policy.routes import matches
from shadowmesh.policy.timebox import share_of
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.settings import Settings, complaint, is_known
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.verdict.plan import Plan

# Credentials stand under these keys; what is wrong with one is said without it.
_SECRETS = frozenset({"headers", "credentials", "tls", "bearer_token", "url", "secret"})


class Config(Settings):
    """
    A whole file. The interceptor reads all but ``processor``, the processor only that.

    Args:
        experiments: what is mirrored, and to whom.
        protocols: how to read methods that no built-in protocol has.
        mirror: how it is carried, within which bounds.
        capture: live calls to files, whole; off by default.
        reload: whether a changed file takes effect without a restart.
        telemetry: where our own spans and metrics go.
        processor: what pairs and compares them.
        proxy: where ``shadowmesh proxy`` listens, and what is behind it.
    """

    experiments: tuple[JudgedExperimentSettings, ...] = ()
    protocols: tuple[ProtocolSettings, ...] = ()
    mirror: MirrorSettings = MirrorSettings()
    capture: CaptureSettings | None = None
    reload: ReloadSettings = ReloadSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    processor: ProcessorSettings = ProcessorSettings()
    proxy: ProxySettings = ProxySettings()

    _catalog: Catalog = PrivateAttr()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        try:
            # What is frozen may still be filled in once; nobody has seen it yet.
            self._catalog = configured(self.protocols, connect)
        except ConfigError as error:
            raise _wrong(error.key, error.problem) from error
        if found := unfit(self.experiments, self.mirror, self._catalog):
            raise _wrong(*found)
        return self

    @property
    def catalog(self) -> Catalog:
        """Every protocol that may be named in it."""
        return self._catalog

    def shared_by(self, processes: int) -> Config:
        """Return the configuration of each of so many processes that share this machine's part of every budget."""
        if processes == 1:
            return self
        budget = self.mirror.budget.model_copy(update={"processes": self.mirror.budget.processes * processes})
        return self.model_copy(update={"mirror": self.mirror.model_copy(update={"budget": budget})})


def unfit(
    experiments: Sequence[JudgedExperimentSettings], mirror: MirrorSettings, catalog: Catalog
) -> tuple[str, str] | None:
    """Return the key of an experiment that does not fit the others, the mirror or the protocols, and what is wrong."""
    names: set[str] = set()
    for position, experiment in enumerate(experiments):
        found: tuple[str, str] | None = None
        if experiment.name in names:
            found = "name", f"two experiments are named {experiment.name}"
        elif problem := _protocol_problem(experiment, catalog):
            found = "protocol", problem
        elif experiment.content is not Content.OFF and experiment.protocol == RAW:
            found = "content", "protocol raw does not say where a text is"
        elif problem := _too_few_pairs(mirror, experiment):
            found = "time_box.pairs", problem
        elif problem := _textless(mirror, experiment, catalog):
            found = "tokenizer", problem
        else:
            found = _unmapped(experiment, catalog)
        if found:
            return f"experiments[{position}].{found[0]}", found[1]
        names.add(experiment.name)
    return None


def _protocol_problem(experiment: ExperimentSettings, catalog: Catalog) -> str:
    if experiment.protocol is not None:
        known = catalog.names
        return "" if experiment.protocol in known else f"{experiment.protocol!r} is none of {', '.join(known)}"
    # Of everything there may be, what can be read is read.
    for method, names in catalog.dialects.items():
        if any(matches(pattern, method) for pattern in experiment.methods if pattern != "*"):
            return f"{method} is spoken by several: say which of {', '.join(names)}, or {RAW}"
    return ""


def _unmapped(experiment: ExperimentSettings, catalog: Catalog) -> tuple[str, str] | None:
    """Return which key asks for what no map of the experiment's methods knows."""
    mapped = catalog.mapped_methods(experiment.protocol)
    if unknown := choice.misfit(experiment, mapped):
        return unknown
    for place, target in enumerate(experiment.targets):
        if found := misfit(experiment, target, mapped, catalog.mapped_methods):
            return f"targets[{place}].{found[0]}", found[1]
    return None


def _too_few_pairs(mirror: MirrorSettings, experiment: ExperimentSettings) -> str:
    """Return what is wrong with a number of pairs of which no engine would get one."""
    pairs = experiment.time_box.pairs if experiment.time_box is not None else None
    if pairs is None or share_of(pairs, mirror.part) >= 1:
        return ""
    return f"{pairs} pairs over every engine are less than one for each (mirror.budget, mirror.workers)"


def _textless(mirror: MirrorSettings, experiment: JudgedExperimentSettings, catalog: Catalog) -> str:
    """Return what is wrong where outputs are to be alike and none of them could ever have a text."""
    name, known = experiment.tokenizer, mirror.tokenizers
    if known and name is not None and name not in known:
        return f"{name!r} is none of mirror.tokenizers ({', '.join(known)})"
    if experiment.content is not Content.EVENTS or not experiment.criteria.similarity.enabled or name in known:
        return ""
    mapped = catalog.mapped_methods(experiment.protocol).items()
    covered = [
        one.response for method, one in mapped if any(matches(pattern, method) for pattern in experiment.methods)
    ]
    if not any("ids" in one for one in covered) or any("text" in one for one in covered):
        return ""
    return "answers here are token ids, which have a text by a tokenizer of mirror.tokenizers only"


def _wrong(key: str, problem: str) -> PydanticCustomError:
    """Return the error of a key that is wrong beside others; a validator of the whole has no place of its own."""
    return PydanticCustomError("inconsistent", "{problem}", {"problem": problem, "key": key})


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
    with named(source):
        loaded = strict_yaml.load(text)
    try:
        return Config.model_validate({} if loaded is None else loaded)
    except ValidationError as error:
        wrong = sorted(error.errors(include_url=False), key=is_known)
        first = wrong[0]
        problem = complaint(first, Config)
        secret = not _SECRETS.isdisjoint(first["loc"])
        if is_known(first) and not secret and not isinstance(first["input"], (dict, list, Config)):
            problem = f"{problem} (got {_shown(first['input'])!r})"
        # An element that is wrong makes its list "too short" as well.
        others = [one for one in wrong if first["loc"][: len(one["loc"])] != one["loc"]]
        if others:
            problem += f" (and {len(others)} more)"
        key = first.get("ctx", {}).get("key") or _key_path(first["loc"], loaded)
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


def plans(config: Config) -> tuple[Plan, ...]:
    """Return how the candidates that are in force are to be judged."""
    return tuple(
        Plan(
            experiment=one.name,
            criteria=one.criteria,
            config_digest=one.digest,
            candidates={target.name: target.digest for target in one.targets if target.kind is TargetKind.CANDIDATE},
            captured=guards.ALL if one.content is Content.EVENTS else frozenset(),
        )
        for one in in_force(config.experiments)
    )


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


def check_tokenizers(config: Config, *, source: str = "") -> None:
    """
    Check that tokenizers are there, and the package that reads them; the processor needs none.

    Raises:
        ConfigError: a file is missing, or the package is.
    """
    try:
        tokenizers.check(config.mirror.tokenizers)
    except ConfigError as error:
        raise ConfigError(error.problem, source=source, key=f"mirror.tokenizers.{error.key}") from error


def _shown(value: object) -> object:
    """Return a value as it may be repeated: an address without the password somebody has put into it."""
    from shadowmesh.telemetry.snapshot import without_secrets

    return without_secrets(value) if isinstance(value, str) else value


def _key_path(location: Sequence[str | int], inside: object) -> str:
    path, last = "", len(location) - 1
    for place, part in enumerate(location):
        if isinstance(inside, dict) and (place == last or part in inside):
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
            inside = inside.get(part)
        elif isinstance(inside, list) and isinstance(part, int):
            path += f"[{part}]"
            inside = inside[part]
        # Anything else is the name of one of several shapes, which nobody has written.
    return path
