"""
What the stack is made of, where it is kept, and whether it is there.

Versions are pinned in ``pins/``: a Go module with its checksums for each program, and the Collector's list of
components in the form its builder reads. ``build.py`` builds them, standard library only, as this file is.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

PINS = Path(__file__).parent / "pins"
# Names a folder for the binaries, in place of the user's cache.
PLACE = "SHADOWMESH_STACK"


class Program(NamedTuple):
    """One binary."""

    name: str
    version: str
    """What it answers to ``--version``."""
    module: str
    """The folder in ``pins/`` it is built in."""
    package: str
    version_variable: str = ""
    """Where the linker puts the version; a release build of theirs does that too."""
    tags: str = ""


BUILDER = "go.opentelemetry.io/collector/cmd/builder"
_PROMETHEUS = "github.com/prometheus/prometheus/cmd"
_PROMETHEUS_VERSION = "github.com/prometheus/common/version.Version"
# Without `builtinassets` the web UI is left out. Of the service discoveries, which bring the clients of many clouds, it
# keeps those that a configuration for Compose or Kubernetes asks for.
_PROMETHEUS_TAGS = "netgo,remove_all_sd,enable_dns_sd,enable_kubernetes_sd"

PROGRAMS = (
    Program("otelcol", "0.159.0", "collector", "."),
    Program(
        "jaeger",
        "v2.13.0",
        "jaeger",
        "github.com/jaegertracing/jaeger/cmd/jaeger",
        "github.com/jaegertracing/jaeger/internal/version.latestVersion",
    ),
    Program(
        "prometheus", "3.14.0", "prometheus", f"{_PROMETHEUS}/prometheus", _PROMETHEUS_VERSION, tags=_PROMETHEUS_TAGS
    ),
    Program("promtool", "3.14.0", "prometheus", f"{_PROMETHEUS}/promtool", _PROMETHEUS_VERSION, tags=_PROMETHEUS_TAGS),
)


class Binaries(NamedTuple):
    """The programs of the stack, in the order of :data:`PROGRAMS`."""

    collector: Path
    jaeger: Path
    prometheus: Path
    promtool: Path


def find() -> Binaries | None:
    """Return the binaries, or nothing unless all of them are there, at the versions pinned here."""
    binaries = Binaries(*(folder() / program.name for program in PROGRAMS))
    return binaries if all(map(Path.is_file, binaries)) else None


def folder() -> Path:
    """Return the folder of the binaries, which need not exist: one per set of versions, so none is ever stale."""
    return base() / key()


def base() -> Path:
    """Return the folder for everything that is made once per machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = os.environ.get(PLACE)
    return Path(place).absolute() if place else cache / "shadowmesh" / "stack"


def key() -> str:
    """Return what tells one set of pinned versions, ways of building and kinds of machine from another."""
    digest = hashlib.sha256(repr((PROGRAMS, platform.system(), platform.machine())).encode())
    for path in sorted(PINS.glob("*/*")):
        digest.update(f"\n{path.relative_to(PINS).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
