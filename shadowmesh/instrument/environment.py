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
    path = [str(SITE), *(part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part != str(SITE))]
    return {**environment, CONFIG: str(config.absolute()), "PYTHONPATH": os.pathsep.join(part for part in path if part)}
