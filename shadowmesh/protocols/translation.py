"""
A request of one protocol → the same question in another one; or why it is not sent.

What is asked goes over whole or not at all. A prompt goes where its form has a place: text to text, a conversation to a
conversation, and token ids to ids under one tokenizer. Nothing turns one into the other, because that takes a tokenizer
or a chat template, and another one than the live model's makes another question.

What a request leaves unsaid
----------------------------

``max_tokens``, ``temperature``, ``top_p`` and ``top_k`` that nobody states are something else to each engine: vLLM's
engine service takes a temperature of 1.0 and generates until the context is full, TensorRT-LLM wants to be told how
many tokens, hosted models have defaults of their own, and SGLang's scheduler takes the zero of proto3 at its word. So
what the configuration says of it (``defaults``) holds; else what the live map knows (``unset``, where the source of the
server or its proto says so); else, within one protocol, the same silence; else the request is refused. What is known is
said aloud unless the other server does the same in silence. Everything else that is not said does nothing anywhere:
penalties of 0 (or a repetition penalty of 1), one sequence, no minimum; a seed is the server's choice. At a temperature
of 0 the likeliest token is taken everywhere, and what else shapes sampling is neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from google.protobuf.message import Message

from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generate_read import read_generation
from shadowmesh.protocols.generate_write import write_generation
from shadowmesh.protocols.generation import (
    ALL,
    CONTEXT,
    DECISIVE,
    FORMS,
    PARAMETERS,
    SAMPLING,
    Generation,
    Refusal,
    Value,
)

UNSET = "unset"
"""A default that is left unsaid: both servers mean the same by it, which only their operator knows."""
_TOKENS = frozenset({"stop_token_ids"})
"""Parameters that are token ids."""


class Terms(NamedTuple):
    """
    What a translation is agreed on.

    Args:
        same_tokenizer: whether an id means the same on both sides.
        defaults: by parameter, what the live server does where a request does not say; or :data:`UNSET`.
        model: the model that is asked for, in place of the live one's.
    """

    same_tokenizer: bool = False
    defaults: Mapping[str, float | str] = {}
    model: str = ""


class Translator:
    """From the requests of one method to those of another one; the same bytes always give the same bytes."""

    def __init__(self, live: tuple[Generate, ...], target: Generate, terms: Terms) -> None:
        """
        Join two methods.

        Args:
            live: the ways to ask the live method, of which the first that reads a request whole is its own.
        """
        self._live = live
        self._target = target
        self._terms = terms

    def __call__(self, data: bytes, message: Message) -> bytes | Refusal:
        """
        Return the request as the target is sent it.

        Args:
            data: the live request.
            message: the same, parsed.
        """
        reasons: list[str] = []
        for live in self._live:
            asked = read_generation(live, data, message)
            if isinstance(asked, Generation):
                return self._written(live, asked)
            reasons.append(asked.reason)
        return Refusal("; or ".join(dict.fromkeys(reasons)))

    def _written(self, live: Generate, asked: Generation) -> bytes | Refusal:
        target, terms = self._target, self._terms
        refused = self._refused_prompt(asked)
        if refused is not None:
            return refused
        model = terms.model or asked.model
        if target.settings.needs_model and not model:
            return Refusal(f"the model is unstated, and {target.protocol} has to be told")
        parameters: dict[str, Value] = {}
        for name in PARAMETERS:
            value = self._value(live, asked, name)
            if isinstance(value, Refusal):
                return value
            if value is not None:
                parameters[name] = value
        return write_generation(target, asked, parameters, model)

    def _refused_prompt(self, asked: Generation) -> Refusal | None:
        if asked.form not in self._target.forms:
            return Refusal(f"no place for {FORMS[asked.form]} in {self._target.protocol}")
        tokens = asked.form == "ids" or bool(_TOKENS & asked.parameters.keys())
        if tokens and not self._terms.same_tokenizer:
            return Refusal("token ids mean the same under one tokenizer only, and none is stated")
        return None

    def _value(self, live: Generate, asked: Generation, name: str) -> Value | Refusal | None:
        """Return what is written for a parameter, ``None`` for nothing."""
        target, parameter = self._target, PARAMETERS[name]
        stated = asked.parameters.get(name)
        if stated is not None:
            if name == "top_k" and stated == ALL and live.settings.every is None:
                return Refusal(f"what a top_k below 1 means is not known of {live.protocol}")
            return self._said(name, stated)
        if parameter.shown:
            shown = absent(live, name)
            return None if shown is None or shown == absent(target, name) else self._said(name, shown)
        if name not in DECISIVE or (name in SAMPLING and self._is_greedy(live, asked)):
            return parameter.idle if name in target.settings.said else None
        return self._unstated(live, name)

    def _unstated(self, live: Generate, name: str) -> Value | Refusal | None:
        """Return what is written for a decisive parameter that the request leaves out."""
        target, meant = self._target, self._meant(live, name)
        if meant is None:
            unknown = Refusal(f"{name} is unstated, and what it is then is not known of both")
            return None if self._may_stay_unsaid(live, name) else unknown
        if name not in target.settings.said and meant == absent(target, name):
            return None
        if meant == CONTEXT:
            return Refusal(f"{name} is unstated, and {target.protocol} has to be told")
        return self._said(name, meant)

    def _said(self, name: str, value: Value) -> Value | Refusal | None:
        """Return the value where the target has a place for it, ``None`` where it loses nothing without."""
        if _can_say(self._target, name, value):
            return value
        lost = value != absent(self._target, name) and not PARAMETERS[name].shown
        return _no_place(self._target, name, value) if lost else None

    def _is_greedy(self, live: Generate, asked: Generation) -> bool:
        return asked.parameters.get("temperature", self._meant(live, "temperature")) == 0

    def _meant(self, live: Generate, name: str) -> Value | None:
        """Return what the absence of a decisive parameter means, ``None`` where it stays unsaid."""
        default = self._terms.defaults.get(name)
        if default is None:
            return absent(live, name)
        return None if default == UNSET else default

    def _may_stay_unsaid(self, live: Generate, name: str) -> bool:
        same = self._terms.defaults.get(name) == UNSET or live.protocol == self._target.protocol
        return same and name not in self._target.settings.said


def absent(generate: Generate, name: str) -> Value | None:
    """Return what the absence of a parameter means to a server, ``None`` where that is not known."""
    known = generate.settings.unset.get(name)
    if known is not None or name not in DECISIVE:
        return PARAMETERS[name].idle if known is None else known
    # Nobody can ask for it, so all tokens are kept.
    return ALL if name == "top_k" and name not in generate.parameters else None


def _can_say(target: Generate, name: str, value: Value) -> bool:
    place = target.parameters.get(name)
    if place is None:
        return False
    if name == "top_k" and value == ALL:
        return target.settings.every is not None
    return not _is_zero(value) or place.says_zero or _is_zero_unsaid(target, name)


def _is_zero(value: Value) -> bool:
    return value == 0 and not isinstance(value, bool)


def _is_zero_unsaid(target: Generate, name: str) -> bool:
    """Return whether the server takes a zero, which the wire leaves out, for one."""
    unsaid = absent(target, name)
    return unsaid == 0 or (unsaid is not None and name in target.settings.said)


def _no_place(target: Generate, name: str, value: Value) -> Refusal:
    what = f"a {name} of 0" if _is_zero(value) and name in target.parameters else name
    if name == "top_k" and value == ALL:
        what = "a top_k that keeps every token"
    return Refusal(f"no place for {what} in {target.protocol}")


def misfits(live: tuple[Generate, ...], target: Generate, terms: Terms) -> Iterator[tuple[str, str]]:
    """Yield, by the term that it concerns, why no request could ever be translated."""
    forms = frozenset(form for one in live for form in one.forms) & target.forms
    if not forms:
        asked = " or ".join(FORMS[form] for form in sorted({form for one in live for form in one.forms}))
        taken = " or ".join(FORMS[form] for form in sorted(target.forms))
        yield "protocol", f"its requests have {taken}, those of the live method {asked}: nothing turns one into another"
    elif forms == {"ids"} and not terms.same_tokenizer:
        yield "tokenizer", "token ids go over only under one tokenizer: state it here and as the experiment's tokenizer"
    for name, default in terms.defaults.items():
        if default == UNSET:
            if name in target.settings.said:
                yield f"defaults.{name}", f"{target.protocol} has to be told"
        elif not _can_say(target, name, default) and default != absent(target, name):
            yield f"defaults.{name}", _no_place(target, name, default).reason
    if target.settings.needs_model and not terms.model and not any(one.model for one in live):
        yield "model", f"{target.protocol} has to be told, and no request of the live method says a model"
