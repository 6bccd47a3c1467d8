"""A protocol that nobody but its user knows: the one of the tour of ``shadowmesh.protocols``, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import shadowmesh.protocols
from shadowmesh.catalog.descriptors import pool_of

protoc = pytest.importorskip("grpc_tools.protoc", reason="the compiler is a development dependency")

ASK = "/acme.Models/Ask"
_TOUR = shadowmesh.protocols.__doc__ or ""


def block(begin: str) -> str:
    """Return the example of the tour that begins so."""
    blocks = (dedent(found) for found in re.findall(r"::\n\n((?:    .*\n|\n)+)", _TOUR))
    (found,) = (one for one in blocks if one.startswith(begin))
    return found.strip() + "\n"


PROTO, MAP, CONFIG = block("syntax"), block("version: 1"), block("protocols:")


def written(folder: Path) -> Path:
    """Write the proto, its descriptors and the map, as the tour does; return the folder."""
    (folder / "acme.proto").write_text(PROTO)
    (folder / "acme.yaml").write_text(MAP)
    command = block("protoc ").split()
    assert protoc.main([command[0], f"-I{folder}", *command[1:3], str(folder / command[3]), command[4]]) == 0
    return folder


def message(folder: Path, name: str, **fields: Any) -> Message:
    """Return a message of the protocol, made of the descriptors in a folder."""
    pool = pool_of((folder / "acme.binpb").read_bytes())
    return GetMessageClass(pool.FindMessageTypeByName(f"acme.{name}"))(**fields)


def question(folder: Path) -> bytes:
    """Return a request."""
    return message(folder, "Question", model="m", prompt="hello", most=7).SerializeToString()


def pieces(folder: Path, *texts: str) -> list[bytes]:
    """Return an answer, which has read five tokens and says one more with every piece."""
    last = {"why_ended": "full", "usage": {"read": 5, "written": len(texts)}}
    return [
        message(folder, "Piece", text=text, **(last if place == len(texts) else {})).SerializeToString()
        for place, text in enumerate(texts, 1)
    ]
