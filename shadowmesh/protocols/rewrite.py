"""
Changes of a request on its way to a shadow: bytes in, bytes out, and every byte that no change is about survives.

The changes are compiled against one method's request message, so that a path that is wrong is refused before any call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from shadowmesh.errors import DecodeError
from shadowmesh.protocols.conversation_edits import system_prompt, tool_rule
from shadowmesh.protocols.edits import Edit, removal_at, setting_at
from shadowmesh.protocols.protocol_map import MethodMap


class Rewrite:
    """
    What is changed in every request message of one method for one target.

    The same message always gives the same bytes, so what was sent can be found out again later.
    """

    def __init__(
        self,
        method_map: MethodMap,
        *,
        values: Mapping[str, Any] | None = None,
        removed: Sequence[str] = (),
        system: str | None = None,
        replaces: bool = False,
        stubs: Mapping[str, str] | None = None,
    ) -> None:
        """
        Compile the changes.

        Args:
            values: new values by place: the path of a field, or ``json(…)``.
            removed: places that are left out.
            system: the system prompt, before the one there is or (``replaces``) in its place.
            stubs: answers by name of tool: the other tools are left out, and so are all if there are none. ``None``
                leaves tools alone.

        Raises:
            ProtocolMapError: a path does not exist in the request or cannot be set to this value, or the map does not
                say where the system prompt or the tools are.
        """
        self._parse = method_map.parse_request
        self._edits: list[Edit] = []
        if stubs is not None:
            self._edits.append(tool_rule(method_map.parts, dict(stubs)))
        if system is not None:
            self._edits.append(system_prompt(method_map.parts, system, replaces=replaces))
        for text in removed:
            self._edits.append(removal_at(text, method_map.request_descriptor))
        for text, value in (values or {}).items():
            self._edits.append(setting_at(text, method_map.request_descriptor, value))

    def __call__(self, data: bytes) -> bytes:
        """
        Return the message as it is sent.

        Raises:
            DecodeError: the bytes are not the method's request.
        """
        message = self._parse(data)
        if message is None:
            raise DecodeError("a request that does not parse cannot be changed")
        return self.apply(data, message)

    def apply(self, data: bytes, message: Message) -> bytes:
        """Do the same where the message is parsed already."""
        for edit in self._edits:
            data = edit(data, message)
        return data
