"""The stack, and the program that reads deploy/ as its owners do; where one is not there, why."""

from __future__ import annotations

import shutil

import pytest
from deploy.owners import NO_GO, Read, build
from stack import required
from stack.required import binaries

__all__ = ["binaries"]


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """The program in ``tools/``; where Go is required and missing, each test fails that needs it."""
    return build(tmp_path_factory.mktemp("tools"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the stack, or without Go, skip the tests that need it."""
    required.pytest_collection_modifyitems(config, items)
    if shutil.which("go") is None:
        required.skip_users(config, items, "read", reason=NO_GO)
