"""Which calls may have side effects, and who takes them all the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.experiments import GENERATE, experiment, target

from shadowmesh.policy.effects import Effect, allowed, effect_of

ANY = ("*",)


@pytest.mark.parametrize(
    "method",
    ["/acme.Model/Predict", "/acme.Model/Settle", "/acme.Model/generate_text", "/a.B/_x", "/a.B/GetLoad",
     "/acme.Model/GetLoads", "/a.B/list_settings", "/a.B/RepositoryIndex", "/a.B/RPC"],
)  # fmt: skip
def test_a_method_nobody_has_a_map_for_is_safe(method: str) -> None:
    assert effect_of(method, {}, ANY, mapped=False) is Effect.SAFE


# The last ones stand in the services that this is for: Triton's, SGLang's and vLLM's.
CHANGING = ["LoadModel", "FlushCache", "StartDeferredCompletion", "Abort", "set_weights", "updateAdapter", "Unload",
            "RepositoryModelLoad", "RepositoryModelUnload", "SystemSharedMemoryRegister", "CudaSharedMemoryUnregister",
            "TraceSetting", "LogSettings", "ContinueGeneration", "SubscribeKvEvents"]  # fmt: skip


@pytest.mark.parametrize("name", CHANGING)
def test_a_method_whose_name_says_that_it_changes_something_is_unsafe_unless_it_is_named(name: str) -> None:
    method = f"/acme.Admin/{name}"
    assert effect_of(method, {}, ANY, mapped=False) is Effect.UNSAFE
    assert effect_of(method, {}, ("/acme.Admin/*",), mapped=False) is Effect.UNSAFE
    assert effect_of(method, {}, ("/acme.Admin/*", method), mapped=False) is Effect.SAFE
    assert effect_of(method, {"/acme.*": Effect.IDEMPOTENT}, ANY, mapped=False) is Effect.IDEMPOTENT
    assert effect_of(method, {}, ANY, mapped=True) is Effect.SAFE


def test_of_several_classes_the_first_that_covers_the_method_decides() -> None:
    classes = {"/a.B/C": Effect.UNSAFE, "/a.B/*": Effect.IDEMPOTENT, "*": Effect.SAFE}
    assert effect_of("/a.B/C", classes, ("/a.B/C",), mapped=False) is Effect.UNSAFE
    assert effect_of("/a.B/D", classes, ANY, mapped=True) is Effect.IDEMPOTENT
    assert effect_of("/a.C/D", classes, ANY, mapped=False) is Effect.SAFE


def test_a_target_takes_the_unsafe_calls_it_names_and_no_other() -> None:
    assert not allowed("/a.B/C", ())
    assert allowed("/a.B/C", ("/x.Y/Z", "/a.B/*"))
    assert not allowed("/a.BC/D", ("/a.B/*",))


WRONG: list[dict[str, Any]] = [
    {"effects": {"nonsense": "safe"}},
    {"effects": {GENERATE: "harmless"}},
    {"targets": [target(allow_unsafe=["nonsense"])]},
    {"targets": [target(stubs={"search": "nothing"})]},
    {"targets": [target(allow_unsafe="*")]},
]


@pytest.mark.parametrize("changes", WRONG, ids=repr)
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        experiment(**changes)
