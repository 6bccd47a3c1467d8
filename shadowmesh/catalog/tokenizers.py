"""
Tokenizers, which make text of token ids, for protocols that carry nothing else.

A tokenizer is known by a name: of two models with the same name the ids mean the same. One with a ``file`` can also be
asked what they mean; the file is the ``tokenizer.json`` beside a model's weights, read by the package ``tokenizers``
(the extra of this name). Nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shadowmesh.errors import ConfigError
from shadowmesh.protocols.content import TextOf


def load(files: Mapping[str, str]) -> dict[str, TextOf]:
    """
    Return tokenizers by name, each read once in the life of a process: a large vocabulary takes a second.

    Args:
        files: where each one is.

    Raises:
        ConfigError: a file is missing or is no tokenizer, or the package is not there; the key is the name.
    """
    return {name: _checked(name, file) for name, file in files.items()}


def check(files: Mapping[str, str]) -> None:
    """
    See whether :func:`load` could find what it needs, without reading it.

    Raises:
        ConfigError: a file is missing, or the package is; the key is the name.
    """
    for name, file in files.items():
        if not Path(file).is_file():
            raise ConfigError(f"{file}: no such file", key=name)
        if find_spec("tokenizers") is None:
            raise ConfigError("needs the package tokenizers: pip install 'shadowmesh[tokenizers]'", key=name)


def _checked(name: str, file: str) -> TextOf:
    check({name: file})
    try:
        return _loaded(file)
    except Exception as error:  # the package raises nothing narrower
        raise ConfigError(f"{file}: {' '.join(str(error).split())[:200]}", key=name) from error


@cache
def _loaded(file: str) -> TextOf:
    from tokenizers import Tokenizer

    return _TextOfr(Tokenizer.from_file(file))


class _TextOfr:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # Not a range: vocabularies have holes.
        self._ids = frozenset(tokenizer.get_vocab(with_added_tokens=True).values())

    def __call__(self, ids: Sequence[int]) -> str | None:
        # The package leaves out what it does not know, and half a text would be compared as if it were whole.
        if not self._ids.issuperset(ids):
            return None
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text
