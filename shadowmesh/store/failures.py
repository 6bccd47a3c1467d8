"""Errors of a database as ours: what failed, and whether trying again can help."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shadowmesh.errors import StoreError

# Busy, locked, out of memory, interrupted, a disk's error, a full disk, a file that cannot be opened, a lock protocol
# that did not come to an end: all but a damaged or foreign file, and what we did wrong.
_SQLITE_RETRYABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# Connection, serialization and deadlock, resources, not in a state for it, intervention, system.
_POSTGRESQL_RETRYABLE = ("08", "40", "53", "55", "57", "58")
# What a server says that was the primary until just now.
_READ_ONLY = "25006"
# How the errors without a state are called that say that nobody was reached.
_UNREACHED = frozenset({"OperationalError", "InterfaceError"})


def failure(error: Exception, place: str) -> StoreError:
    """
    Return what went wrong at ``place``.

    The text is the driver's first line only: further down PostgreSQL quotes the row.
    """
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return StoreError(f"{place}: {lines[0] if lines else type(cause).__name__}", retryable=_retryable(cause))


def _retryable(cause: BaseException) -> bool:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        # The low byte is the kind, the rest says more of it.
        return int(code) & 0xFF in _SQLITE_RETRYABLE
    state = getattr(cause, "sqlstate", None)
    if state:
        return state == _READ_ONLY or str(state).startswith(_POSTGRESQL_RETRYABLE)
    return isinstance(cause, PoolTimeoutError) or type(cause).__name__ in _UNREACHED
