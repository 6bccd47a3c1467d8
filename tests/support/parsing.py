"""A method's map that counts what is parsed by it."""

from __future__ import annotations

from typing import Any, cast

from shadowmesh.protocols.protocol_map import MethodMap


class Counted:
    """Stands for a map: ``parsed`` are the bytes that were parsed, in order."""

    def __init__(self, method_map: MethodMap) -> None:
        self.parsed: list[bytes] = []
        self._map = method_map

    def __getattr__(self, name: str) -> Any:
        return getattr(self._map, name)

    @property
    def as_map(self) -> MethodMap:
        """Itself, as what it stands for."""
        return cast("MethodMap", self)

    def parse_request(self, data: bytes) -> Any:
        self.parsed.append(data)
        return self._map.parse_request(data)

    def parse_response(self, data: bytes) -> Any:
        self.parsed.append(data)
        return self._map.parse_response(data)
