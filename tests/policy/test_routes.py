"""Which experiment covers a method."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.policy.routes import Routes, check_pattern, matches

METHOD = "/acme.v1.Chat/Generate"


@pytest.mark.parametrize("pattern", ["/acme.v1.Chat/Generate", "/acme.v1.Chat/*", "/acme.v1.*", "/acme.*", "*"])
def test_a_method_is_covered_by_its_name_its_service_its_packages_and_the_star(pattern: str) -> None:
    check_pattern(pattern)
    assert matches(pattern, METHOD)


@pytest.mark.parametrize(
    "pattern", ["/acme.v1.Chat/Generat", "/acme.v1.Chat/GenerateMore", "/acme.v1.Cha/*", "/acme.v1.ChatBot/*", "/acm.*"]
)
def test_a_pattern_covers_whole_words_only(pattern: str) -> None:
    check_pattern(pattern)
    assert not matches(pattern, METHOD)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/",
        "acme.v1.Chat/Generate",
        "/acme.v1.Chat",
        "/acme.v1.Chat/Gen*",
        "/acme*",
        "/*",
        "**",
        "/a/b/c",
        "/a/ b",
        "*\n",
    ],
)
def test_what_is_neither_a_method_nor_a_wildcard_is_refused_and_quoted(pattern: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        check_pattern(pattern)


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/X"])
def test_grpcs_own_services_are_covered_only_by_a_pattern_that_names_them(method: str) -> None:
    service = method.rpartition("/")[0]
    assert not matches("*", method)
    assert matches("/grpc.*", method)
    assert matches(f"{service}/*", method)
    assert matches(method, method)


def test_a_package_that_only_begins_like_grpc_is_an_ordinary_one() -> None:
    assert matches("*", "/grpcweb.Proxy/Call")


def test_the_first_pattern_in_configured_order_decides() -> None:
    routes = Routes([(("/acme.v1.Chat/Generate",), "exact"), (("/acme.*", "*"), "wide")])
    assert routes.find(METHOD) == "exact"
    assert routes.find("/acme.v1.Chat/Other") == "wide"
    assert routes.find("/elsewhere.Service/Method") == "wide"
    assert Routes([(("*",), "wide"), ((METHOD,), "exact")]).find(METHOD) == "wide"


def test_a_method_nobody_covers_has_no_plan_however_often_it_is_asked_for() -> None:
    routes = Routes([(("/acme.*",), "plan")])
    assert [routes.find("/other.Service/Method") for _ in range(3)] == [None] * 3


def test_names_that_clients_make_up_do_not_grow_the_cache_without_end() -> None:
    routes = Routes([(("/acme.*",), "plan")])
    for number in range(10_000):
        assert routes.find(f"/acme.Service/Method{number}") == "plan"
        assert routes.find(f"/other.Service/Method{number}") is None
    assert len(routes._found) <= 4096
    assert routes.find(METHOD) == "plan", "a full cache still answers"


IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(st.lists(IDENTIFIERS, min_size=1, max_size=4), IDENTIFIERS)
def test_every_wildcard_made_from_a_method_is_valid_and_covers_it(words: list[str], name: str) -> None:
    method = f"/{'.'.join(words)}/{name}"
    patterns = [method, method.rpartition("/")[0] + "/*", *(f"/{'.'.join(words[:n])}.*" for n in range(1, len(words)))]
    for pattern in patterns:
        check_pattern(pattern)
        assert matches(pattern, method)
