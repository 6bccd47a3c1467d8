"""
What a request to generate asks, in no protocol's words: what a translator reads out of one and writes into another.

Numbers are as a caller would write them: a 32-bit float is its shortest decimal, 0.7 and not 0.699999988.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Value = bool | int | float | str | tuple[str, ...] | tuple[int, ...]
ParameterKind = Literal["integer", "number", "bool", "texts", "integers"]
LISTS: frozenset[ParameterKind] = frozenset({"texts", "integers"})
"""The kinds of parameters that have several values."""
CONTEXT = "context"
"""``max_tokens`` that nobody has stated, where that means as much as the model's context has room for."""
ALL = 0
"""``top_k`` that keeps every token, whatever a protocol writes for that."""


class Parameter(NamedTuple):
    """
    One parameter: its kind, and ``idle``, what it is where it changes nothing; ``None`` where it always does something.

    What is ``shown`` only decides how an answer is written down, so where a protocol has no place for it nothing is
    lost but a token that both engines have seen.
    """

    kind: ParameterKind
    idle: Value | None = None
    shown: bool = False


PARAMETERS: Mapping[str, Parameter] = {
    "max_tokens": Parameter("integer"),
    "temperature": Parameter("number"),
    "top_p": Parameter("number", 1.0),
    "top_k": Parameter("integer", ALL),
    "min_p": Parameter("number", 0.0),
    "seed": Parameter("integer"),
    "n": Parameter("integer", 1),
    "stop_sequences": Parameter("texts", ()),
    "stop_token_ids": Parameter("integers", ()),
    "min_tokens": Parameter("integer", 0),
    "ignore_eos": Parameter("bool", False),
    "frequency_penalty": Parameter("number", 0.0),
    "presence_penalty": Parameter("number", 0.0),
    "repetition_penalty": Parameter("number", 1.0),
    "keep_stop_token": Parameter("bool", None, shown=True),
}
"""Every parameter that is translated."""
DECISIVE = ("max_tokens", "temperature", "top_p", "top_k")
"""
Those whose absence means another number to each engine, or to each model. The absence of any other one is its idle
value everywhere, and that of a seed a seed of the server's choice.
"""
SAMPLING = ("top_p", "top_k", "min_p", "seed")
"""Those that change nothing at a temperature of 0, at which the likeliest token is taken."""


SYSTEM = "system"
SPEAKERS = frozenset({SYSTEM, "user", "assistant"})
"""Whose turns are text and nothing more; a tool's answers to a call that only one protocol may be able to write."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation: ``role`` as the GenAI conventions call it, and its parts of text."""

    role: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """
    One request to generate. Of ``text``, ``ids`` and ``turns`` exactly one is there: what is to be continued, its
    tokens, or a conversation, whose system prompt is its first turn.

    ``parameters`` are those that it states; ``model`` is empty where it names none, ``stream`` whether the answer is to
    come in pieces.
    """

    text: str | None = None
    ids: tuple[int, ...] | None = None
    turns: tuple[Turn, ...] | None = None
    model: str = ""
    stream: bool = False
    parameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def form(self) -> str:
        """What it asks with: ``text``, ``ids`` or ``turns``."""
        return "text" if self.text is not None else "ids" if self.ids is not None else "turns"


FORMS = {"text": "a prompt of text", "ids": "token ids", "turns": "a conversation"}
"""What the forms of a prompt are called to a reader."""


class UnfitError(ValueError):
    """What cannot be read or written, in words that name fields and never what stands in them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request cannot be translated: names of fields and parameters, never what stands in them."""

    reason: str
