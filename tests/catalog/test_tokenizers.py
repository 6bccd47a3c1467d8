"""Tokenizers are files at hand: what cannot be used is refused at the start, and no id is made up or left out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from support.tokenizer import WORDS, tokenizer_file

from shadowmesh.catalog import tokenizers
from shadowmesh.errors import ConfigError
from shadowmesh.protocols.content import TextOf

packaged = pytest.mark.skipif(find_spec("tokenizers") is None, reason="comes with the extra tokenizers")


def loaded(file: Path) -> TextOf:
    return tokenizers.load({"words": str(file)})["words"]


@packaged
def test_ids_become_the_text_they_stand_for(tmp_path: Path) -> None:
    text = loaded(tokenizer_file(tmp_path))
    assert text([WORDS["the"], WORDS["cat"]]) == "the cat"
    assert text([]) == ""


@packaged
def test_what_only_steers_a_model_is_no_text(tmp_path: Path) -> None:
    text = loaded(tokenizer_file(tmp_path))
    assert text([WORDS["<s>"], WORDS["cat"], WORDS["</s>"]]) == "cat"


@packaged
@pytest.mark.parametrize("other", [99, -1, 1 << 40])
def test_an_id_that_is_no_token_leaves_the_text_unknown(tmp_path: Path, other: int) -> None:
    text = loaded(tokenizer_file(tmp_path))
    assert text([WORDS["cat"], other]) is None


def test_a_file_that_is_missing_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^words: .*gone\.json: no such file$"):
        loaded(tmp_path / "gone.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": 5}'])
def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        loaded(file)
    assert refused.value.key == "words"
    assert "\n" not in str(refused.value)
