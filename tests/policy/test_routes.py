"""Which experiment covers a method."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.model import Metadata
from shadowmesh.policy.conditions import Conditions, WhenSettings
from shadowmesh.policy.routes import Route, Routes, check_pattern, matches

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


def tenant(name: str) -> Conditions:
    return Conditions(WhenSettings.model_validate({"metadata": [{"key": "x-tenant", "equals": name}]}))


def models(*names: str) -> Conditions:
    return Conditions(WhenSettings(models=names))


def test_the_first_route_whose_conditions_hold_takes_the_call() -> None:
    routes = Routes([
        Route(("*",), "acme", tenant("acme")), Route((METHOD,), "globex", tenant("globex")), Route(("*",), "others")
    ])  # fmt: skip
    assert routes.choose(METHOD, (("x-tenant", "acme"),)) == ("acme",)
    assert routes.choose(METHOD, (("x-tenant", "globex"),)) == ("globex",)
    assert routes.choose("/acme.v1.Chat/Other", (("x-tenant", "globex"),)) == ("others",)
    assert routes.choose(METHOD, ()) == ("others",)


def test_a_call_whose_conditions_nobody_meets_is_nobodys_though_its_method_is_covered() -> None:
    routes = Routes([Route(("*",), "acme", tenant("acme"))])
    assert routes.find(METHOD) == "acme"
    assert routes.choose(METHOD, ()) == ()
    assert routes.choose("/grpc.health.v1.Health/Check", (("x-tenant", "acme"),)) == ()


def test_who_asks_for_the_model_may_take_the_call_and_whoever_comes_next_may_too() -> None:
    routes = Routes([
        Route(("*",), "llama", models("llama-*")), Route(("*",), "mistral", models("mistral")),
        Route(("*",), "rest"), Route(("*",), "never"),
    ])  # fmt: skip
    assert routes.choose(METHOD, ()) == ("llama", "mistral", "rest")


def test_among_those_who_ask_for_the_model_only_those_whose_metadata_holds_may_take_the_call() -> None:
    both = Conditions(
        WhenSettings.model_validate({"metadata": [{"key": "x-tenant", "equals": "acme"}], "models": ["llama"]})
    )
    routes = Routes([Route(("*",), "both", both), Route(("*",), "mistral", models("mistral"))])
    assert routes.choose(METHOD, (("x-tenant", "acme"),)) == ("both", "mistral")
    assert routes.choose(METHOD, ()) == ("mistral",)


def test_names_that_clients_make_up_do_not_grow_the_cache_when_there_are_conditions_either() -> None:
    routes = Routes([Route(("*",), "acme", tenant("acme"))])
    for number in range(5_000):
        assert routes.choose(f"/acme.Service/Method{number}", (("x-tenant", "acme"),)) == ("acme",)
    assert len(routes._found) <= 4096


ROUTES = st.lists(
    st.tuples(
        st.sampled_from([("*",), ("/a.*",), ("/a.B/C",), ("/x.*", "/a.B/*")]),
        st.sampled_from(["", "acme", "globex"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(ROUTES, st.sampled_from(["/a.B/C", "/a.X/C", "/z.Z/Z"]), st.sampled_from(["", "acme", "globex"]))
def test_whoever_is_chosen_is_in_order_and_only_the_last_asks_nothing_of_the_request(
    facts: list[tuple[tuple[str, ...], str, bool]], method: str, name: str
) -> None:
    metadata: Metadata = (("x-tenant", name),) if name else ()
    routes = Routes([
        Route(patterns, number, Conditions(WhenSettings.model_validate({
            "metadata": [{"key": "x-tenant", "equals": wanted}] if wanted else [], "models": ["m"] if asks else [],
        })))
        for number, (patterns, wanted, asks) in enumerate(facts)
    ])  # fmt: skip
    expected = []
    for number, (patterns, wanted, asks) in enumerate(facts):
        if any(matches(pattern, method) for pattern in patterns) and wanted in ("", name):
            expected.append(number)
            if not asks:
                break
    assert routes.choose(method, metadata) == tuple(expected)
    assert routes.choose(method, metadata) == tuple(expected), "and again, from the cache"
