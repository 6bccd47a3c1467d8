"""What was said in one exchange, each message parsed once, whatever is read of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, ClassVar

from google.protobuf.message import Message

from shadowmesh.protocols.protocol_map import MethodMap

_Parse = Callable[[bytes], Message | None]
_UNREAD: Any = object()


class _Messages:
    """
    The messages of one side, in order: ``data`` as it was sent; parsed as soon as somebody reads it, and kept.

    A parsed message takes half a kilobyte beside its bytes: whoever holds one of these lets it go with its exchange.
    """

    __slots__ = ("_parse", "_parsed", "_some", "data", "method_map")
    _parser: ClassVar[attrgetter[_Parse]]

    def __init__(self, method_map: MethodMap | None, data: Sequence[bytes]) -> None:
        self.method_map = method_map
        self.data = data
        self._parse = _nothing if method_map is None else self._parser(method_map)
        self._parsed: list[Message | None] = [_UNREAD] * len(data)
        self._some: list[Message] | None = None

    def at(self, place: int) -> Message | None:
        """Return the message at a place, ``None`` where its bytes are none, or nobody knows what they are."""
        found = self._parsed[place]
        if found is _UNREAD:
            found = self._parsed[place] = self._parse(self.data[place])
        return found

    def backwards(self) -> Iterator[Message | None]:
        """Return what ``at`` returns from the last place to the first: mostly the last message says the most."""
        return map(self.at, range(len(self.data) - 1, -1, -1))

    @property
    def some(self) -> Sequence[Message]:
        """Those whose bytes are messages, in order."""
        some = self._some
        if some is None:
            some = self._some = [one for one in map(self.at, range(len(self.data))) if one is not None]
        return some

    @property
    def whole(self) -> bool:
        """Whether the bytes of each are a message."""
        return len(self.some) == len(self.data)

    @property
    def unbroken(self) -> Sequence[Message]:
        """Those up to the first that is none: what follows would seem to stand where it does not."""
        return self.some if self.whole else self.some[: self._parsed.index(None)]


class Requests(_Messages):
    """What a backend was sent in one exchange."""

    __slots__ = ()
    _parser = attrgetter("parse_request")


class Answer(_Messages):
    """What a backend answered in one exchange; nothing, where nobody kept it."""

    __slots__ = ()
    _parser = attrgetter("parse_response")


def _nothing(_: bytes) -> None:
    return None
