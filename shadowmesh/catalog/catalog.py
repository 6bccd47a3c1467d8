"""Which protocols there are, and how each of them reads which method."""

from __future__ import annotations

from collections.abc import Mapping

from shadowmesh.catalog.given import GivenProtocol
from shadowmesh.protocols.protocol_map import MethodMap

RAW = "raw"
"""The protocol of bytes without a map."""


class Catalog:
    """
    The built-in protocols and those that were given; never changed.

    Args:
        protocols: every protocol's maps, by full method name.
        given: what was added to the built-in ones; two catalogs with the same are equal.
    """

    def __init__(self, protocols: Mapping[str, Mapping[str, MethodMap]], given: tuple[GivenProtocol, ...] = ()) -> None:
        self.protocols = protocols
        self.given = given
        speakers: dict[str, list[str]] = {}
        for name, maps in protocols.items():
            for method in maps:
                speakers.setdefault(method, []).append(name)
        self.dialects = {method: tuple(names) for method, names in speakers.items() if len(names) > 1}
        """The protocols of every method that more than one has a map for."""
        self._unambiguous = {
            method: protocols[names[0]][method] for method, names in speakers.items() if len(names) == 1
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What ``protocol:`` may say: every protocol, and ``raw``."""
        return (*self.protocols, RAW)

    def method_map(self, method: str, protocol: str | None = None) -> MethodMap | None:
        """
        Return how ``method`` is read under ``protocol``, ``None`` for raw.

        Without a protocol it is the only one that has a map for the method. Where there are several, dialects of one
        another, nothing tells which is spoken, and a guess would be read as a fact.
        """
        return self.mapped_methods(protocol).get(method)

    def mapped_methods(self, protocol: str | None = None) -> Mapping[str, MethodMap]:
        """Return every method that has a map under ``protocol`` (``None``: under one alone), by full name."""
        return self._unambiguous if protocol is None else self.protocols.get(protocol, {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.given == other.given

    def __hash__(self) -> int:
        return hash(tuple(one.protocol for one in self.given))
