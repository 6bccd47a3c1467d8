"""Pairs into files, a page at a time: memory does not grow with what is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO, Any, Protocol

from shadowmesh.store.document import Dialect, document
from shadowmesh.store.reader import PairFilter, Reader

_SECOND_NS = 1_000_000_000


class PairFile(Protocol):
    """Takes documents in the order they are to stand in."""

    dialect: Dialect

    def write(self, documents: list[dict[str, Any]]) -> None:
        """Write some."""
        ...

    def finish(self) -> None:
        """Write what makes the file whole."""
        ...


def export(reader: Reader, wanted: PairFilter, file: PairFile, *, with_content: bool) -> int:
    """
    Write the pairs that pass to a file; return how many they were.

    Raises:
        StoreError: the store failed meanwhile, and the file is not whole.
    """
    written = 0
    for page in reader.pages(wanted):
        contents = reader.content(page) if with_content else None
        texts = reader.texts(page)
        file.write([document(stored, file.dialect, texts=texts, contents=contents) for stored in page])
        written += len(page)
    file.finish()
    return written


def rfc3339(at_ns: int) -> str:
    """Return a wall-clock time with all its nanoseconds, in UTC."""
    seconds, rest = divmod(at_ns, _SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class JsonLines:
    """One JSON object in a line, UTF-8."""

    dialect: Dialect

    def __init__(self, sink: IO[bytes]) -> None:
        self.dialect = Dialect(time=rfc3339, json=_parsed)
        self._sink = sink

    def write(self, documents: list[dict[str, Any]]) -> None:
        """Write a line for each."""
        self._sink.write("".join([f"{_line(document)}\n" for document in documents]).encode(errors="replace"))

    def finish(self) -> None:
        """Flush: a line is whole by itself."""
        self._sink.flush()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _line(document: dict[str, Any]) -> str:
    try:
        return _encode(document)
    except ValueError:
        # A number that is none: unknown.
        return _encode(json.loads(json.dumps(document), parse_constant=lambda _: None))


def _parsed(text: str) -> Any:
    """Return captured text as what it says; as text where somebody sent no JSON."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text
