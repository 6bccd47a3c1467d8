"""What holds for every test."""

import gc
import os
import signal

import pytest
from hypothesis import settings

# Shared machines stall; a slow example is not a failing one.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


# A shell ignores Ctrl-C for what it starts in the background, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers per core, as tests wait as long as they work; eight at most, as each takes up to 400 MB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, 8)


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: collections, of which many tests force some, need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_exporters_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves the process unless a test says where to."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
