"""What tests of the store share."""

from __future__ import annotations

from typing import Protocol

from shadowmesh.store.settings import RetentionSettings
from shadowmesh.store.store import Store


class OpenStore(Protocol):
    """Opens a test's store as the processor of this name."""

    def __call__(self, name: str = "one", *, retention: RetentionSettings | None = None, now_ns: int = 1) -> Store: ...
