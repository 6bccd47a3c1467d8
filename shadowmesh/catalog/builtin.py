"""The protocols ShadowMesh knows without being told."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.protocol_map import MethodMap, ProtocolMapSettings, bind
from shadowmesh.schema.descriptors import message_class
from shadowmesh.schema.inference import methods

RAW = "raw"


def protocol_names() -> tuple[str, ...]:
    """Return what ``protocol:`` may say: the built-in protocols, and ``raw`` for bytes without a map."""
    return (*_load(), RAW)


def method_map(method: str, protocol: str | None = None) -> MethodMap | None:
    """
    Return how ``method`` is read under ``protocol``, ``None`` for raw.

    Without a protocol it is the only one that has a map for the method. Where there are several, dialects of one
    another, nothing tells which is spoken, and a guess would be read as a fact.
    """
    if protocol is not None:
        return _load().get(protocol, {}).get(method)
    return _unambiguous().get(method)


def mapped_methods(protocol: str | None = None) -> dict[str, MethodMap]:
    """Return every method that has a map under ``protocol`` (``None``: under one alone), by full name."""
    return dict(_unambiguous() if protocol is None else _load().get(protocol, {}))


@cache
def dialects() -> dict[str, tuple[str, ...]]:
    """Return the protocols of every method that more than one has a map for."""
    speakers: dict[str, list[str]] = {}
    for name, maps in _load().items():
        for method in maps:
            speakers.setdefault(method, []).append(name)
    return {method: tuple(names) for method, names in speakers.items() if len(names) > 1}


@cache
def _unambiguous() -> dict[str, MethodMap]:
    several = dialects()
    return {method: found for maps in _load().values() for method, found in maps.items() if method not in several}


@cache
def _load() -> dict[str, dict[str, MethodMap]]:
    """
    Return every built-in protocol's maps by full method name.

    Raises:
        ProtocolMapError: a data file is broken.
    """
    classes = {method.full_name: (method.request, method.response) for method in methods().values()}
    protocols = {}
    for file in sorted(files("shadowmesh.catalog").joinpath("maps").iterdir(), key=lambda entry: entry.name):
        try:
            settings = ProtocolMapSettings.model_validate(yaml.safe_load(file.read_text()))
        except (yaml.YAMLError, ValidationError) as error:
            raise ProtocolMapError(f"{file.name}: {error}") from error
        protocols[settings.protocol] = bind(settings, classes, message_class)
    return protocols
