"""What a similarity does not see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.compare import guards
from shadowmesh.compare.similarity import Lexical

TEXTS = st.text(st.sampled_from("no t5.,-{}[]\"'`\n0١é’"), max_size=60) | st.text(max_size=30)
ALIKE = Lexical()
ALONE = {guards.REFUSAL, guards.JSON, guards.FENCE, guards.LENGTH}
BESIDE_LIVE = {guards.NUMBERS, guards.NEGATION, guards.SCRIPT}

TRUTH = [
    ("Take 5 mg of it twice a day.", "Take 50 mg of it twice a day.", {"numbers"}),
    ("It costs 100 EUR.", "It costs 1000 EUR.", {"numbers"}),
    ("It costs 1,000.50 EUR.", "It costs 1000.5 EUR.", set()),
    ("The limit is 5 degrees.", "The limit is -5 degrees.", {"numbers"}),
    ("The order can be cancelled.", "The order cannot be cancelled.", {"negation"}),
    ("It isn't safe.", "It isn’t safe.", set()),
    ("A patient with no history of diabetes.", "A patient with a history of diabetes.", {"negation"}),
    ("Die Bestellung ist stornierbar.", "Die Bestellung ist nicht stornierbar.", {"negation"}),
    ("The capital of Japan is Tokyo.", "日本の首都は東京です。", {"script"}),
    ("Here is how to do that.", "I'm sorry, but I can't help with that.", {"refusal", "negation"}),
    ("Here is how to do that.", "Dabei kann ich leider nicht helfen.", {"refusal", "negation"}),
    ('{"a": 1}', '{"a": 1', {"json"}),
    ('{"a": 1}', 'Sure! {"a": 1}', {"json"}),
    ('{"a": 1}', '```json\n{"a": 1}\n```', set()),
    ("```\nx = 1\n```", "```\nx = 1\n", {"fence"}),
]
# Nothing a guard looks at, but other words, or in another order.
LEFT_TO_SIMILARITY = [("The capital is Paris.", "The capital is Lyon."), ("dog bit man", "man bit dog")]


def flagged(live: str, shadow: str) -> set[str]:
    return {name for name, (of_live, of_shadow) in guards.guards(live, shadow).items() if of_shadow and not of_live}


@pytest.mark.parametrize(("live", "shadow", "caught"), TRUTH)
def test_small_changes_that_change_everything_are_caught(live: str, shadow: str, caught: set[str]) -> None:
    assert flagged(live, shadow) == caught


@pytest.mark.parametrize(("live", "shadow"), LEFT_TO_SIMILARITY)
def test_what_no_guard_sees_the_similarity_does(live: str, shadow: str) -> None:
    assert flagged(live, shadow) == set()
    assert ALIKE(live, shadow) <= 0.8


@given(TEXTS, TEXTS)
def test_whatever_the_texts_are_the_guards_answer(live: str, shadow: str) -> None:
    flags = guards.guards(live, shadow)
    assert flags.keys() <= ALONE | BESIDE_LIVE
    assert {name for name, (of_live, _) in flags.items() if of_live is None} <= BESIDE_LIVE


@given(TEXTS)
def test_a_text_beside_itself_is_never_worse(text: str) -> None:
    flags = guards.guards(text, text)
    assert all(of_live == of_shadow if of_live is not None else not of_shadow for of_live, of_shadow in flags.values())


@given(TEXTS, TEXTS)
def test_swapping_the_two_swaps_what_is_said_of_them(one: str, other: str) -> None:
    there, back = guards.guards(one, other), guards.guards(other, one)
    assert there.keys() == back.keys()
    for name, (of_live, of_shadow) in there.items():
        assert back[name] == ((of_shadow, of_live) if name in ALONE else (None, of_shadow))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,000.50", ["1000.5"]),
        ("1.234.567,5", ["1234567.5"]),
        ("007 and 7", ["7", "7"]),
        ("from -5 to (−3)", ["-5", "-3"]),
        ("2019-2020, COVID-19", ["2019", "2020", "19"]),
        ("٣", ["3"]),
        ("-0.0", ["0"]),
        ("no numbers, not even two", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, found: list[str]) -> None:
    assert sorted(guards.numbers(text).elements()) == sorted(found)


def test_a_number_of_any_length_is_read() -> None:
    assert guards.numbers("9" * 10_000) == {"9" * 10_000: 1}
    assert guards.is_json(f"[{'9' * 10_000}, 1e999]")


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("[]", True),
        (' {"a": [1, 2.5, null]} ', True),
        ('```json\n{"a": 1}\n```', True),
        ("{'a': 1}", False),
        ("[NaN]", False),
        ("42", False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_an_object_or_a_list_and_nothing_else(text: str, valid: bool) -> None:
    assert guards.is_json(text) is valid


def test_of_two_texts_that_are_no_json_nothing_is_said_about_it() -> None:
    assert "json" not in guards.guards("yes", "no")
    assert "fence" not in guards.guards("yes", "no")
    assert "script" not in guards.guards("yes", "42")


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("text", None),
        ("```\na\n```", True),
        ("```python\na\n```\nand\n~~~\nb\n~~~~\n", True),
        ("````\n```\n````", True),
        ("```\na", False),
        ("```\na\n~~~", False),
        ("inline ```a``` is none", None),
    ],
)
def test_code_fences_are_closed_by_their_like(text: str, closed: bool | None) -> None:
    assert guards.fences_of(text) is closed


def test_a_refusal_is_one_at_the_beginning_only() -> None:
    assert guards.is_refusal("I’m unable to do that.")
    assert guards.is_refusal("As an AI language model, I cannot have opinions.")
    assert not guards.is_refusal("They said: " + "x" * 400 + " I'm sorry, but I can't help.")
    assert not guards.is_refusal("I can help with that, and I will not stop you.")


@pytest.mark.parametrize(
    ("live", "shadow", "flags"),
    [
        (("stop",), ("length",), {"length": (False, True)}),
        (("MAX_TOKENS",), ("stop",), {"length": (True, False)}),
        ((), ("length",), {}),
        (("stop",), (), {}),
    ],
)
def test_an_answer_that_was_cut_short_says_so_by_its_finish_reason(
    live: tuple[str, ...], shadow: tuple[str, ...], flags: guards.Flags
) -> None:
    assert guards.length(live, shadow) == flags
