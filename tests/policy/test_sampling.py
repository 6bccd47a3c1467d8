"""One place per exchange and experiment: uniform, nested, stable, independent."""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left
from functools import cache
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.model import SESSION_BUCKETS, Metadata
from shadowmesh.policy.sampling import Purpose, Sampler, SamplingSettings, position, salt_of, session_bucket

MANY = 1_000_000
SALT = salt_of("summaries")


@cache
def places(experiment: str, count: int = MANY) -> list[float]:
    salt = salt_of(experiment)
    return [position(salt, number.to_bytes(8, "big")) for number in range(count)]


@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_the_sampled_share_is_the_rate_within_five_standard_deviations(rate: float) -> None:
    sampled = sum(place < rate for place in places("summaries"))
    assert abs(sampled - MANY * rate) <= 5 * sqrt(MANY * rate * (1 - rate))


def test_every_thousandth_of_the_range_gets_its_share() -> None:
    ordered = sorted(places("summaries"))
    edges = [bisect_left(ordered, number / 1000) for number in range(1001)]
    shares = [after - before for before, after in pairwise(edges)]
    # Chi-square with 999 degrees of freedom: mean 999, deviation 45.
    assert sum((share - 1000) ** 2 / 1000 for share in shares) < 999 + 5 * 45


def test_experiments_sample_independently() -> None:
    first, second = places("summaries"), places("translations")
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(first, second, strict=True))
    assert abs(both - MANY * 0.01) <= 5 * sqrt(MANY * 0.01 * 0.99)


@given(st.binary(max_size=32), st.floats(0, 1), st.floats(0, 1))
def test_whatever_a_lower_rate_takes_a_higher_rate_takes_too(key: bytes, one: float, other: float) -> None:
    place = position(SALT, key)
    assert 0.0 <= place < 1.0
    assert (place < min(one, other)) <= (place < max(one, other))


GOLDEN = {
    b"": 0.7918318843140694,
    b"shadowmesh": 0.22160083188862767,
    bytes(8): 0.3322912902536692,
    b"\xff" * 16: 0.30414865559517446,
}


def test_places_are_the_same_in_every_replica_and_release() -> None:
    assert {key: position(SALT, key) for key in GOLDEN} == GOLDEN


def test_another_process_with_another_hash_seed_gets_the_same_places() -> None:
    code = (
        "from shadowmesh.policy.sampling import position, salt_of; "
        "print([position(salt_of('summaries'), n.to_bytes(8, 'big')) for n in range(100)])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "12345"}
    ).stdout
    assert printed.strip() == str(places("summaries")[:100])


@given(st.text(), st.text())
def test_salts_fit_the_hash_and_differ_between_experiments(one: str, other: str) -> None:
    assert len(salt_of(one)) <= 64
    assert (salt_of(one) == salt_of(other)) == (one == other)


CANARY = {b"": 0.912506710566124, b"shadowmesh": 0.15873259912164817, b"\xff" * 16: 0.35352048950115256}


def test_the_canary_has_places_of_its_own_that_are_the_same_in_every_replica_too() -> None:
    salt = salt_of("summaries", Purpose.CANARY)
    assert {key: position(salt, key) for key in CANARY} == CANARY


def test_who_is_mirrored_does_not_tell_who_gets_the_canary() -> None:
    count = 100_000
    salt = salt_of("summaries", Purpose.CANARY)
    canary = [position(salt, number.to_bytes(8, "big")) for number in range(count)]
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(places("summaries")[:count], canary, strict=True))
    assert abs(both - count * 0.01) <= 5 * sqrt(count * 0.01 * 0.99)


class Chance:
    """Gives keys by chance, and counts how often a call was without one."""

    def __init__(self) -> None:
        self.drawn = 0
        self.missed = 0

    def draw(self) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(8, "big")

    def missing(self) -> None:
        self.missed += 1


def sampler(by: Any, chance: Chance | None = None) -> Sampler:
    settings = SamplingSettings.model_validate({"by": by})
    return Sampler("summaries", settings, missing=(chance or Chance()).missing)


TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_by_default_each_call_is_sampled_by_itself_and_no_key_is_missed() -> None:
    chance = Chance()
    one = sampler("call", chance)
    assert SamplingSettings() == SamplingSettings(by="call")
    assert [one.place((("x-user", "u"),), chance.draw) for _ in range(3)] == [
        position(SALT, number.to_bytes(8, "big")) for number in (1, 2, 3)
    ]
    assert (chance.missed, one.field) == (0, None)


STICKY: dict[str, tuple[Any, Metadata, bytes]] = {
    "metadata": ({"metadata": "X-User"}, (("te", "trailers"), ("x-user", "ada"), ("x-user", "bob")), b"ada"),
    "binary": ({"metadata": "x-user-bin"}, (("x-user-bin", b"\x00\xff"),), b"\x00\xff"),
    "trace": ("trace", (("traceparent", TRACEPARENT),), TRACE.encode()),
}


@pytest.mark.parametrize("kind", STICKY)
def test_calls_that_share_a_key_share_their_place_and_nothing_is_left_to_chance(kind: str) -> None:
    by, metadata, key = STICKY[kind]
    chance = Chance()
    one = sampler(by, chance)
    assert {one.place(metadata, chance.draw) for _ in range(3)} == {position(SALT, key)}
    assert (chance.drawn, chance.missed) == (0, 0)


GOLDEN_KEYS = {
    "ada": 0.15299784113927084,
    "user-42": 0.06881555501857606,
    "Zoë": 0.05496064220654795,
    TRACE: 0.6990663880842327,
}


@pytest.mark.parametrize("key", GOLDEN_KEYS)
def test_the_place_of_a_key_is_the_same_in_every_replica_after_every_restart_and_wherever_it_was_read(key: str) -> None:
    chance = Chance()
    assert sampler({"field": "user"}).place_of(key, chance.draw) == GOLDEN_KEYS[key]
    assert sampler({"metadata": "x-user"}).place((("x-user", key),), chance.draw) == GOLDEN_KEYS[key]
    assert sampler({"metadata": "x-user-bin"}).place((("x-user-bin", key.encode()),), chance.draw) == GOLDEN_KEYS[key]


def test_a_number_is_a_key_as_it_is_written_and_nought_is_one() -> None:
    chance = Chance()
    one = sampler({"field": "session.number"}, chance)
    assert one.field == "session.number"
    assert one.place_of(42, chance.draw) == one.place_of("42", chance.draw)
    assert one.place_of(0, chance.draw) == position(SALT, b"0")
    assert chance.missed == 0


@pytest.mark.parametrize(
    ("by", "metadata"),
    [
        ({"metadata": "x-user"}, ()),
        ({"metadata": "x-user"}, (("x-users", "ada"),)),
        ({"metadata": "x-user"}, (("x-user", ""),)),
        ({"metadata": "x-user-bin"}, (("x-user-bin", b""),)),
        ("trace", ()),
        ("trace", (("traceparent", "oops"),)),
        ("trace", (("traceparent", b"\x00" * 55),)),
        ("trace", (("traceparent", f"00_{TRACE}_b7ad6b7169203331-01"),)),
        ("trace", (("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01"),)),
    ],
)
def test_a_call_without_the_key_is_sampled_by_itself_and_counted(by: Any, metadata: Metadata) -> None:
    chance = Chance()
    one = sampler(by, chance)
    assert [one.place(metadata, chance.draw) for _ in range(3)] == [
        position(SALT, number.to_bytes(8, "big")) for number in (1, 2, 3)
    ]
    assert chance.missed == 3


def test_where_the_request_has_the_key_the_live_gate_leaves_it_to_chance_and_misses_nothing() -> None:
    chance = Chance()
    one = sampler({"field": "user"}, chance)
    assert one.place((("user", "ada"),), chance.draw) == position(SALT, (1).to_bytes(8, "big"))
    assert chance.missed == 0
    one.place_of(None, chance.draw)
    assert (chance.missed, chance.drawn) == (1, 2)


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_the_share_of_a_million_users_is_the_rate_within_five_standard_deviations(rate: float) -> None:
    sampled = sum(place < rate for place in users())
    assert abs(sampled - MANY * rate) <= 5 * sqrt(MANY * rate * (1 - rate))


@cache
def users() -> list[float]:
    one, chance = sampler({"field": "user"}), Chance()
    return [one.place_of(number, chance.draw) for number in range(MANY)]


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_rates_nest_for_every_key(key: str, rate: float, other: float) -> None:
    place = sampler({"field": "user"}).place_of(key, Chance().draw)
    assert (place < min(rate, other)) <= (place < max(rate, other))


@given(st.one_of(st.none(), st.text(), st.binary(), st.integers(), st.floats(), st.booleans()))
def test_whatever_a_request_holds_has_a_place(key: str | bytes | float | None) -> None:
    assert 0.0 <= sampler({"field": "user"}).place_of(key, Chance().draw) < 1.0


def test_keys_come_to_the_skew_and_chance_does_not() -> None:
    chance = Chance()
    one = sampler({"metadata": "x-user"}, chance)
    for number in range(1000):
        one.place((("x-user", "ada" if number % 2 else f"u{number}"),), chance.draw)
        one.place((), chance.draw)
    one.skew.fold()
    assert one.skew.share() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("by", "path", "message"),
    [
        ("user", ("by", "name"), "'call' or 'trace'"),
        (7, ("by", "key"), "dictionary"),
        ({"metadata": "Authorization"}, ("by",), "credential"),
        ({"metadata": "x-*"}, ("by",), "not a metadata key"),
        ({"metadata": "x-user", "field": "user"}, ("by",), "one of"),
        ({}, ("by",), "one of"),
        ({"field": "a..b"}, ("by",), "not a path"),
        ({"feild": "user"}, ("by", "key", "feild"), "not permitted"),
    ],
)
def test_a_key_that_is_none_is_refused_with_its_path(by: Any, path: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        SamplingSettings.model_validate({"by": by})
    assert caught.value.errors()[0]["loc"] == path


@pytest.mark.parametrize("by", ["call", "trace", {"metadata": "X-User"}, {"field": "messages[*].user"}])
def test_sampling_survives_the_json_that_a_reload_carries(by: Any) -> None:
    settings = SamplingSettings.model_validate({"by": by})
    assert SamplingSettings.model_validate_json(settings.model_dump_json()) == settings


def test_sessions_fall_into_all_buckets_evenly_and_independently_of_what_is_sampled() -> None:
    users = [f"user-{number}" for number in range(100_000)]
    salt = salt_of("summaries")
    for some in (users, [user for user in users if position(salt, user.encode()) < 0.1]):
        counts = [0] * SESSION_BUCKETS
        for user in some:
            bucket = session_bucket("summaries", user)
            assert bucket is not None
            counts[bucket] += 1
        expected = len(some) / SESSION_BUCKETS
        # Chi-square with 255 degrees of freedom: mean 255, deviation 23.
        assert sum((each - expected) ** 2 / expected for each in counts) < 255 + 5 * 23


def test_a_session_has_the_same_bucket_in_every_replica_and_release_and_another_in_another_experiment() -> None:
    assert [session_bucket("summaries", key) for key in ("u-1", b"u-1", 7.0, "7.0")] == [108, 108, 141, 141]
    same = sum(session_bucket("summaries", str(user)) == session_bucket("chat", str(user)) for user in range(10_000))
    assert same < 10_000 / SESSION_BUCKETS * 2


@pytest.mark.parametrize(
    ("by", "metadata", "known"),
    [
        ({"metadata": "x-user"}, (("x-user", "u-1"),), True),
        ({"metadata": "x-user"}, (("x-user", ""),), False),
        ({"metadata": "x-user"}, (("x-other", "u-1"),), False),
        ("trace", (("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),), True),
        ("trace", (("traceparent", "00-"),), False),
        ("call", (("x-user", "u-1"),), False),
        # Where the request has the key, whoever reads it says so.
        ({"field": "user"}, (("user", "u-1"),), False),
    ],
)
def test_a_call_is_of_the_session_that_its_metadata_name(by: Any, metadata: Metadata, known: bool) -> None:
    sampler = Sampler("summaries", SamplingSettings.model_validate({"by": by}))
    assert (sampler.session(metadata) is not None) is known
    if by == {"metadata": "x-user"} and known:
        assert sampler.session(metadata) == session_bucket("summaries", "u-1")
