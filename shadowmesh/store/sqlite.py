"""SQLite: one file, one writer, and readers that never wait for it nor let it wait (WAL)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

from shadowmesh.errors import StoreError
from shadowmesh.store.backend import Backend
from shadowmesh.store.rows import WRITTEN, Row
from shadowmesh.store.tables import CONTENT

_PRAGMAS = {
    # A commit survives the end of the process and waits for no disk. What a power cut takes back, the processor's
    # journal still has: it is cut only behind a checkpoint, and that is committed durably.
    "synchronous": "NORMAL",
    # KiB. The unique index is where pairs land at random if their ids are random, 90 MB at 10^6 pairs: if it does not
    # fit, every insert reads a page. Taken as needed.
    "cache_size": "-131072",
    # Pages, 64 MiB. A checkpoint writes each changed page once, however often it changed since the last one, and at
    # random every insert changes another page of the index: with the default of 1000 it costs a fifth to a third more.
    "wal_autocheckpoint": "16000",
    # What a long reader made the WAL grow to is given back after the next checkpoint.
    "journal_size_limit": str(64 << 20),
}
_READER_PRAGMAS = {"query_only": "ON"}
# For another process to finish writing: one that upgrades the schema, or a second processor.
_BUSY_SECONDS = 5.0
# The driver asks of every value that is neither number nor text whether it, or its class, adapts itself: in vain, and
# with an error raised and dropped inside, a quarter of what storing a pair costs. Told once that these stay as they
# are, it does not ask. That holds for the whole process and changes nothing for anybody.
_UNCHANGED: dict[None, None] = {}
sqlite3.register_adapter(type(None), _UNCHANGED.get)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)

# The driver lets other threads run at each step of a statement and then waits for its turn, 5 ms if they are busy; so
# one statement inserts many rows. SQLite takes 32766 values since 3.32.
_ROWS_AT_ONCE = 64


def _insert(rows: int) -> str:
    row = f"({', '.join('?' * len(WRITTEN))})"
    return (
        f"INSERT INTO pairs ({', '.join(WRITTEN)}) VALUES {', '.join([row] * rows)} "  # noqa: S608 - no input
        "ON CONFLICT (pair_id, target, experiment) DO NOTHING"
    )


_INSERT = {1: _insert(1), _ROWS_AT_ONCE: _insert(_ROWS_AT_ONCE)}


def _keep_wal(connection: sqlite3.Connection) -> str:
    """Let readers see the last commit and block nobody; return the mode the file has now."""
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            # Of all statements this one waits for nobody: it has read before it asks to write. A transaction does.
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")


class SQLite(Backend):
    """
    A store in a file.

    Raises:
        StoreError: the file is not there and shall not be made, or cannot be.
    """

    insert = staticmethod(insert)
    why_empty = "; of a store that is in use copy the file that ends in -wal too"

    def __init__(self, path: str, *, create: bool) -> None:
        if not path or path == ":memory:":
            raise StoreError("a store is a file: sqlite:///path")
        self._path = Path(path).absolute()
        self.place = f"sqlite:///{self._path}"
        if create:
            try:
                # It may come to hold prompts.
                self._path.touch(mode=0o600)
            except OSError as error:
                raise StoreError(f"{self.place}: {error.strerror}") from error
        elif not self._path.is_file():
            raise StoreError(f"{self.place}: there is no store")

    def engine(self, *, writing: bool) -> Engine:
        """Return an engine on the file."""

        def connect() -> sqlite3.Connection:
            # Transactions begin where we say, not where the driver guesses; threads take turns by the pool.
            return sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=rw",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )

        def prepare(connection: sqlite3.Connection, _: object) -> None:
            if writing and _keep_wal(connection) != "wal":
                raise StoreError(f"{self.place}: no WAL here; a network file system cannot hold a store")
            for name, value in (_PRAGMAS if writing else _READER_PRAGMAS).items():
                connection.execute(f"PRAGMA {name}={value}")

        engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=1 if writing else 2,
            max_overflow=0 if writing else 8,
            hide_parameters=True,
        )
        event.listen(engine, "connect", prepare)
        # A deferred transaction that wants to write after it has read fails at once if somebody wrote in between.
        begin = "BEGIN IMMEDIATE" if writing else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    @contextmanager
    def durable(self, connection: Connection) -> Iterator[None]:
        """Flush the log at the end of every transaction, and so all that is in it."""
        # Behind SQLAlchemy's back, which would begin a transaction, inside which this is not heeded.
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            driver.execute("PRAGMA synchronous=NORMAL")

    def alone(self, connection: Connection, *, wait: bool) -> bool:  # noqa: ARG002 - nobody to wait for
        """Return at once: whoever writes is alone."""
        return True

    def insert_pairs(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Insert them by position: SQLAlchemy's insert takes dictionaries, which cost as much again."""
        whole = len(rows) - len(rows) % _ROWS_AT_ONCE
        inserted = 0
        for at in range(0, whole, _ROWS_AT_ONCE):
            values = tuple(chain.from_iterable(rows[at : at + _ROWS_AT_ONCE]))
            inserted += connection.exec_driver_sql(_INSERT[_ROWS_AT_ONCE], values).rowcount
        if rows[whole:]:
            inserted += connection.exec_driver_sql(_INSERT[1], list(rows[whole:])).rowcount
        return inserted

    def used_bytes(self, connection: Connection, rows: int) -> int:  # noqa: ARG002 - it is measured
        """Return the bytes of all pages in use, less those of captured text."""
        size, pages, free = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_size", "page_count", "freelist_count")
        )
        content = connection.execute(select(func.coalesce(func.sum(CONTENT.c.bytes), 0))).scalar_one()
        return max(size * (pages - free) - int(content), 0)
