"""
Descriptors of somebody else's messages, as a ``FileDescriptorSet``, in a pool of their own.

Whatever they come from, what is kept is their bytes: these can be sent to another process, and a pool made of them
does not meet the stubs that a model server has in the default one.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from shadowmesh.errors import ProtocolMapError

_MOST_BYTES = 16 * 1024 * 1024
_WELL_KNOWN = "google/protobuf/"


def read_set(name: str | Path) -> bytes:
    """
    Return the ``FileDescriptorSet`` in a file.

    Raises:
        ProtocolMapError: it cannot be read, or is none.
    """
    try:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProtocolMapError(f"{name}: {error.strerror or 'cannot be read'}") from error
    if len(data) > _MOST_BYTES:
        raise ProtocolMapError(f"{name}: larger than 16 MiB")
    try:
        FileDescriptorSet.FromString(data)
    except DecodeError as error:
        raise ProtocolMapError(f"{name}: not a FileDescriptorSet") from error
    return data


def set_of_module(name: str) -> bytes:
    """
    Return the descriptors of a module that protoc has written, and of all it imports.

    Raises:
        ProtocolMapError: it cannot be imported, or has none.
    """
    try:
        descriptor = import_module(name).DESCRIPTOR
    except AttributeError as error:
        raise ProtocolMapError(f"{name}: no module that protoc has written") from error
    except Exception as error:  # a module may raise anything
        raise ProtocolMapError(f"{name}: {_said(error)}") from error
    files: dict[str, bytes] = {}
    try:
        _collect(descriptor, files)
    except (AttributeError, TypeError) as error:
        raise ProtocolMapError(f"{name}: no module that protoc has written") from error
    return set_of(files)


def set_of(files: dict[str, bytes]) -> bytes:
    """Return a ``FileDescriptorSet`` of serialized files."""
    return FileDescriptorSet(file=[FileDescriptorProto.FromString(data) for data in files.values()]).SerializeToString()


def pool_of(data: bytes) -> DescriptorPool:
    """
    Return a pool with every file of a ``FileDescriptorSet``.

    Google's own well-known types need not be in it.

    Raises:
        ProtocolMapError: a file is not in it that another one imports, or one is wrong.
    """
    try:
        files = {file.name: file for file in FileDescriptorSet.FromString(data).file}
    except DecodeError as error:
        raise ProtocolMapError("not a FileDescriptorSet") from error
    pool = DescriptorPool()
    added: set[str] = set()
    for name in list(files):
        _add(name, files, pool, added)
    return pool


def _add(first: str, files: dict[str, Any], pool: DescriptorPool, added: set[str]) -> None:
    """Add a file behind all that it imports; without recursion, because hostile ones import in long chains."""
    waiting = [first]
    inside: set[str] = set()
    while waiting:
        name = waiting[-1]
        if name in added:
            waiting.pop()
            continue
        file = files[name]
        missing = [one for one in file.dependency if one not in added]
        if not missing:
            _build(file, pool)
            added.add(waiting.pop())
            continue
        if name in inside:
            raise ProtocolMapError(f"{name!r} imports itself")
        inside.add(name)
        for one in missing:
            if one not in files:
                files[one] = _well_known(one, name)
            if one in inside:
                raise ProtocolMapError(f"{one!r} imports itself")
        waiting += missing


def _build(file: Any, pool: DescriptorPool) -> None:
    try:
        pool.AddSerializedFile(file.SerializeToString())
        # One implementation of protobuf looks into a file only when it is asked for.
        pool.FindFileByName(file.name)
    except (TypeError, KeyError, ValueError) as error:
        raise ProtocolMapError(f"{file.name!r}: {_said(error)}") from error


def _well_known(name: str, importer: str) -> Any:
    if name.startswith(_WELL_KNOWN) and name.removeprefix(_WELL_KNOWN).removesuffix(".proto").isidentifier():
        module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
        try:
            return FileDescriptorProto.FromString(import_module(module).DESCRIPTOR.serialized_pb)
        except ImportError:
            pass
    raise ProtocolMapError(f"{name!r}, which {importer!r} imports, is missing: protoc adds it with --include_imports")


def _collect(descriptor: Any, files: dict[str, bytes]) -> None:
    if descriptor.name not in files:
        files[descriptor.name] = descriptor.serialized_pb
        for one in descriptor.dependencies:
            _collect(one, files)


def _said(error: Exception) -> str:
    """Return what an error of somebody else's says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
