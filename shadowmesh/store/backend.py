"""What SQLite and PostgreSQL do differently: one interface, implemented in ``sqlite`` and in ``postgresql``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Engine, Table

from shadowmesh.store.rows import Row


class Backend(ABC):
    """One database of one kind."""

    place: str
    """Its URL without secrets, for people."""
    why_empty: str = ""
    """Why one may be without tables that had some, for people; a clause with what parts it from those before."""
    driver_errors: tuple[type[Exception], ...] = ()
    """What its driver raises where SQLAlchemy is not between."""
    insert: Callable[[Table], Any]
    """Makes an INSERT that knows ON CONFLICT."""

    @abstractmethod
    def engine(self, *, writing: bool) -> Engine:
        """Return an engine for writing, with one connection, or for reading."""

    @abstractmethod
    def durable(self, connection: Connection) -> AbstractContextManager[None]:
        """Let transactions that begin inside be on the disk when they have ended."""

    @abstractmethod
    def alone(self, connection: Connection, *, wait: bool) -> bool:
        """
        Be the only one who upgrades or sweeps, until the transaction ends; return whether it came to that.

        Args:
            wait: whether to wait for another one, which takes moments.
        """

    @abstractmethod
    def insert_pairs(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Insert the rows whose pair is not there yet, and return how many these were."""

    @abstractmethod
    def used_bytes(self, connection: Connection, rows: int) -> int:
        """Return about how many bytes the pairs take, content aside, of which there are so many rows."""
