"""The protocols ShadowMesh knows without being told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import ValidationError

from shadowmesh.catalog import strict_yaml
from shadowmesh.catalog.catalog import Catalog
from shadowmesh.errors import ConfigError, ProtocolMapError
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.protocol_map import MethodMap, bind
from shadowmesh.schema.descriptors import message_class
from shadowmesh.schema.inference import methods


@cache
def builtin() -> Catalog:
    """
    Return the built-in protocols.

    Raises:
        ProtocolMapError: a data file is broken.
    """
    classes = {method.full_name: (method.request, method.response) for method in methods().values()}
    protocols = {}
    for file in sorted(files("shadowmesh.catalog").joinpath("maps").iterdir(), key=lambda entry: entry.name):
        try:
            settings = ProtocolMapSettings.model_validate(strict_yaml.load(file.read_text(encoding="utf-8")))
        except (ConfigError, ValidationError) as error:
            raise ProtocolMapError(f"{file.name}: {error}") from error
        protocols[settings.protocol] = bind(settings, classes, message_class)
    return Catalog(protocols)


def method_map(method: str, protocol: str | None = None) -> MethodMap | None:
    """Return how the built-in ``protocol`` reads ``method``, see :meth:`Catalog.method_map`."""
    return builtin().method_map(method, protocol)


def mapped_methods(protocol: str | None = None) -> Mapping[str, MethodMap]:
    """Return the methods that have a map under the built-in ``protocol``, see :meth:`Catalog.mapped_methods`."""
    return builtin().mapped_methods(protocol)
