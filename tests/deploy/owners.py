"""The program in ``tools/``, which reads deploy/ with the code of those who own the formats."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).parent / "tools"
NO_GO = "there is no go in PATH to build tests/deploy/tools"
_BUILT_WITHIN = 900.0
_READ_WITHIN = 60.0

Read = Callable[[str, Path], "subprocess.CompletedProcess[str]"]
"""Has a file or folder read as ``kustomize``, ``compose`` or ``dockerfile``."""


def build(directory: Path) -> Read:
    """
    Build it into a directory: from Go's empty caches in a minute and a half, else in a second.

    Raises:
        RuntimeError: there is no Go, or it does not build.
    """
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(NO_GO)
    program = str(directory / "tools")
    command = [go, "build", "-trimpath", "-o", program, "."]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=_BUILT_WITHIN)
    if done.returncode:
        raise RuntimeError(f"tests/deploy/tools does not build:\n{done.stderr}")

    def read(kind: str, path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, kind, str(path)], capture_output=True, text=True, check=False, timeout=_READ_WITHIN
        )

    return read
