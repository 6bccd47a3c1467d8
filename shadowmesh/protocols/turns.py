"""A conversation in a request, as turns of text: read out of it, and written into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.generation import SPEAKERS, SYSTEM, Turn, UnfitError
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.places import Draft, FieldPlace, put
from shadowmesh.protocols.settable import element, listed
from shadowmesh.settings import Settings


class TurnPaths(Settings):
    """
    Where a request keeps a conversation: ``messages``, oldest first, inside one of them its ``role`` and its ``text``,
    which may be in parts (``content[*].text``).

    ``unsaid`` is the role of a message that says none. ``instructions`` is where a system prompt is that stands apart;
    the conversation has none then.
    """

    messages: str
    role: str
    text: str
    unsaid: str | None = None
    instructions: str | None = None


class Turns:
    """The paths of a conversation, compiled."""

    def __init__(self, paths: TurnPaths, request: Descriptor, roles: Mapping[str, str]) -> None:
        """
        Compile every path.

        Args:
            roles: what the conventions call the protocol's roles.

        Raises:
            ProtocolMapError: a path does not exist, or cannot be written.
        """
        self._messages = listed(paths.messages, request)
        inside = element(self._messages)
        self._role, self._text = Path(paths.role, inside), FieldPlace(paths.text, inside)
        self._text_path = Path(paths.text, inside)
        self._instructions = None if paths.instructions is None else Path(paths.instructions, request)
        self._unsaid = paths.unsaid
        self._roles = roles
        self._written = names_of_roles(roles)
        enum: Any = self._role.fields[-1].enum_type
        if enum is not None and not all(self._written[name] in enum.values_by_name for name in SPEAKERS):
            raise ProtocolMapError("roles does not say who system, user and assistant are")
        self.known = [self._messages.numbers + numbers for numbers in (self._role.numbers, self._text.known)]
        if self._instructions is not None:
            self.known.append(self._instructions.numbers)

    def read(self, message: Message) -> tuple[Turn, ...] | None:
        """
        Return the turns, ``None`` where there is no conversation.

        Raises:
            UnfitError: one of them is no plain text of a system, a user or an assistant.
        """
        turns = [self._turn(one) for one in self._messages.find(message)]
        texts = tuple(self._instructions.find(message)) if self._instructions is not None else ()
        if texts:
            turns.insert(0, Turn(SYSTEM, texts))
        return tuple(turns) or None

    def _turn(self, message: Any) -> Turn:
        said = str(self._role.first(message) or "") or self._unsaid or ""
        role, texts = self._roles.get(said, said), tuple(self._text.read(message))
        if role not in SPEAKERS:
            raise UnfitError("a turn of another role")
        if not texts or len(texts) < self._parts(message):
            raise UnfitError("a turn without text, or with more than text")
        return Turn(role, texts)

    def _parts(self, message: Any) -> int:
        """Return how many parts a message has, whatever is in them."""
        first = self._text_path.fields[0]
        return len(getattr(message, first.name)) if self._text_path.repeats else 1

    def write(self, draft: Draft, turns: Sequence[Turn]) -> None:
        """
        Write a conversation.

        Raises:
            UnfitError: the protocol has no place for one of the turns.
        """
        for at, turn in enumerate(turns):
            if turn.role == SYSTEM and self._instructions is not None:
                if at:
                    raise UnfitError("a system prompt that is not the first turn")
                put(draft.message, self._instructions.fields, turn.texts)
                continue
            if len(turn.texts) > 1 and not self._text_path.repeats:
                raise UnfitError("a turn in several parts")
            self._append(draft.message, turn)

    def _append(self, message: Any, turn: Turn) -> None:
        *outer, last = self._messages.fields
        for field in outer:
            message = getattr(message, field.name)
        one = getattr(message, last.name).add()
        put(one, self._role.fields, [self._written[turn.role]])
        put(one, self._text_path.fields, turn.texts)


def names_of_roles(roles: Mapping[str, str]) -> dict[str, str]:
    """Return what a protocol calls those who speak; who has no other name is called as the conventions do."""
    return {name: name for name in SPEAKERS} | {name: role for role, name in reversed(tuple(roles.items()))}
