"""
The catalog of a configuration: the built-in protocols, those that installed packages bring, and those of its own.

A package brings one by an entry point of the group ``shadowmesh.protocols``, whose name is the protocol's and whose
value is what an element of ``protocols`` would say (a dict), or returns that when it is called.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError, model_validator

from shadowmesh.catalog.builtin import builtin
from shadowmesh.catalog.catalog import RAW, Catalog
from shadowmesh.catalog.descriptors import read_set, set_of_module
from shadowmesh.catalog.given import GivenProtocol, read_map
from shadowmesh.catalog.reflection import Connect, Described, described_by
from shadowmesh.errors import ConfigError, ProtocolMapError
from shadowmesh.policy.credentials import NO_TLS, CredentialSettings, FileName, Tls, check_exposure
from shadowmesh.settings import Settings, TargetAddress

GROUP = "shadowmesh.protocols"


class ProtocolSettings(Settings):
    """
    A protocol of your own, known by the name its map gives it.

    Its messages are described by one of the three; by none where the map names messages of ShadowMesh's own schema.

    Args:
        file: the protocol map.
        descriptors: a file with a ``FileDescriptorSet``, as ``protoc --include_imports -o`` writes it.
        module: a module that protoc has written, which is imported.
        reflection: a gRPC server that describes its services; it is asked at the start.
        tls: whether and how to connect to it with TLS, as to a target.
        credentials: metadata entries that it is asked with, as a target is called with them.
    """

    file: FileName
    descriptors: FileName | None = None
    module: str | None = None
    reflection: TargetAddress | None = None
    tls: Tls = NO_TLS
    credentials: tuple[CredentialSettings, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> ProtocolSettings:
        if sum(one is not None for one in (self.descriptors, self.module, self.reflection)) > 1:
            raise ValueError("descriptors, module and reflection are one way each, and more than one is given")
        if self.reflection is None:
            if self.tls or self.credentials:
                raise ValueError("tls and credentials are for a server with reflection, and none is given")
            return self
        check_exposure(self.credentials, self.reflection, self.tls)
        return self


def configured(protocols: tuple[ProtocolSettings, ...], connect: Connect) -> Catalog:
    """
    Return the built-in protocols and the others.

    Args:
        connect: how servers are reached that describe themselves.

    Raises:
        ConfigError: a map or its descriptors cannot be used; names the key.
    """
    given = list(_brought(connect))
    for number, settings in enumerate(protocols):
        given.append((f"protocols[{number}]", _read(settings, f"protocols[{number}]", connect)))
    return _catalog(tuple(given))


def of_given(given: tuple[GivenProtocol, ...]) -> Catalog:
    """Return the catalog that another process has made, see :attr:`Catalog.given`."""
    return _catalog(tuple(("", one) for one in given))


def read_protocol(settings: ProtocolSettings, connect: Connect) -> GivenProtocol:
    """
    Return what ``settings`` name; see :func:`configured`.

    Raises:
        ConfigError: it cannot be read; names the key.
    """
    return _read(settings, "", connect)


def _catalog(given: tuple[tuple[str, GivenProtocol], ...]) -> Catalog:
    if not given:
        return builtin()
    protocols = dict(builtin().protocols)
    for place, one in given:
        key = _key(place, "file")
        if one.protocol in protocols or one.protocol == RAW:
            raise ConfigError(f"{one.origin}: a protocol {one.protocol!r} is there already", key=key)
        try:
            protocols[one.protocol] = one.bound()
        except ProtocolMapError as error:
            raise ConfigError(f"{one.origin}: {error}", key=key) from error
    return Catalog(protocols, tuple(one for _, one in given))


def _read(settings: ProtocolSettings, place: str, connect: Connect) -> GivenProtocol:
    key = "file"
    try:
        read = read_map(settings.file)
        data = b""
        if settings.descriptors is not None:
            key = "descriptors"
            data = read_set(settings.descriptors)
        elif settings.module is not None:
            key = "module"
            data = set_of_module(settings.module)
        elif settings.reflection is not None:
            key = "reflection"
            undescribed = [method for method, one in read.methods.items() if one.messages is None]
            undescribed += [method for method, one in read.aborts.items() if one.message is None]
            services = {method[1:].rpartition("/")[0] for method in undescribed}
            server = Described(settings.reflection, settings.tls, settings.credentials)
            data = described_by(server, tuple(sorted(services)), connect)
        found = GivenProtocol(origin=settings.file, map=read, descriptors=b64encode(data).decode())
        found.check_descriptors()
    except ProtocolMapError as error:
        raise ConfigError(str(error), key=_key(place, key)) from error
    except ConfigError as error:
        raise ConfigError(error.problem, key=_key(place, error.key)) from error
    return found


@cache
def _brought(connect: Connect) -> tuple[tuple[str, GivenProtocol], ...]:
    """Return what installed packages bring, read once in the life of a process."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        place = f"entry point {entry.name} of {GROUP}"
        try:
            value: Any = entry.load()
            settings = ProtocolSettings.model_validate(value() if callable(value) else value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{where}: {first['msg']}" if where else first["msg"], key=place) from error
        except Exception as error:  # a package may raise anything
            raise ConfigError(" ".join(f"{type(error).__name__}: {error}".split()), key=place) from error
        given = _read(settings, place, connect)
        if given.protocol != entry.name:
            raise ConfigError(f"{given.origin}: its protocol is {given.protocol!r}", key=place)
        found.append((place, given))
    return tuple(found)


def _key(place: str, key: str) -> str:
    return f"{place}.{key}" if place.startswith("protocols[") else place or key
