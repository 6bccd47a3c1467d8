"""The stack as a fixture: where it is not there its tests are skipped with one line, or fail where it is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest
from stack.parts import Binaries, find, folder

REQUIRED = "SHADOWMESH_REQUIRE_STACK"


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing."""
    if required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def required() -> bool:
    """Return whether a missing part fails the tests that need it."""
    return os.environ.get(REQUIRED) == "1"


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The programs of the stack; where they are required and missing, each test fails that needs them."""
    found = find()
    if found is None:
        pytest.fail(_where_it_is_not(), pytrace=False)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the stack, skip the tests that need it."""
    if find() is None:
        skip_users(config, items, "binaries", reason=_where_it_is_not())


def skip_users(config: pytest.Config, items: list[pytest.Item], fixture: str, *, reason: str) -> None:
    """Skip the tests that use a fixture unless it is required; one stands for all, so that the reason is told once."""
    users = [item for item in items if fixture in getattr(item, "fixturenames", ())]
    if not users or required():
        return
    users[0].add_marker(pytest.mark.skip(reason=reason))
    config.hook.pytest_deselected(items=users[1:])
    items[:] = [item for item in items if item not in users[1:]]


def _where_it_is_not() -> str:
    return f"the stack is not in {folder()}: run make stack"
