"""
Places in requests that are JSON in one field: keys of its object, ``stream_options.include_usage`` inside of another's,
and a conversation as the OpenAI API writes it.

``a | b`` is read where it says something first and written in the first. What is null, or empty, says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.generation import SPEAKERS, Turn, UnfitError
from shadowmesh.protocols.json_fields import json_field
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain
from shadowmesh.protocols.places import Draft, put
from shadowmesh.protocols.turns import TurnPaths, names_of_roles

_TEXT = "text"
_FORMS = {"text": str, "ids": int}


class Document:
    """The field; ``text`` is its path."""

    says_zero = True

    def __init__(self, text: str, request: Descriptor) -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: there is no such field, or it holds no JSON.
        """
        self.text = text
        self._path = json_field(text, request)
        self.known = self._path.numbers

    def read(self, message: Message) -> Sequence[Any]:
        """See :class:`~shadowmesh.protocols.places.Place`."""
        return list(self._path.find(message))

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """See :class:`~shadowmesh.protocols.places.Place`."""
        written = [value.encode() for value in values] if self._path.kind == "bytes" else values
        put(draft.message, self._path.fields, written)

    def object(self, message: Message) -> dict[str, Any]:
        """
        Return the object.

        Raises:
            UnfitError: there is none.
        """
        found = parsed(self._path.first(message) or b"")
        if not isinstance(found, dict):
            raise UnfitError("no object")
        return found

    def draft(self, draft: Draft) -> dict[str, Any]:
        """Return the object that is being written."""
        return draft.json.setdefault(self.text, (self, {}))[1]


class KeyPlace:
    """A value under a key; with a ``form`` that of a prompt, which is text or a list of token ids under one key."""

    says_zero = True

    def __init__(self, text: str, document: Document, *, form: str = "") -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: it leads through a list.
        """
        self.text = text
        self._document = document
        self._form = form
        self.known = document.known
        self._paths = [JsonPath(one.strip(), text) for one in text.split("|")]
        if not all(path.keys for path in self._paths):
            raise ProtocolMapError(f"{text!r} is no key of JSON, nor one of another's object")
        self.keys = frozenset(path.keys[0] for path in self._paths)
        self.holds_list = form == "ids"

    def read(self, message: Message) -> Sequence[Any]:
        """See :class:`~shadowmesh.protocols.places.Place`."""
        said = self._document.object(message)
        found = next((one for path in self._paths if _says(one := path.first(said))), None)
        values = [] if found is None else found if isinstance(found, list) else [found]
        if self._form:
            return self._prompt(found, values) if values else ()
        if values is found and not self.holds_list:
            raise UnfitError("several values")
        return values

    def _prompt(self, found: Any, values: list[Any]) -> Sequence[Any]:
        form = next((form for form, kind in _FORMS.items() if all(type(value) is kind for value in values)), None)
        if form is None or (form == "ids" and not isinstance(found, list)):
            raise UnfitError("there are several prompts, or one of another form")
        return values if form == self._form else ()

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """See :class:`~shadowmesh.protocols.places.Place`; the field itself is written by ``write_json``."""
        said = self._document.draft(draft)
        *outer, key = self._paths[0].keys
        for one in outer:
            said = said.setdefault(one, {})
        said[key] = list(values) if self.holds_list else values[0]


class JsonTurns:
    """A conversation under a key: messages of a role and a text, which may be a list of one part."""

    def __init__(self, paths: TurnPaths, document: Document, roles: Mapping[str, str]) -> None:
        """
        Compile every path; ``roles`` as in :class:`~shadowmesh.protocols.turns.Turns`.

        Raises:
            ProtocolMapError: one is no single key, or a system prompt stands apart.
        """
        keys = [JsonPath(one).key for one in (paths.messages, paths.role, paths.text)]
        if paths.instructions is not None or not all(keys):
            raise ProtocolMapError("turns in JSON are messages under one key, with a role and a text each")
        self.key, self._role, self._text = (key or "" for key in keys)
        self.known = [document.known]
        self._document = document
        self._unsaid = paths.unsaid
        self._roles = roles
        self._written = names_of_roles(roles)

    def read(self, message: Message) -> tuple[Turn, ...] | None:
        """See :class:`~shadowmesh.protocols.turns.Turns`."""
        found = self._document.object(message).get(self.key)
        if found is not None and not isinstance(found, list):
            raise UnfitError("a conversation of another form")
        return tuple(self._turn(one) for one in found or ()) or None

    def _turn(self, message: Any) -> Turn:
        if not isinstance(message, dict):
            raise UnfitError("a turn of another form")
        said = plain(message.get(self._role)) or self._unsaid or ""
        role = self._roles.get(said, said)
        if role not in SPEAKERS:
            raise UnfitError("a turn of another role")
        text = _one_text(message.get(self._text))
        if not text or any(_says(value) for key, value in message.items() if key not in (self._role, self._text)):
            raise UnfitError("a turn without text, or with more than text")
        return Turn(role, (text,))

    def write(self, draft: Draft, turns: Sequence[Turn]) -> None:
        """See :class:`~shadowmesh.protocols.turns.Turns`."""
        if any(len(turn.texts) > 1 for turn in turns):
            # What stands between two parts is the server's choice, or that of the model's template.
            raise UnfitError("a turn in several parts")
        self._document.draft(draft)[self.key] = [
            {self._role: self._written[turn.role], self._text: turn.texts[0]} for turn in turns
        ]


class DocumentKeys:
    """
    What is known of the keys of a document: those that are read or change nothing, and values at which others do.

    Args:
        read: keys that are.
        neutral: by key, or by the key of an object inside of it, the values at which it changes nothing.
    """

    def __init__(self, document: Document, read: Iterable[str], neutral: Mapping[str, Sequence[Any]]) -> None:
        self._document = document
        self._read = frozenset(read)
        self._neutral: dict[str, tuple[JsonPath, Sequence[Any]]] = {}
        for text, values in neutral.items():
            path = JsonPath(text)
            if not path.keys:
                raise ProtocolMapError(f"{text!r} is no key of JSON, nor one of another's object")
            self._neutral[path.keys[0]] = path, values

    def unread(self, message: Message) -> str | None:
        """
        Return what nobody would read, without a name that a sender chose; ``None`` where all is read.

        Raises:
            UnfitError: there is no object.
        """
        said = self._document.object(message)
        for key, value in said.items():
            if key in self._read or not _says(value):
                continue
            if key not in self._neutral:
                return f"another key in {self._document.text}"
            path, values = self._neutral[key]
            found = path.first(said)
            if isinstance(found, list | dict) or found not in values:
                return path.text
        return None


def _one_text(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        (part,) = value
        value = part.get(_TEXT) if part.keys() == {"type", _TEXT} and part["type"] == _TEXT else None
    elif isinstance(value, list) and len(value) > 1:
        raise UnfitError("a turn in several parts")
    return value if isinstance(value, str) else None


def _says(value: Any) -> bool:
    return value is not None and value not in ("", [], {})
