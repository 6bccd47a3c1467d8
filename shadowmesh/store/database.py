"""
A database that is open: transactions to write and to read in, and its errors as ours.

Writers and readers have connections of their own, and everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from shadowmesh.errors import StoreError
from shadowmesh.store.backend import Backend
from shadowmesh.store.failures import failure
from shadowmesh.store.postgresql import PostgreSQL
from shadowmesh.store.sqlite import SQLite


class Database:
    """
    One database, for as long as it is open.

    Args:
        create: whether a SQLite file may be made; PostgreSQL's databases are made by whoever runs it.

    Raises:
        StoreError: the URL is none of a store, or nothing is there.
    """

    def __init__(self, url: str, *, create: bool) -> None:
        self.backend = _backend(url, create=create)
        self._failures: tuple[type[Exception], ...] = (SQLAlchemyError, *self.backend.driver_errors)
        self._writer = self.backend.engine(writing=True)
        self._reader = self.backend.engine(writing=False)

    @property
    def place(self) -> str:
        """The URL without its secrets."""
        return self.backend.place

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """
        Commit what is done inside as one; roll it back on an error.

        Args:
            durable: whether it has to survive a power cut, and so has all that was committed before.

        Raises:
            StoreError: the database failed; nothing of it is there, unless the connection was lost at the very end.
        """
        with self._translated(), self._writer.connect() as connection:
            if durable:
                with self.backend.durable(connection), connection.begin():
                    yield connection
            else:
                with connection.begin():
                    yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """
        See one state of the database inside, whatever is written meanwhile.

        Raises:
            StoreError: the database failed.
        """
        with self._translated(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; more than once does nothing."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            # The original quotes statements and rows, so it does not hang on ours.
            raise failure(error, self.place) from None


def _backend(url: str, *, create: bool) -> Backend:
    scheme, _, rest = url.partition(":///")
    if scheme == "sqlite":
        # What is behind the slashes is the path, whatever characters it has.
        return SQLite(rest, create=create)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError("not a URL") from None
    if parsed.get_backend_name() != "postgresql":
        raise StoreError("not the URL of a store: sqlite:///path or postgresql://host/database")
    return PostgreSQL(parsed)
