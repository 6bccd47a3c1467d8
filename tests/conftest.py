"""What holds for every test."""

import pytest
from hypothesis import settings

# Shared machines stall; a slow example is not a failing one.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _no_exporters_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves the process unless a test says where to."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
