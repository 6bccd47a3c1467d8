"""
A word-level n-gram language model: small, and as honest a generator as a large one.

It learns how often each word follows each context of up to ``order - 1`` words, and generates by sampling the
next word given the longest context it has seen often enough. Nothing here waits or reads a clock: how fast a
model is belongs to the server that runs it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, chain
from typing import NamedTuple

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.stop_texts import StopTexts

_END = ""
"""The token that ends a text; no word is empty."""

_SEEN_ENOUGH = 2
"""A context seen once has one continuation: following it would recite the text instead of generating."""


class Finish(StrEnum):
    """Why generation ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw from the model: temperature 0 is greedy, ``None`` cuts nothing off."""

    max_tokens: int = 64
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for wrong, problem in (
            (self.max_tokens < 1, "max_tokens must be at least 1"),
            (not 0 <= self.temperature <= 100, "temperature must be between 0 and 100"),
            (self.top_k is not None and self.top_k < 1, "top_k must be at least 1"),
            (self.top_p is not None and not 0 < self.top_p <= 1, "top_p must be above 0 and at most 1"),
            ("" in self.stop, "a stop text must not be empty"),
        ):
            if wrong:
                raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token adds: its text (empty while a stop text may come of it) and the tokens so far."""

    text: str
    output_tokens: int
    finish: Finish | None = None


class LanguageModel:
    """An n-gram model of whole texts; it is not changed after training, so calls may share it."""

    def __init__(self, texts: Iterable[Sequence[str]], *, order: int) -> None:
        """
        Learn from token sequences; an ``order`` of 2 looks at one word back, of 3 at two.

        Raises:
            ValueError: the order is below 1 or there is nothing to learn from.
        """
        if order < 1:
            raise ValueError("order must be at least 1")
        self.order = order
        counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in texts:
            for at, token in enumerate(chain(text, (_END,))):
                for width in range(min(order - 1, at) + 1):
                    counts[tuple(text[at - width : at])][token] += 1
        if counts[()].keys() <= {_END}:
            raise ValueError("there is no text to learn from")
        self._next = {context: _Ranked.of(seen) for context, seen in counts.items()}

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        """Continue the prompt, one piece per token; only the last piece has a finish."""
        history, stop = corpus.tokens(prompt), StopTexts(sampling.stop)
        generator = random.Random(sampling.seed)
        for made in range(1, sampling.max_tokens + 1):
            # An answer has at least one token: an end right away would leave nothing to time or to compare.
            token = self._draw(history, sampling, generator, may_end=made > 1)
            if token == _END:
                yield Piece(stop.rest(), made - 1, Finish.STOP)
                return
            history.append(token)
            text, met = stop.feed(corpus.spaced(token))
            if met:
                yield Piece(text, made, Finish.STOP)
                return
            if made == sampling.max_tokens:
                yield Piece(text + stop.rest(), made, Finish.LENGTH)
            else:
                yield Piece(text, made)

    def _draw(self, history: list[str], sampling: Sampling, generator: random.Random, *, may_end: bool) -> str:
        tokens, counts = self._continuations(history, may_end=may_end)
        if sampling.temperature == 0:
            return tokens[0]
        tokens, counts = tokens[: sampling.top_k], counts[: sampling.top_k]
        # Relative to the most frequent, so that a small temperature cannot overflow.
        weights = [(count / counts[0]) ** (1 / sampling.temperature) for count in counts]
        if sampling.top_p is not None:
            enough = sampling.top_p * sum(weights)
            weights = [
                weight
                for weight, before in zip(weights, accumulate(weights, initial=0.0), strict=False)
                if before < enough
            ]
        return generator.choices(tokens[: len(weights)], weights)[0]

    def _continuations(self, history: list[str], *, may_end: bool) -> _Ranked:
        for width in range(min(self.order - 1, len(history)), 0, -1):
            ranked = self._next.get(tuple(history[-width:]), _NOTHING)
            if not may_end:
                ranked = ranked.without(_END)
            if sum(ranked.counts) >= _SEEN_ENOUGH:
                return ranked
        return self._next[()] if may_end else self._next[()].without(_END)


class _Ranked(NamedTuple):
    """What may follow a context, most frequent first; ties go by name, whatever came first in the text."""

    tokens: list[str]
    counts: list[int]

    @classmethod
    def of(cls, seen: Mapping[str, int]) -> _Ranked:
        ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
        return cls([token for token, _ in ranked], [count for _, count in ranked])

    def without(self, unwanted: str) -> _Ranked:
        return _Ranked.of({token: count for token, count in zip(*self, strict=True) if token != unwanted})


_NOTHING = _Ranked([], [])
