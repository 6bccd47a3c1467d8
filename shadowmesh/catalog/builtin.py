"""The protocols ShadowMesh knows without being told."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from shadowmesh.catalog.catalog import Catalog
from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.protocol_map import MethodMap, ProtocolMapSettings, bind
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
            settings = ProtocolMapSettings.model_validate(yaml.safe_load(file.read_text()))
        except (yaml.YAMLError, ValidationError) as error:
            raise ProtocolMapError(f"{file.name}: {error}") from error
        protocols[settings.protocol] = bind(settings, classes, message_class)
    return Catalog(protocols)


def method_map(method: str, protocol: str | None = None) -> MethodMap | None:
    """Return how the built-in ``protocol`` reads ``method``, see :meth:`Catalog.method_map`."""
    return builtin().method_map(method, protocol)
