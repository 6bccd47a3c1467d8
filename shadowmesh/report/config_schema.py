"""The JSON Schema of the configuration file, for editors: every key with its type, its default and what it means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from shadowmesh.config import Config
from shadowmesh.settings import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ARGUMENT = re.compile(r"    (\w+): (.*)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_MARK = "Args:"


def config_schema() -> dict[str, Any]:
    """Return the schema; texts are those of the settings' docstrings."""
    schema = Config.model_json_schema()
    for model in _models(Settings):
        described = schema if model is Config else schema["$defs"].get(model.__name__)
        if described is not None:
            _describe(described, model)
    for one in ("TargetSettings", "LiveServerSettings", "ProtocolSettings"):
        tls = schema["$defs"][one]["properties"]["tls"]
        # One key that may be a switch as well; only its validator knows.
        tls["anyOf"], tls["default"] = [{"type": "boolean"}, {"$ref": tls.pop("$ref")}], False
    return {"$schema": _DIALECT, **schema, "title": "ShadowMesh configuration"}


def _models(model: type[Settings]) -> Iterator[type[Settings]]:
    for one in model.__subclasses__():
        if one.__module__.startswith("shadowmesh."):
            yield one
            yield from _models(one)


def _describe(schema: dict[str, Any], model: type[Settings]) -> None:
    schema["description"] = _plain(_parts(model)[0])
    # What is inherited is described where it is defined.
    lineage = [base for base in reversed(model.__mro__) if issubclass(base, Settings)]
    texts = {name: text for base in lineage for name, text in _arguments(_parts(base)[1])}
    for name, entry in schema["properties"].items():
        # What pydantic makes of a name says nothing the name does not.
        entry.pop("title", None)
        if name in texts:
            entry["description"] = texts[name]


def _parts(model: type) -> tuple[str, str]:
    """Return what a docstring says of the whole, and of its arguments."""
    text, _, arguments = inspect.cleandoc(model.__doc__ or "").partition(_MARK)
    return text, arguments


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in (*text.splitlines(), "    end: "):
        if match := _ARGUMENT.fullmatch(line):
            if name:
                yield name, _plain("\n".join(lines))
            name, lines = match[1], [match[2]]
        else:
            lines.append(line)


def _plain(text: str) -> str:
    """Return a docstring's text in one line, without its markup."""
    return " ".join(_ROLE.sub(r"\1", text).replace("``", "`").split())
