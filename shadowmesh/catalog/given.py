"""
A protocol that was given beside the built-in ones: its map, and the descriptors of its messages.

It is read once, where the configuration is. What is kept is its content, because a worker process has to know the same.
"""

from __future__ import annotations

import re
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import NoReturn

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import ValidationError

from shadowmesh.catalog import strict_yaml
from shadowmesh.catalog.descriptors import pool_of
from shadowmesh.errors import ConfigError, ProtocolMapError
from shadowmesh.policy.headers import is_credential
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.protocol_map import Classes, MethodMap, bind
from shadowmesh.schema.descriptors import message_class
from shadowmesh.settings import Settings, complaint, is_known

_MOST_BYTES = 1024 * 1024
_METHOD = re.compile(r"/[\w.]+/\w+")


class GivenProtocol(Settings):
    """
    One protocol.

    Args:
        origin: the file it was read from.
        map: what that said.
        descriptors: a ``FileDescriptorSet`` in base64; empty where its messages are views of our own schema.
    """

    origin: str
    map: ProtocolMapSettings
    descriptors: str = ""

    @property
    def protocol(self) -> str:
        """What it is called."""
        return self.map.protocol

    def check_descriptors(self) -> None:
        """
        See whether the descriptors can be used at all.

        Raises:
            ProtocolMapError: they cannot.
        """
        self._pool()

    def bound(self) -> dict[str, MethodMap]:
        """
        Return the maps of its methods.

        Raises:
            ProtocolMapError: a method or a message is not described, or a path is not one of its message's.
        """
        named = (*self.map.methods, *self.map.aborts)
        for method in named:
            if not _METHOD.fullmatch(method):
                raise ProtocolMapError(f"{self.protocol}: {method!r} is no full name such as /package.Service/Method")
        pool = self._pool()
        classes = {method: found for method in named if (found := _classes(pool, method)) is not None}
        try:
            maps = bind(self.map, classes, partial(_message, pool))
        except RecursionError as error:
            raise ProtocolMapError(f"{self.protocol}: a path is nested without end") from error
        for method, one in maps.items():
            if secret := next(filter(is_credential, sorted(one.metadata_keys)), None):
                # What is read becomes a field of a span.
                raise ProtocolMapError(f"{self.protocol}: {method}: {secret!r} is a credential and is never read")
        return maps

    def _pool(self) -> DescriptorPool:
        return pool_of(b64decode(self.descriptors))


def _classes(pool: DescriptorPool, method: str) -> Classes | None:
    service, _, name = method[1:].rpartition("/")
    try:
        found = pool.FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return None
    return GetMessageClass(found.input_type), GetMessageClass(found.output_type)


def _message(pool: DescriptorPool, full_name: str) -> type[Message]:
    try:
        return GetMessageClass(pool.FindMessageTypeByName(full_name))
    except KeyError:
        return message_class(full_name)


def read_map(file: str | Path) -> ProtocolMapSettings:
    """
    Return the protocol map in a file.

    Raises:
        ProtocolMapError: it cannot be read, is not YAML, or a key in it is wrong; its text is one line.
    """
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProtocolMapError(f"{file}: {error.strerror or 'cannot be read'}") from error
    if len(data) > _MOST_BYTES:
        raise ProtocolMapError(f"{file}: larger than 1 MiB")
    try:
        return ProtocolMapSettings.model_validate(strict_yaml.load(data.decode()))
    except UnicodeDecodeError as error:
        raise ProtocolMapError(f"{file}: not UTF-8 text") from error
    except ConfigError as error:
        raise ProtocolMapError(f"{file}: {error}") from error
    except ValidationError as error:
        _refuse(file, error)


def _refuse(file: str | Path, error: ValidationError) -> NoReturn:
    first, *others = sorted(error.errors(include_url=False, include_input=False), key=is_known)
    where = ".".join(str(part) for part in first["loc"])
    problem = complaint(first, ProtocolMapSettings)
    more = f" (and {len(others)} more)" if others else ""
    said = ": ".join(part for part in (str(file), where, problem) if part)
    raise ProtocolMapError(" ".join(said.split())[:500] + more) from error
