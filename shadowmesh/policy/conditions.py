"""
Which calls of its methods an experiment wants: conditions on metadata and on the requested model.

Those on metadata are decided at the live gate, before a byte of the request is read. The model stands in the request,
so a condition on it is decided at the mirror gate; until then the call is tapped like one that is mirrored.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Annotated, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from shadowmesh.model import Metadata
from shadowmesh.policy.headers import refuse_secret
from shadowmesh.settings import Settings

_KEY = re.compile(r"[0-9a-z_.-]{1,128}")
_BINARY = "-bin"

ModelPattern = Annotated[str, Field(pattern=r"^[^*]+\*?$", max_length=256)]
"""A model's name, or the beginning of one followed by ``*``."""


def metadata_key(key: str) -> str:
    """
    Return ``key`` as gRPC delivers it, which is in lower case (RFC 9113, 8.2).

    Raises:
        ValueError: it is no metadata key, or it is that of a credential: those are for the server to read, not for us.
    """
    lowered = key.lower()
    if _KEY.fullmatch(lowered) is None:
        raise ValueError(f"{key!r} is not a metadata key")
    refuse_secret(lowered)
    return lowered


class MetadataCondition(Settings):
    """
    What one metadata key must say. Of a key that a call bears several times, one value that does is enough.

    Args:
        key: any case; not that of a credential.
        equals: the whole value. For a key that ends in ``-bin``, its bytes in base64.
        prefix: how the value begins; in base64 likewise.
        present: whether the key is there at all, with whatever value.
    """

    key: str
    equals: str | None = None
    prefix: str | None = None
    present: bool | None = None

    @field_validator("key")
    @classmethod
    def _lower(cls, key: str) -> str:
        return metadata_key(key)

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(rule is not None for rule in (self.equals, self.prefix, self.present)) != 1:
            raise ValueError("a condition says one of equals, prefix and present")
        if self.prefix == "":
            raise ValueError("every value begins with an empty prefix: say present")
        _ = self.value
        return self

    @property
    def value(self) -> bytes:
        """The bytes to be met; none where only presence counts."""
        text = self.prefix if self.equals is None else self.equals
        if text is None:
            return b""
        if self.key.endswith(_BINARY):
            try:
                # gRPC leaves the padding out as often as not.
                return b64decode(text + "=" * (-len(text) % 4), validate=True)
            except (Base64Error, ValueError) as error:
                raise ValueError(f"{text!r} is not base64, in which the values of {self.key} are written") from error
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"{text!r} can never be met: metadata is printable ASCII")
        return text.encode()


class WhenSettings(Settings):
    """
    Which of the calls that its methods cover an experiment takes; all conditions must hold.

    Args:
        metadata: conditions on metadata.
        models: names of requested models, exact or the beginning of one followed by ``*``; one must match. A request
            that names no model, or whose protocol is not known, does not. Of a stream the first message decides.
    """

    metadata: tuple[MetadataCondition, ...] = ()
    models: tuple[ModelPattern, ...] = ()


class _Rule(NamedTuple):
    """One condition, compiled. ``bit`` is its place in the sum of those met; 0 where the key must be absent."""

    bit: int
    value: bytes
    whole: bool


class Conditions:
    """Conditions compiled for the gates."""

    __slots__ = ("_all", "_exact", "_prefixes", "_rules", "reads_model")

    def __init__(self, settings: WhenSettings) -> None:
        rules: dict[str, list[_Rule]] = {}
        wanted = 0
        for place, one in enumerate(settings.metadata):
            bit = 0 if one.present is False else 1 << place
            wanted |= bit
            rules.setdefault(one.key, []).append(_Rule(bit, one.value, one.equals is not None))
        self._rules = rules
        self._all = wanted
        self._exact = frozenset(model for model in settings.models if not model.endswith("*"))
        self._prefixes = tuple(model[:-1] for model in settings.models if model.endswith("*"))
        self.reads_model = bool(settings.models)

    @property
    def reads_metadata(self) -> bool:
        """Whether anything is asked of metadata."""
        return bool(self._rules)

    def hold(self, metadata: Metadata) -> bool:
        """Return whether what is asked of metadata holds: one pass, whatever the number of conditions."""
        rules, met = self._rules, 0
        for key, value in metadata:
            if key in rules:
                raw = value.encode() if isinstance(value, str) else value
                for bit, wanted, whole in rules[key]:
                    if not bit:
                        return False
                    if raw == wanted if whole else raw.startswith(wanted):
                        met |= bit
        return met == self._all

    def hold_model(self, model: str | None) -> bool:
        """Return whether the requested model is wanted; ``None``, which nobody knows, is not where any is named."""
        if not self.reads_model:
            return True
        return model is not None and (model in self._exact or model.startswith(self._prefixes))


ALWAYS = Conditions(WhenSettings())
"""Asks nothing."""
