"""
A process that ends with the one that started it, even when that one is killed outright.

The starter holds the other end of our standard input and never writes to it; the kernel closes it when the
starter is gone, whatever took it. As a program this runs any ``shadowmesh`` command that way:
``python -m shadowmesh.cli.demo.leash processor --config FILE``.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading

_GRACE = 15.0
"""Seconds between the polite signal and the end; longer than any drain of ours."""


def end_with_starter() -> None:
    """From now on, end this process when standard input ends: first as by SIGTERM, later without asking."""
    threading.Thread(target=_wait, name="leash", daemon=True).start()


def _wait() -> None:
    # The descriptor itself: a thread inside sys.stdin's lock at exit would abort the interpreter.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(70)


if __name__ == "__main__":
    end_with_starter()
    runpy.run_module("shadowmesh", run_name="__main__", alter_sys=True)
