"""
Methods by which a client ends calls of its own: it names their ids, and need not reset their streams.

Such a method is no exchange and is never mirrored as it came: the ids in it are those of live requests, which no shadow
has. What a shadow's server is asked is made anew, of ids alone: a field that would end more than these does not travel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message
from pydantic import Field

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.protocols.settable import not_grouped
from shadowmesh.settings import Settings

# Of one request; who sends more ids at once is not one client that has left.
_MOST_IDS = 1024


class AbortSettings(Settings):
    """
    One method that ends others.

    Args:
        message: its request by full name, where its own service is not in the schema.
        ids: where that names the requests: the path of a text, or of a list of them.
        of: the methods whose requests it ends, each with an ``identity``.
    """

    message: str | None = None
    ids: str
    of: Annotated[tuple[str, ...], Field(min_length=1)]


class Abort:
    """An :class:`AbortSettings`, compiled; ``method`` is its full name."""

    def __init__(self, method: str, settings: AbortSettings, request: type[Message]) -> None:
        """
        Compile.

        Raises:
            ProtocolMapError: the request has no such text.
        """
        path = not_grouped(Path(settings.ids, descriptor_of(request)))
        if path.kind != "text" or not path.plain or path.repeats != settings.ids.endswith("[*]"):
            raise ProtocolMapError(f"{settings.ids!r} is neither a text nor one list of them")
        self.method = method
        self.text = settings.ids
        self._request_class = request
        self._path = path

    def ids(self, data: bytes) -> Sequence[str]:
        """Return the ids that a request names; none where the bytes are no request."""
        message = self.parse(data)
        return () if message is None else tuple(dict.fromkeys(self._path.find(message)))[:_MOST_IDS]

    def parse(self, data: bytes) -> Message | None:
        """Return the request, ``None`` where the bytes are none."""
        try:
            return self._request_class.FromString(data)
        except ProtobufDecodeError:
            return None

    def request(self, own: str) -> bytes:
        """Return the request that names ``own`` and nothing else."""
        *outer, last = self._path.numbers
        data = wire.field(last, own.encode())
        for number in reversed(outer):
            data = wire.field(number, data)
        return data


def bind_abort(
    method: str,
    settings: AbortSettings,
    requests: Mapping[str, type[Message]],
    named: Callable[[str], type[Message]] | None,
) -> Abort:
    """
    Return the method, bound to the class of its request.

    Args:
        requests: the classes of methods that name none.
        named: returns the class of a message by its full name, or raises ``KeyError``.

    Raises:
        ProtocolMapError: there is no such message, or it has no such text.
    """
    try:
        request = requests[method] if settings.message is None or named is None else named(settings.message)
    except KeyError as error:
        raise ProtocolMapError(f"no message {error}") from error
    return Abort(method, settings, request)
