"""Paths to what can be changed on the wire: one value, or one list of messages."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Path


def single(text: str, descriptor: Descriptor) -> Path:
    """
    Return the path to one value.

    Raises:
        ProtocolMapError: there is no such field, it is one of many, a message, bytes, or inside a group.
    """
    path = Path(text, descriptor)
    if path.repeats or not path.plain:
        raise ProtocolMapError(f"{text!r} leads to several values, or to one of several")
    if path.kind in ("message", "bytes"):
        raise ProtocolMapError(f"{text!r} is {path.kind}, not a value that can be set")
    return not_grouped(path)


def texts(text: str, descriptor: Descriptor) -> Path:
    """
    Return the path to a text, which may be in several pieces: one list is allowed on the way.

    Raises:
        ProtocolMapError: there is no such field, it is no text, in lists of lists, or inside a group.
    """
    path = Path(text, descriptor)
    if not path.plain or path.kind != "text" or text.count("[*]") > 1:
        raise ProtocolMapError(f"{text!r} is neither one text nor a list of such")
    return not_grouped(path)


def listed(text: str, descriptor: Descriptor) -> Path:
    """
    Return the path to a list of messages.

    Raises:
        ProtocolMapError: there is no such field, it is no list or more than one, not of messages, or inside a group.
    """
    path = not_grouped(Path(text, descriptor))
    if not text.endswith("[*]") or text.count("[*]") > 1:
        raise ProtocolMapError(f"{text!r} is not one list")
    element(path)
    return path


def not_grouped(path: Path) -> Path:
    """Return the path; raises ``ProtocolMapError`` if it leads through a group, which has no length to correct."""
    if any(field.type == FieldDescriptor.TYPE_GROUP for field in path.fields):
        raise ProtocolMapError(f"{path.text!r} leads through a group, which is read but never changed")
    return path


def element(path: Path) -> Descriptor:
    """Return the message a path leads to."""
    inside: Any = path.fields[-1].message_type
    if inside is None:
        raise ProtocolMapError(f"{path.text!r} is {path.kind}, not a message")
    found: Descriptor = inside
    return found
