"""The databases of the store's tests."""

from __future__ import annotations

from store.conftest import server, url

__all__ = ["server", "url"]
