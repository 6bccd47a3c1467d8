"""
ShadowMesh: may another model, prompt, quantisation or runtime replace the one that is live?

Copies sampled live gRPC calls to shadow backends, records both legs as OpenTelemetry spans, pairs and compares them.
The design, room by room, is in the docstrings of the sub-packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shadowmesh.build import Mesh as Mesh
    from shadowmesh.errors import ConfigError as ConfigError
    from shadowmesh.errors import ShadowMeshError as ShadowMeshError
    from shadowmesh.errors import StartError as StartError

    __version__: str

__all__ = ["ConfigError", "Mesh", "ShadowMeshError", "StartError", "__version__"]

_HOMES = {
    "ConfigError": "shadowmesh.errors",
    "Mesh": "shadowmesh.build",
    "ShadowMeshError": "shadowmesh.errors",
    "StartError": "shadowmesh.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name, or read the version, at its first use: `import shadowmesh` itself loads nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("shadowmesh")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
