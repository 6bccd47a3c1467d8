"""
How the messages of an answer become the answer: what a protocol says in pieces, twice, or all over again.

Engines differ in each of these, and guessing gives a wrong text or a wrong cost, so a map says which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from google.protobuf.message import Message
from pydantic import Field, field_validator, model_validator

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.sources import Source
from shadowmesh.settings import Settings

TextMode = Literal["delta", "cumulative", "replace"]
CountMode = Literal["last", "first", "sum", "max", "last_each", "max_each"]
_NO_INDICES: dict[int, int] = {}
COUNTED = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")


class InBandError(Settings):
    """A value at ``value`` says that an answer failed though its RPC ended with OK; the leg then has ``status``."""

    value: str
    status: Literal[
        "UNKNOWN", "INTERNAL", "UNAVAILABLE", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "ABORTED", "FAILED_PRECONDITION"
    ] = "UNKNOWN"


class StreamSettings(Settings):
    """
    How the messages of one answer go together.

    Args:
        text: each message's text goes on where the last one ended (``delta``), is all of it so far (``cumulative``), or
            takes the place of what was said (``replace``). Ids likewise.
        counts: by field, what several messages' counts come to: the ``last`` word, the ``first``, their ``sum`` or
            ``max``; with ``_each`` of each output, and then the sum of these.
        index: where a message says which of several outputs of one request it belongs to. Where it stands in a list,
            each element of that list belongs to the output it names, and the first to the first where it names none.
        batch: whether a message answers several prompts, or has several outputs of one, which nothing tells apart but
            their place in it.
        end: true in the message that ends an output.
        repeats: whether that message says again what the ones before it have said.
        first: whether the time to the first chunk is that of the first message, or of the first one with content.
        error: how an answer says that it failed.
    """

    text: TextMode = "delta"
    counts: dict[str, CountMode] = Field(default={})
    index: str | None = None
    batch: bool = False
    end: str | None = None
    repeats: bool = False
    first: Literal["message", "content"] = "message"
    error: InBandError | None = None

    @field_validator("counts")
    @classmethod
    def _counts(cls, counts: dict[str, CountMode]) -> dict[str, CountMode]:
        for name in counts:
            if name not in COUNTED:
                raise ValueError(f"{name} is none of {', '.join(COUNTED)}")
        return counts

    @model_validator(mode="after")
    def _one_way(self) -> StreamSettings:
        if self.batch and self.index is not None:
            raise ValueError("outputs are told apart by index or, in a batch, by their place: not by both")
        return self


class Pieces:
    """What one method's answers are put together by, compiled."""

    def __init__(
        self,
        settings: StreamSettings,
        content: Sequence[Source],
        compiled: Callable[[str], Source],
    ) -> None:
        """
        Compile what the settings name.

        Args:
            content: what counts as content: text, ids, reasoning, calls of tools.
            compiled: compiles a source for the answer's message.

        Raises:
            ProtocolMapError: a source is none of the answer's, or the index is no integer.
        """
        self.text = settings.text
        self.counts = settings.counts
        self.first_content = settings.first == "content"
        self.repeats = settings.repeats
        self.index = compiled(settings.index) if settings.index else None
        if self.index is not None and self.index.kind != "integer":
            raise ProtocolMapError(f"{settings.index!r} is {self.index.kind}, and no index")
        self._placed = settings.batch or (self.index is not None and self.index.repeats)
        self.several = settings.batch or self.index is not None
        """Whether an answer may have more than one output."""
        self.end = compiled(settings.end) if settings.end else None
        self.error = compiled(settings.error.value) if settings.error else None
        self.error_status = settings.error.status if settings.error else ""
        self._content = tuple(content)

    def says_something(self, answer: Message) -> bool:
        """Return whether an answer has content."""
        return any(_filled(source.find(answer)) for source in self._content)

    def failed(self, answer: Message) -> bool:
        """Return whether an answer says that it failed."""
        return self.error is not None and _filled(self.error.find(answer))

    def outputs(self, content: Source, answers: Iterable[Message]) -> dict[int, list[Any]]:
        """Return the values that ``content`` has over all answers: a list for each output, by its index."""
        if not self.several and self.text == "delta":
            return self._joined(content, answers)
        found: dict[int, list[Any]] = {}
        for answer in answers:
            for index, values in self.split(content, answer):
                if not _filled(values):
                    continue
                output = found.setdefault(index, [])
                if not output or self.text != "delta":
                    output[:] = values
                elif not self._repeated(answer):
                    output.extend(values)
        return found

    def _joined(self, content: Source, answers: Iterable[Message]) -> dict[int, list[Any]]:
        """What ``outputs`` returns of the only output of an answer whose pieces go on where the last one ended."""
        find, repeats = content.find, self.repeats
        output: list[Any] = []
        for answer in answers:
            values = find(answer)
            if values and _filled(values) and not (repeats and output and self._ends(answer)):
                output.extend(values)
        return {0: output} if output else {}

    def split(self, source: Source, answer: Message) -> Iterable[tuple[int, Sequence[Any]]]:
        """Return the values of each output that an answer has something of, with its index."""
        if not self._placed:
            values = source.find(answer)
            return ((self._index_of(answer), values),) if values else ()
        placed = source.placed(answer)
        if not placed:
            return ()
        indices = dict(self.index.placed(answer)) if self.index is not None else _NO_INDICES
        if placed[0][0] == placed[-1][0]:
            # Mostly there is one output.
            return ((indices.get(placed[0][0], placed[0][0]), [value for _, value in placed]),)
        found: dict[int, list[Any]] = {}
        for place, value in placed:
            found.setdefault(indices.get(place, place), []).append(value)
        return found.items()

    def count(self, name: str, source: Source, answers: Sequence[Message]) -> int | None:
        """Return what the counts at ``source`` come to, ``None`` where no answer has one."""
        mode, _, each = self.counts.get(name, "last").partition("_")
        counts: dict[int, int] = {}
        for answer in answers:
            values = source.find(answer)
            if not values:
                continue
            output = self._index_of(answer) if each or mode == "sum" else 0
            # A message may be the answer to several prompts.
            for value in [sum(values)] if mode == "sum" else values[-1:]:
                before = counts.get(output)
                if before is None or mode == "last":
                    counts[output] = value
                elif mode == "max":
                    counts[output] = max(before, value)
                elif mode == "sum" and not (before and self._repeated(answer)):
                    counts[output] = before + value
        return sum(counts.values()) if counts else None

    def _repeated(self, answer: Message) -> bool:
        """Return whether an answer that is not its output's first says nothing new."""
        return self.repeats and self._ends(answer)

    def _index_of(self, answer: Message) -> int:
        index = self.index.first(answer) if self.index is not None else None
        return index if isinstance(index, int) else 0

    def _ends(self, answer: Message) -> bool:
        return self.end is not None and bool(self.end.find(answer))


def _filled(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110  # a generator costs as much again, for every field of every message
        if value not in ("", b""):
            return True
    return False
