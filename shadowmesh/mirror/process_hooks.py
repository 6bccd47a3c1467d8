"""
What becomes of whatever is open in a process when that ends or forks, whether its program thinks of it or not.

A program that forgets to close is drained at exit, and a forked process begins anew. Nothing is kept open by it: what
nobody holds any more has nothing running.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import Protocol


class Open(Protocol):
    """What can be open."""

    def close(self) -> None:
        """End it, exporting what waits."""

    def forked(self) -> None:
        """Forget what runs, in a forked process."""


_OPEN: weakref.WeakSet[Open] = weakref.WeakSet()
_hooked: set[int] = set()


def opened(one: Open) -> None:
    """Take care of ``one`` from now on."""
    _OPEN.add(one)
    if os.getpid() not in _hooked:
        _hooked.add(os.getpid())
        _drain_with_multiprocessing()


def closed(one: Open) -> None:
    """Leave ``one`` alone: it has ended."""
    _OPEN.discard(one)


@atexit.register
def _drain_at_exit() -> None:
    for one in tuple(_OPEN):
        try:
            one.close()
        except Exception as error:
            logging.getLogger("shadowmesh").warning("draining at exit failed: %s", error)


def _drain_with_multiprocessing() -> None:
    """Drain a process that ``multiprocessing`` has forked, too: it ends without what is registered at exit."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _drain_at_exit, exitpriority=0)


def _after_fork() -> None:
    for one in tuple(_OPEN):
        one.forked()


os.register_at_fork(after_in_child=_after_fork)
