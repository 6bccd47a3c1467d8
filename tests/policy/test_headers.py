"""What metadata a shadow may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.headers import AllowList, conflicts, refuse_secret

SECRETS = [
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "api-key",
    "x-auth-token", "x-access-token", "x-amz-security-token", "x-goog-iam-authorization-token",
    "x-forwarded-access-token", "x-user-token", "x-user-token-bin", "x_user.token", "client-secret", "x-db-password",
    "x-auth", "auth", "x-hub-signature", "x-amz-access-key", "ocp-apim-subscription-key", "x-functions-key", "x-my-jwt",
    "cf-access-jwt-assertion", "x-ms-client-principal", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken", "cookie2",
    "x-amz-cookie-id", "x-secret-santa", "x-forwarded-client-cert", "authorization-bin", "x-goog-iap-jwt-assertion",
]  # fmt: skip
HARMLESS = [
    "x-user", "x-user-bin", "x-tenant", "idempotency-key", "x-routing-key", "openengine-routing-key", "x-max-tokens",
    "x-token-count", "author", "x-authority", "x-session-id", "key", "x-request-id", "accept-language", "--", "-bin",
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


@pytest.mark.parametrize("key", [*HARMLESS, "x-*", "auth*", "x-key*"])
def test_other_keys_and_prefixes_may_be_listed(key: str) -> None:
    refuse_secret(key)


@pytest.mark.parametrize("key", ["cookie*", "authorization-*", "x-secret-*", "x-amzn-oidc-data*"])
def test_a_prefix_of_nothing_but_credentials_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is a credential"):
        refuse_secret(key)


@pytest.mark.parametrize("key", HARMLESS)
def test_keys_that_only_look_a_little_like_credentials_travel(key: str) -> None:
    assert AllowList([key]).filter(((key, "1"),)) == ((key, "1"),)


def test_what_is_configured_never_to_travel_does_not_whatever_is_allowed() -> None:
    allowed = AllowList(["x-*"], never=["X-Tenant-*", "x-customer"])
    metadata = (("x-tenant-id", "1"), ("x-customer", "2"), ("X-Customer", "3"), ("x-customers", "4"), ("x-tenant", "5"))
    assert allowed.filter(metadata) == (("x-customers", "4"), ("x-tenant", "5"))


def test_an_allow_list_of_which_nothing_is_left_is_found() -> None:
    assert conflicts(["x-a", "x-b", "x-c*", "x-cc*"], ["x-a", "x-cc*"]) == ["x-a", "x-cc*"]
    assert conflicts(["x-cc", "x-c*"], ["x-c*"]) == ["x-cc", "x-c*"]
    assert conflicts(["x-a"], []) == []


def test_the_ids_of_a_marker_pass_to_the_engine_only_where_that_is_asked_for() -> None:
    metadata = (("x-shadowmesh-instance", "one"), ("x-shadowmesh-role", "shadow"), ("x-a", "1"))
    assert AllowList(["x-*"]).filter(metadata) == (("x-a", "1"),)
    passing = AllowList([], passes_instances=True)
    assert passing
    assert passing.filter(metadata) == (("x-shadowmesh-instance", "one"),)


def test_keys_without_end_do_not_fill_memory() -> None:
    allowed = AllowList(["x-*"])
    for number in range(10_000):
        assert allowed.filter(((f"x-{number}", ""), (f"y-{number}", ""))) == ((f"x-{number}", ""),)
    assert len(allowed._known) <= 4096
