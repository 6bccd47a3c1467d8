"""
``make servers``: other people's model servers, each in an environment of its own, for they pin what we do not.

Each is a lock with hashes in ``tests/environments``, which has our own core dependencies too; ShadowMesh itself is not
installed, so that the environment serves every tree. It is made once per machine and set of versions, in the folder of
the stack. From nothing both take a minute and a half and 0.9 GB. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Run as a file, before there is an environment with the tests in its path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stack.build import BuildError, alone_in, say, step
from stack.parts import base

LOCKS = Path(__file__).resolve().parent.parent / "environments"
SERVERS = ("mlserver", "kserve")
# Neither server supports what comes after.
_PYTHONS = ("3.12", "3.11")
_WHOLE = "whole"


def find(name: str) -> Path | None:
    """Return the folder with the programs of an environment, if it is there and whole."""
    place = folder(name)
    return place / "bin" if (place / _WHOLE).is_file() else None


def folder(name: str) -> Path:
    """Return where an environment is kept: one per lock and kind of machine, so none is ever stale."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}\n".encode())
    digest.update((LOCKS / f"{name}.lock").read_bytes())
    return base() / "servers" / f"{name}-{digest.hexdigest()[:12]}"


def main(arguments: Sequence[str]) -> int:
    """Make what is missing and return the exit code: 0, or 1 where it cannot be."""
    parser = argparse.ArgumentParser(prog="make servers", description="Install MLServer and KServe.")
    parser.add_argument("--python", help="the interpreter; by default one that they support, in PATH")
    python = parser.parse_args(arguments).python
    try:
        for name in SERVERS:
            if find(name):
                say(f"{name}: there, in {folder(name)}")
            else:
                make(name, python or supported())
    except BuildError as error:
        say(str(error))
        return 1
    return 0


def make(name: str, python: str) -> None:
    """
    Make an environment in its place, for one cannot be moved; a killed run is begun anew.

    Raises:
        BuildError: its packages cannot be installed.
    """
    place = folder(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(place.parent):
        if find(name):
            return
        say(f"{name}: installing")
        started = time.monotonic()
        step(LOCKS, python, "-m", "venv", "--clear", str(place))
        pip = (str(place / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
        step(LOCKS, *pip, "--require-hashes", "--only-binary", ":all:", "--requirement", f"{name}.lock")
        (place / _WHOLE).touch()
        say(f"{name}: installed in {time.monotonic() - started:.0f} s, in {place}")


def supported() -> str:
    """
    Return an interpreter that the servers support: the one that runs this, or another in PATH.

    Raises:
        BuildError: there is none.
    """
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if ours in _PYTHONS:
        return sys.executable
    for version in _PYTHONS:
        found = shutil.which(f"python{version}")
        if found and subprocess.run((found, "-c", ""), check=False).returncode == 0:
            return found
    raise BuildError(f"the servers need Python {' or '.join(reversed(_PYTHONS))}, and there is none in PATH")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
