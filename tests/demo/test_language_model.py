from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.language_model import Finish, LanguageModel, Piece, Sampling

WEATHER = (
    ["the", "sun", "shines", "."],
    ["the", "sun", "sets", "."],
    ["the", "rain", "falls", "."],
    ["the", "rain", "stops", "."],
)


@pytest.fixture(scope="module")
def trigram() -> LanguageModel:
    return LanguageModel(corpus.training_texts(), order=3)


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(trigram: LanguageModel) -> None:
    prompt = corpus.sentences()[0]
    first, again, other = (list(trigram.generate(prompt, Sampling(seed=seed, max_tokens=40))) for seed in (7, 7, 8))
    assert first == again != other


def test_training_order_does_not_matter() -> None:
    backwards = LanguageModel(reversed(WEATHER), order=2)
    for seed in range(20):
        sampling = Sampling(seed=seed)
        assert list(backwards.generate("the", sampling)) == list(
            LanguageModel(WEATHER, order=2).generate("the", sampling)
        )


def test_words_follow_as_often_as_they_did_in_the_text() -> None:
    texts = (["a", "b"], ["a", "b"], ["a", "b"], ["a", "c"])
    model = LanguageModel(texts, order=2)
    drawn = Counter(next(model.generate("a", Sampling(max_tokens=1, seed=seed))).text.strip() for seed in range(2000))
    assert set(drawn) == {"b", "c"}
    # Three standard deviations of a binomial with p = 3/4.
    assert abs(drawn["b"] - 1500) < 3 * (2000 * 0.75 * 0.25) ** 0.5


def test_temperature_0_takes_the_most_frequent_and_low_ones_nearly_always_do() -> None:
    model = LanguageModel((["a", "b"], ["a", "b"], ["a", "c"]), order=2)
    for seed in range(50):
        for temperature in (0.0, 1e-3):
            sampling = Sampling(max_tokens=1, temperature=temperature, seed=seed)
            assert text_of(list(model.generate("a", sampling))) == " b"


@pytest.mark.parametrize("cut", [Sampling(top_k=1), Sampling(top_p=0.5)])
def test_top_k_and_top_p_cut_the_tail_off(cut: Sampling) -> None:
    model = LanguageModel((["a", "b"], ["a", "b"], ["a", "c"]), order=2)
    first = {next(model.generate("a", Sampling(top_k=cut.top_k, top_p=cut.top_p, seed=n))).text for n in range(50)}
    assert first == {" b"}


def test_a_higher_order_sees_further_back() -> None:
    texts = (
        ["red", "fish", "swim", "up"],
        ["red", "fish", "swim", "up"],
        ["blue", "fish", "swim", "down"],
    ) * 2
    bigram, trigram, fourgram = (LanguageModel(texts, order=order) for order in (2, 3, 4))
    blue = "blue fish swim"
    assert text_of(list(bigram.generate(blue, Sampling(temperature=0, max_tokens=1)))) == " up"
    assert text_of(list(trigram.generate(blue, Sampling(temperature=0, max_tokens=1)))) == " up"
    assert text_of(list(fourgram.generate(blue, Sampling(temperature=0, max_tokens=1)))) == " down"


def test_a_prompt_of_unknown_words_is_answered_all_the_same(trigram: LanguageModel) -> None:
    assert list(trigram.generate("zzzz qqqq", Sampling(max_tokens=5)))


def test_the_last_piece_and_only_the_last_says_why_it_ended(trigram: LanguageModel) -> None:
    finishes = Counter[Finish]()
    for seed, prompt in enumerate(corpus.sentences()[:200]):
        *before, last = trigram.generate(prompt, Sampling(max_tokens=32, temperature=0.8, top_k=40, seed=seed))
        assert all(piece.finish is None for piece in before)
        assert last.finish is not None
        assert [piece.output_tokens for piece in before] == list(range(1, len(before) + 1))
        assert last.output_tokens == len(corpus.tokens(text_of([*before, last])))
        if last.finish is Finish.LENGTH:
            assert last.output_tokens == 32
        finishes[last.finish] += 1
    # A comparison of finish reasons is worth making only if both happen.
    assert min(finishes[Finish.STOP], finishes[Finish.LENGTH]) > 20


def test_an_answer_has_at_least_one_token() -> None:
    model = LanguageModel([["a"]] * 9 + [["a", "b", "c"]], order=2)
    for seed in range(50):
        assert next(model.generate("a", Sampling(seed=seed))).output_tokens == 1


def test_a_stop_text_ends_the_answer_and_is_not_in_it() -> None:
    model = LanguageModel([["one", "two", "three", "four", "five"]] * 2, order=2)
    pieces = list(model.generate("one", Sampling(stop=("three f",))))
    assert text_of(pieces) == " two "
    assert pieces[-1] == Piece("", 3, Finish.STOP)


def test_text_held_back_for_a_stop_text_that_never_came_is_given_out() -> None:
    model = LanguageModel([["one", "two", "three"]] * 2, order=2)
    assert text_of(list(model.generate("one", Sampling(stop=("three!",))))) == " two three"
    assert text_of(list(model.generate("one", Sampling(stop=("three!",), max_tokens=2)))) == " two three"


@given(st.text("ab ", min_size=1, max_size=4), st.integers(0, 99))
def test_with_a_stop_text_the_answer_is_the_one_without_cut_there(stop: str, seed: int) -> None:
    model = LanguageModel([["a", "b", "a", "ab", "b"], ["b", "a"]], order=2)
    whole = text_of(list(model.generate("a", Sampling(seed=seed, max_tokens=12))))
    cut = text_of(list(model.generate("a", Sampling(seed=seed, max_tokens=12, stop=(stop,)))))
    assert cut == whole.partition(stop)[0]


def test_of_several_stop_texts_the_first_to_be_complete_ends_the_answer() -> None:
    model = LanguageModel([["one", "two", "three", "four"]] * 2, order=2)
    assert text_of(list(model.generate("one", Sampling(stop=("four", " two three", "two"))))) == " "


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"stop": ("",)},
    ],
)
def test_sampling_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_a_model_needs_text_and_an_order() -> None:
    with pytest.raises(ValueError, match="learn"):
        LanguageModel([], order=2)
    with pytest.raises(ValueError, match="order"):
        LanguageModel(WEATHER, order=0)
