"""What metadata a shadow may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.headers import AllowList, refuse_secret

SECRETS = [
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "api-key",
    "x-auth-token", "x-access-token", "x-amz-security-token", "x-goog-iam-authorization-token",
    "x-forwarded-access-token",
]  # fmt: skip
OURS = [
    "te", "content-type", "user-agent", "x-shadowmesh-role", "x-shadowmesh-pair-id", "x-shadowmesh-instance",
    "traceparent", "tracestate", "grpc-timeout", "grpc-encoding", "grpc-previous-rpc-attempts",
]  # fmt: skip
KEYS = st.sampled_from([*SECRETS, *OURS, "x-user", "x-user-bin", "x-tenant", "accept-language", "a"])
ENTRIES = st.tuples(KEYS, st.one_of(st.text(max_size=5), st.binary(max_size=5)))


def test_nothing_travels_unless_it_is_allowed() -> None:
    nothing = AllowList(())
    assert not nothing
    assert nothing.filter((("x-user", "1"), ("a", "2"))) == ()


def test_exact_keys_and_prefixes_are_allowed_and_near_misses_are_not() -> None:
    allowed = AllowList(["x-user", "X-Tenant-*"])
    assert allowed
    metadata = (("x-user", "1"), ("x-user-agent", "2"), ("x-tenant-id", "3"), ("x-tenant", "4"), ("y", "5"))
    assert allowed.filter(metadata) == (("x-user", "1"), ("x-tenant-id", "3"))


def test_order_duplicates_and_binary_values_survive() -> None:
    metadata = (("x-b-bin", b"\x00\xff"), ("x-a", "1"), ("x-b-bin", b""), ("x-a", "0"), ("x-a", "1"))
    assert AllowList(["x-*"]).filter(metadata) == metadata


@given(
    st.lists(st.one_of(KEYS, KEYS.map(lambda key: key[:3] + "*"), st.just("*")), max_size=8),
    st.lists(ENTRIES, max_size=20),
)
def test_no_allow_list_lets_a_secret_or_a_key_of_ours_through(
    keys: list[str], metadata: list[tuple[str, str | bytes]]
) -> None:
    kept = AllowList(keys).filter(tuple(metadata))
    assert not {key for key, _ in kept} & {*SECRETS, *OURS}
    remaining = iter(metadata)
    assert all(entry in remaining for entry in kept), "in the order they came"


def test_a_secret_written_in_capitals_is_a_secret_still() -> None:
    assert AllowList(["*"]).filter((("Authorization", "Bearer 1"), ("X-User", "2"))) == (("X-User", "2"),)


@pytest.mark.parametrize("key", [*SECRETS, "Authorization", "COOKIE"])
def test_an_allow_list_that_names_a_secret_is_refused_in_the_users_spelling(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' is a credential"):
        refuse_secret(key)


@pytest.mark.parametrize("key", ["", "*", "**", "x-*-y", "*x"])
def test_an_entry_that_is_neither_a_key_nor_a_prefix_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="neither a key nor a prefix"):
        refuse_secret(key)


@pytest.mark.parametrize("key", ["x-user", "x-*", "x-user-bin", "auth*"])
def test_other_keys_and_prefixes_may_be_listed(key: str) -> None:
    refuse_secret(key)
