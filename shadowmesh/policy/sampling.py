"""
One hash position per exchange and experiment.

A target with rate ``r`` takes every exchange whose position is below ``r``, so rates nest: whatever the target of
1 % sees, the target of 10 % sees too, and a triple (live, candidate, control) shares its exchange. The position
depends on the experiment and the key only: equal in every replica and after a restart.

The key is drawn anew for each call, or is what calls that belong together share (a user, a conversation, a trace), so
that all of them are mirrored or none. It is hashed and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Tag

from shadowmesh.model import SESSION_BUCKETS, Metadata
from shadowmesh.names import META_TRACEPARENT
from shadowmesh.policy.conditions import metadata_key
from shadowmesh.policy.skew import Skew
from shadowmesh.settings import Settings

# As many bits as a float holds exactly: with more, the highest places would be rounded up to 1.
_BITS = 53
_SPAN = 1 << _BITS
# What distinguishes keys stands at their beginning; a field may hold a whole document.
_MOST_BYTES = 1024
_FIELD = re.compile(r"[A-Za-z_]\w*(\[\*\])?(\.[A-Za-z_]\w*(\[\*\])?)*")
# W3C: version, trace id, parent id, flags; later versions may append.
_TRACEPARENT_LENGTH = 55
_NO_TRACE = "0" * 32


class Purpose(Enum):
    """
    What a hash is for. Who is mirrored must not tell who gets the canary, and what says which calls are of one session,
    or ask the same, must tell neither, so each has a salt of its own.
    """

    MIRROR = b"shadowmesh:mirr"
    CANARY = b"shadowmesh:cana"
    SESSION = b"shadowmesh:sess"
    PROMPT = b"shadowmesh:prom"


class SamplingKey(Settings):
    """
    Where calls that belong together say so; one of the two.

    Args:
        metadata: a metadata key, ``-bin`` or not; not that of a credential. The first value counts.
        field: a path into the request, ``user`` or ``session.id``, as protocol maps write them. It is read at the
            mirror gate: every call that the experiment covers is tapped until its key is known, sampled or not.
    """

    metadata: str | None = None
    field: str | None = None


def _checked(by: Literal["call", "trace"] | SamplingKey) -> Literal["call", "trace"] | SamplingKey:
    if not isinstance(by, SamplingKey):
        return by
    if (by.metadata is None) == (by.field is None):
        raise ValueError("a sampling key is one of metadata and field")
    if by.field is not None and _FIELD.fullmatch(by.field) is None:
        raise ValueError(f"{by.field!r} is not a path such as session.id")
    return by if by.metadata is None else SamplingKey(metadata=metadata_key(by.metadata))


By: TypeAlias = Annotated[
    Annotated[Literal["call", "trace"], Tag("name")] | Annotated[SamplingKey, Tag("key")],
    # Without it a wrong key would be reported as a wrong name.
    Discriminator(lambda value: "name" if isinstance(value, str) else "key"),
    AfterValidator(_checked),
]


class SamplingSettings(Settings):
    """
    By what calls are sampled.

    Args:
        by: ``call``, each by itself; ``trace``, all calls of one trace alike (of ``traceparent``, whatever its sampled
            flag); or a key. A call without the key is sampled by itself, and counted.
    """

    by: By = "call"


def position(salt: bytes, key: bytes) -> float:
    """Return the place of ``key`` in [0, 1); ``salt`` (at most 64 bytes) keeps experiments independent."""
    return _number(salt, key) / _SPAN


def salt_of(experiment: str, purpose: Purpose = Purpose.MIRROR) -> bytes:
    """Return the salt of an experiment's sampling for one purpose."""
    return blake2b(experiment.encode(), digest_size=32, person=purpose.value).digest()


Key: TypeAlias = str | bytes | float | None
"""The value of a sampling key; ``None`` where a call has none."""


def session_bucket(experiment: str, key: Key) -> int | None:
    """
    Return which of :data:`~shadowmesh.model.SESSION_BUCKETS` a session with this key falls into; ``None`` without one.

    The same in every replica and after a restart. Eight bits of a salted hash tell nobody whose session it was.
    """
    raw = _bytes(key)
    return None if raw is None else _number(_session_salt(experiment), raw) % SESSION_BUCKETS


@lru_cache(maxsize=256)
def _session_salt(experiment: str) -> bytes:
    return salt_of(experiment, Purpose.SESSION)


class Sampler:
    """
    Gives each exchange of one experiment its position.

    Attributes:
        field: the path of the key where only the request has it: then the mirror gate decides, by ``place_of``.
        skew: how unevenly the keys come; nothing is noted where each call is sampled by itself.
    """

    __slots__ = ("_experiment", "_key", "_missing", "_salt", "field", "skew")

    def __init__(
        self, experiment: str, settings: SamplingSettings, *, missing: Callable[[], None] | None = None
    ) -> None:
        """
        Compile the settings.

        Args:
            missing: told of each call without the key; from any thread that samples.
        """
        by = settings.by
        self._experiment = experiment
        self._salt = salt_of(experiment)
        self._missing = missing
        self.skew = Skew()
        self.field = by.field if isinstance(by, SamplingKey) else None
        self._key = by.metadata if isinstance(by, SamplingKey) else META_TRACEPARENT if by == "trace" else None

    @property
    def keyed(self) -> bool:
        """Whether calls that share a key are sampled alike."""
        return self._key is not None or self.field is not None

    def place(self, metadata: Metadata, draw: Callable[[], bytes]) -> float:
        """
        Return a call's place in [0, 1), at the live gate.

        Where the request has the key, this is the place by chance: for what is shed before anybody reads the request.

        Args:
            draw: gives a key by chance, where the call has none.
        """
        return position(self._salt, draw()) if self._key is None else self.place_of(self._found(metadata), draw)

    def session(self, metadata: Metadata) -> int | None:
        """Return the bucket of the session that metadata say a call is of; ``None`` where they do not."""
        return None if self._key is None else session_bucket(self._experiment, self._found(metadata))

    def place_of(self, key: Key, draw: Callable[[], bytes]) -> float:
        """
        Return the place of whatever shares ``key``; by chance, and counted, where it is absent or empty.

        A text has the same place wherever it was read: as metadata, as a field, or as a number that is written so.
        """
        raw = _bytes(key)
        if raw is None:
            if self._missing is not None:
                self._missing()
            return position(self._salt, draw())
        number = _number(self._salt, raw)
        self.skew.note(number)
        return number / _SPAN

    def _found(self, metadata: Metadata) -> Key:
        wanted = self._key
        for key, value in metadata:
            if key == wanted:
                return _trace_id(value) if wanted == META_TRACEPARENT else value
        return None


def _bytes(key: Key) -> bytes | None:
    """Return what is hashed of a key, ``None`` where it is absent or empty."""
    if key is None or (not key and isinstance(key, str | bytes)):
        return None
    return (key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass"))[:_MOST_BYTES]


def _number(salt: bytes, key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8, key=salt).digest(), "big") >> (64 - _BITS)


def _trace_id(traceparent: str | bytes) -> str | None:
    """Return the trace id as it is written, ``None`` where the header is not one."""
    if not isinstance(traceparent, str) or len(traceparent) < _TRACEPARENT_LENGTH:
        return None
    trace_id = traceparent[3:35]
    return trace_id if traceparent[2] == traceparent[35] == "-" and trace_id != _NO_TRACE else None
