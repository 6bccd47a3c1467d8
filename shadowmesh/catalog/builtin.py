"""The protocols ShadowMesh knows without being told."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.protocol_map import MethodMap, ProtocolMapSettings, bind
from shadowmesh.schema.inference import methods

RAW = "raw"


def protocol_names() -> tuple[str, ...]:
    """Return what ``protocol:`` may say: the built-in protocols, and ``raw`` for bytes without a map."""
    return (*_load(), RAW)


def method_map(method: str, protocol: str | None = None) -> MethodMap | None:
    """Return how ``method`` is read under ``protocol`` (``None``: whichever has a map), ``None`` for raw."""
    for name, maps in _load().items():
        if protocol in (None, name) and method in maps:
            return maps[method]
    return None


def mapped_methods(protocol: str | None = None) -> dict[str, MethodMap]:
    """Return every method that has a map under ``protocol`` (``None``: under any), by full name."""
    found: dict[str, MethodMap] = {}
    for name, maps in _load().items():
        if protocol in (None, name):
            found = maps | found
    return found


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
        protocols[settings.protocol] = bind(settings, classes)
    return protocols
