"""The exception tree: one root, and a text that reads as one line."""

from __future__ import annotations

import inspect

import pytest

from shadowmesh import errors
from shadowmesh.errors import ConfigError, ShadowMeshError


def test_every_exception_is_in_the_tree_and_drawn_at_the_top() -> None:
    found = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert all(issubclass(kind, ShadowMeshError) for kind in found.values())
    assert errors.__doc__ is not None
    for name in found:
        assert name in errors.__doc__


@pytest.mark.parametrize(
    ("source", "key", "text"),
    [
        ("mesh.yaml", "experiments[0].rate", "mesh.yaml: experiments[0].rate: too large"),
        ("mesh.yaml", "", "mesh.yaml: too large"),
        ("", "experiments[0].rate", "experiments[0].rate: too large"),
        ("", "", "too large"),
    ],
)
def test_a_config_error_names_file_key_and_problem_as_far_as_there_are_any(source: str, key: str, text: str) -> None:
    error = ConfigError("too large", source=source, key=key)
    assert str(error) == text
    assert (error.problem, error.source, error.key) == ("too large", source, key)
