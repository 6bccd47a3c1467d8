"""Settings of an experiment: what is wrong is named by its path."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.experiments import experiment, target

from shadowmesh.names import TargetKind
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings


def test_a_target_needs_a_name_and_an_address_and_nothing_else() -> None:
    (found,) = experiment(target()).targets
    assert (found.kind, found.rate, found.deadline, found.max_in_flight) == (TargetKind.CANDIDATE, 1.0, 60.0, 64)
    assert (found.metadata, found.tls, found.version) == ((), False, "")


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
    ({"targets": []}, ("targets",)),
    ({"targets": [target(), target()]}, ()),
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
    again = ExperimentSettings.model_validate_json(base.model_dump_json())
    assert again == base
    assert again.digest == base.digest
    assert TargetSettings.model_validate_json(base.targets[0].model_dump_json()) == base.targets[0]
