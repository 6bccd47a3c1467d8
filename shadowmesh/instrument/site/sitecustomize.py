"""
Loaded by Python before the program, from ``PYTHONPATH``; see ``shadowmesh.instrument``.

It hides whatever ``sitecustomize`` the program has otherwise, so that one is loaded afterwards.
"""

import sys
from importlib import import_module
from pathlib import Path


def _mirror() -> None:
    try:
        import_module("shadowmesh.instrument.hook").install()
    except Exception as error:  # noqa: BLE001  # whatever it is, the program is not to fall by it
        print(f"shadowmesh: nothing is mirrored: {error}", file=sys.stderr)  # noqa: T201


def _next() -> None:
    """Load what we hide."""
    ours = str(Path(__file__).parent)
    path, known = sys.path[:], sys.modules.pop(__name__, None)
    sys.path[:] = [part for part in path if part != ours]
    try:
        import_module("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != __name__:
            raise
        if known is not None:
            sys.modules[__name__] = known
    finally:
        # As it was, for the children that are started with this path.
        sys.path[:] = path


if __name__ == "sitecustomize":
    try:
        # What goes wrong in it is for Python to tell, as it would without us.
        _next()
    finally:
        _mirror()
