"""Settings of an experiment: what is wrong is named by its path."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.experiments import experiment, target

from shadowmesh.names import TargetKind
from shadowmesh.policy.experiment import TargetSettings, in_force


def test_a_target_needs_a_name_and_an_address_and_nothing_else() -> None:
    (found,) = experiment(target()).targets
    assert (found.kind, found.rate, found.deadline, found.max_in_flight) == (TargetKind.CANDIDATE, 1.0, 60.0, 64)
    assert (found.metadata, found.tls.enabled, found.version) == ((), False, "")


def test_a_control_that_is_switched_off_leaves_room_for_another() -> None:
    found = experiment(target("old", kind="control", enabled=False), target("new", kind="control"), target())
    assert [one.name for one in found.targets if one.enabled] == ["new", "candidate"]


def test_a_deadline_is_a_quantity_and_metadata_keys_are_lower_case() -> None:
    (found,) = experiment(target(deadline="250ms", metadata=["X-User", "X-Tenant-*"], kind="control")).targets
    assert (found.deadline, found.metadata, found.kind) == (0.25, ("x-user", "x-tenant-*"), TargetKind.CONTROL)


WRONG: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
    ({"nmae": "x"}, ("nmae",)),
    ({"name": ""}, ("name",)),
    ({"name": "with space"}, ("name",)),
    ({"name": "x" * 64}, ("name",)),
    ({"name": "name\n"}, ("name",)),
    ({"name": 7}, ("name",)),
    ({"version": 1.0}, ("version",)),
    ({"version": "v" * 129}, ("version",)),
    ({"methods": []}, ("methods",)),
    ({"methods": "/a.B/C"}, ("methods",)),
    ({"methods": ["/a.B/C", "oops"]}, ("methods",)),
    ({"output_digest": "perhaps"}, ("output_digest",)),
    ({"content": "on"}, ("content",)),
    ({"content": True}, ("content",)),
    ({"content_limit": "512B"}, ("content_limit",)),
    ({"content_limit": "1MiB"}, ("content_limit",)),
    ({"stall_after": 0}, ("stall_after",)),
    ({"targets": []}, ("targets",)),
    ({"targets": [target(), target()]}, ()),
    ({"targets": [target("a"), target("b", kind="control"), target("c", kind="control")]}, ("targets",)),
    ({"targets": [{"name": "a"}]}, ("targets", 0, "address")),
    ({"targets": [target(address="")]}, ("targets", 0, "address")),
    ({"targets": [target(address=50051)]}, ("targets", 0, "address")),
    ({"targets": [target("a"), target("b", rate=1.01)]}, ("targets", 1, "rate")),
    ({"targets": [target(rate=-0.1)]}, ("targets", 0, "rate")),
    ({"targets": [target(rate=float("nan"))]}, ("targets", 0, "rate")),
    ({"targets": [target(rate="half")]}, ("targets", 0, "rate")),
    ({"targets": [target(rate=True)]}, ("targets", 0, "rate")),
    ({"targets": [target(deadline="10")]}, ("targets", 0, "deadline")),
    ({"targets": [target(deadline="10 parsecs")]}, ("targets", 0, "deadline")),
    ({"targets": [target(deadline=0)]}, ("targets", 0, "deadline")),
    ({"targets": [target(deadline=float("inf"))]}, ("targets", 0, "deadline")),
    ({"targets": [target(deadline=True)]}, ("targets", 0, "deadline")),
    ({"targets": [target(max_in_flight=0)]}, ("targets", 0, "max_in_flight")),
    ({"targets": [target(max_in_flight=100_001)]}, ("targets", 0, "max_in_flight")),
    ({"targets": [target(max_in_flight=1.5)]}, ("targets", 0, "max_in_flight")),
    ({"targets": [target(max_in_flight=True)]}, ("targets", 0, "max_in_flight")),
    ({"targets": [target(kind="canary")]}, ("targets", 0, "kind")),
    ({"targets": [target(metadata=["Authorization"])]}, ("targets", 0, "metadata")),
    ({"targets": [target(metadata=["*"])]}, ("targets", 0, "metadata")),
    ({"targets": [target(metadata="x-user")]}, ("targets", 0, "metadata")),
    ({"targets": [target(tls="maybe")]}, ("targets", 0, "tls")),
    ({"targets": [target(proxy="x")]}, ("targets", 0, "proxy")),
]


@pytest.mark.parametrize(("changes", "path"), WRONG, ids=lambda value: repr(value)[:60])
def test_a_wrong_key_type_or_range_names_its_path(changes: dict[str, Any], path: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        experiment(**changes)
    assert caught.value.errors()[0]["loc"] == path


def test_settings_are_frozen() -> None:
    (found,) = experiment().targets
    with pytest.raises(ValidationError):
        found.rate = 0.5


def test_digests_are_twelve_hex_digits_equal_for_equal_settings_and_changed_by_any_change() -> None:
    base = experiment(target())
    assert base.digest == experiment(target()).digest
    assert len(base.digest) == len(bytes.fromhex(base.digest)) * 2 == 12
    changed = [target(rate=0.5), target(address="127.0.0.1:2"), target(version="2"), target(kind="control")]
    digests = {experiment(one).targets[0].digest for one in changed} | {base.targets[0].digest}
    assert len(digests) == len(changed) + 1
    assert len({experiment(one).digest for one in changed} | {base.digest}) == len(changed) + 1


def test_settings_survive_the_json_that_a_reload_carries() -> None:
    base = experiment(target("a", deadline="1500ms"), target("b", metadata=["x-*"]), output_digest=True, version="3")
    again = type(base).model_validate_json(base.model_dump_json())
    assert again == base
    assert again.digest == base.digest
    assert TargetSettings.model_validate_json(base.targets[0].model_dump_json()) == base.targets[0]


def test_by_default_an_experiment_takes_every_call_of_its_methods_each_by_itself_at_any_rate() -> None:
    base = experiment(target())
    assert (base.enabled, base.when.metadata, base.when.models, base.retries.keys) == (True, (), (), ())
    assert base.sampling.by == "call"
    (found,) = base.targets
    assert (found.enabled, found.max_rate, found.burst) == (True, None, None)


ROUTED: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
    ({"enabled": "no"}, ("enabled",)),
    ({"when": {"metadata": [{"key": "x-a"}]}}, ("when", "metadata", 0)),
    ({"when": {"metadata": [{"key": "cookie", "present": True}]}}, ("when", "metadata", 0, "key")),
    ({"when": {"models": ["*"]}}, ("when", "models", 0)),
    ({"sampling": {"by": "user"}}, ("sampling", "by", "name")),
    ({"sampling": {"by": {"metadata": "authorization"}}}, ("sampling", "by")),
    ({"retries": {"keys": ["cookie"]}}, ("retries", "keys")),
    ({"targets": [target(enabled=1)]}, ("targets", 0, "enabled")),
    ({"targets": [target(max_rate=0)]}, ("targets", 0, "max_rate")),
    ({"targets": [target(max_rate=1, burst=0)]}, ("targets", 0, "burst")),
    ({"targets": [target(burst=5)]}, ("targets", 0)),
]


@pytest.mark.parametrize(("changes", "path"), ROUTED, ids=lambda value: repr(value)[:60])
def test_what_is_wrong_in_routing_sampling_limits_and_retries_names_its_path(
    changes: dict[str, Any], path: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        experiment(**changes)
    assert caught.value.errors()[0]["loc"] == path


def test_what_is_switched_off_is_as_if_it_were_not_there() -> None:
    one = experiment(target("a"), target("b", enabled=False), name="one")
    off = experiment(target("a"), name="off", enabled=False)
    empty = experiment(target("a", enabled=False), name="empty")
    two = experiment(target("a"), name="two")
    left = in_force((one, off, empty, two))
    assert [(found.name, [target.name for target in found.targets]) for found in left] == [
        ("one", ["a"]),
        ("two", ["a"]),
    ]
    assert left[1] is two
    assert type(left[0]) is type(one)
    assert left[0] == experiment(target("a"), name="one")


@pytest.mark.parametrize("preset", [None, "careful", "load-test"])
def test_switching_a_target_off_changes_the_policy_in_force_and_no_evidence(preset: str | None) -> None:
    both = experiment(target("a"), target("b"), preset=preset)
    one = experiment(target("a"), target("b", enabled=False), preset=preset)
    assert both.digest != one.digest, "asked before, so that a stale one would show"
    (left,) = in_force((one,))
    assert left.digest not in (both.digest, one.digest)
    assert left.targets[0].digest == both.targets[0].digest
    assert one.targets[1].digest == both.targets[1].digest


def test_routing_sampling_and_retries_survive_the_json_that_a_reload_carries() -> None:
    base = experiment(
        target("a", max_rate=5, burst=2, enabled=False),
        when={"metadata": [{"key": "X-Tenant", "equals": "acme"}], "models": ["llama-*"]},
        sampling={"by": {"field": "session.id"}},
        retries={"keys": ["X-Request-Id"], "window": "2m"},
    )
    again = type(base).model_validate_json(base.model_dump_json())
    assert again == base
    assert again.digest == base.digest
