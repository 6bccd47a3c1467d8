import re
import sys

import pytest

from shadowmesh.cli.demo import corpus
from shadowmesh.errors import StartError


def test_the_text_is_large_enough_to_learn_from() -> None:
    assert len(corpus.sentences()) > 1000
    assert sum(map(len, corpus.training_texts())) > 20_000


def test_sentences_are_whole_free_of_markup_and_unique() -> None:
    sentences = corpus.sentences()
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert sentence[0].isupper()
        assert sentence[-1] in ".!?"
        assert not re.search(r'[|*"=<>{}\[\]]|>>>|  ', sentence), sentence


def test_tokens_joined_again_are_the_sentence() -> None:
    text = "The name __class__ is in co_consts, isn't it?"
    assert "".join(map(corpus.spaced, corpus.tokens(text))).strip() == text


def test_every_token_of_the_training_text_is_a_word_or_a_mark() -> None:
    for text in corpus.training_texts():
        assert all(token.strip() == token and token for token in text)


def test_reading_twice_gives_the_same() -> None:
    first = corpus.passages()
    corpus.passages.cache_clear()
    assert corpus.passages() == first


def test_a_python_without_the_text_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    corpus.passages.cache_clear()
    with pytest.raises(StartError, match="pydoc_data"):
        corpus.passages()
