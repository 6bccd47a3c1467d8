"""The environments of the servers; without them their tests are skipped with one line, or fail if required."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from e2e.real_servers.servers import KINDS, Kind, ModelServer
from stack.required import skip_users
from stack.servers import SERVERS, find, folder


class Scene(NamedTuple):
    """A server that knows nothing of us, and its shadow."""

    kind: Kind
    programs: Mapping[str, Path]
    live: ModelServer
    shadow: ModelServer


@pytest.fixture(scope="session")
def programs() -> Mapping[str, Path]:
    """The folders with the programs of the environments; where one is required and missing, each test fails."""
    found = {name: place for name in SERVERS if (place := find(name))}
    if len(found) < len(SERVERS):
        pytest.fail(_where_they_are_not(), pytrace=False)
    return found


@pytest.fixture(scope="module", params=list(KINDS))
def scene(
    request: pytest.FixtureRequest, programs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Both servers, running."""
    kind = KINDS[request.param]
    place = tmp_path_factory.mktemp("scene")
    live, shadow = (ModelServer(kind, programs[kind.environment], place / way, way=way) for way in ("upper", "title"))
    with live, shadow:
        yield Scene(kind, programs, live, shadow)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the environments, skip the tests that need them."""
    if not all(map(find, SERVERS)):
        skip_users(config, items, "programs", reason=_where_they_are_not())


def _where_they_are_not() -> str:
    return f"MLServer and KServe are not in {folder(SERVERS[0]).parent}: run make servers"
