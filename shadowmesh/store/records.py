"""What goes into a store and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Comparison, Pair


class PairRecord(NamedTuple):
    """A pair at its end and what it showed."""

    pair: Pair
    comparison: Comparison


class Added(NamedTuple):
    """
    What became of the records of one call, in their order.

    ``new`` is whether it was newly stored by this processor: only then it may be counted. ``split`` are the positions
    of halves whose other half another processor had stored as a pair with one side missing; each is told at most once.
    """

    new: Sequence[bool]
    split: Sequence[int] = ()


class StoredPair(NamedTuple):
    """
    A pair as it was stored. ``number`` is its place in the order its writer stored rows in.

    The legs are equal to those that were stored but for ``parent_span_id``, which the trace knows.
    """

    id: int
    number: int
    dispatched_ns: int
    stored_ns: int
    record: PairRecord


class ComparedPair(NamedTuple):
    """A pair, what its captured texts show, and when that was stored."""

    stored: StoredPair
    texts: TextComparison
    stored_ns: int


class Checkpoint(NamedTuple):
    """
    From where a processor goes on: ``state`` is its own, and has in it every row up to ``number`` and everything of the
    journal before ``position``.
    """

    number: int
    position: int
    state: bytes


class Sampling(NamedTuple):
    """
    How calls were drawn for a target under one configuration: how many were ``eligible``, how many of them ``sampled``,
    and how many ``expected`` to be.
    """

    experiment: str
    target: str
    config_digest: str
    eligible: int = 0
    sampled: int = 0
    expected: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """
    Captured text of one leg; ``target`` is empty on the live side.

    ``instructions``, ``input`` and ``output`` are JSON: lists of parts and of messages as the GenAI conventions have
    them; ``None`` is "not captured". ``truncated`` names those that do not say all there was.
    """

    experiment: str
    pair_id: str
    role: str
    target: str = ""
    instructions: str | None = None
    input: str | None = None
    output: str | None = None
    truncated: tuple[str, ...] = ()
