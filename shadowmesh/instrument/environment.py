"""What a program's environment has to say so that its servers are mirrored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG = "SHADOWMESH_CONFIG"
"""The environment variable with the path of the configuration file."""

SITE = Path(__file__).parent / "site"
"""The directory whose ``sitecustomize`` Python is to find first."""


def instrumented(environment: Mapping[str, str], config: Path) -> dict[str, str]:
    """Return the environment with what a program needs, and its children, which inherit it."""
    given = environment.get("PYTHONPATH", "")
    # An empty part of a path is the working directory; an empty path is none.
    parts = [part for part in given.split(os.pathsep) if part != str(SITE)] if given else []
    return {**environment, CONFIG: str(config.absolute()), "PYTHONPATH": os.pathsep.join((str(SITE), *parts))}
