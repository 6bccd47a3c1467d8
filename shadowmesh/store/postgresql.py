"""PostgreSQL: one database for several processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.pool import QueuePool

from shadowmesh.errors import StoreError
from shadowmesh.store.backend import Backend
from shadowmesh.store.rows import WRITTEN, Row
from shadowmesh.store.tables import PAIRS

_SECRETS = frozenset({"password", "sslpassword", "passfile"})
_CONNECTION = {
    "application_name": "shadowmesh",
    "connect_timeout": "10",
    # A server that is gone without a word is noticed within a minute, not by the two hours of TCP's defaults.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",
}
_LOCK_TIMEOUT = "5s"
# "SMsh"; whoever else uses this database may use advisory locks too.
_ADVISORY_LOCK = 0x534D7368

_COLUMNS = ", ".join(WRITTEN)
_DIALECT = dialect()  # type: ignore[no-untyped-call]
_TYPES = [PAIRS.c[name].type.compile(_DIALECT).lower() for name in WRITTEN]
_STAGE = "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_pairs (LIKE pairs INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
_COPY = f"COPY pg_temp.incoming_pairs ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
# All processors insert in one order, so that none waits for another that waits for it.
_INSERT = (
    f"INSERT INTO pairs ({_COLUMNS}) SELECT {_COLUMNS} FROM pg_temp.incoming_pairs "  # noqa: S608 - no input
    "ORDER BY pair_id, target, experiment, id ON CONFLICT (pair_id, target, experiment) DO NOTHING"
)
_ROW_WIDTH = "SELECT avg(pg_column_size(p)) FROM (SELECT * FROM pairs ORDER BY id DESC LIMIT 200) p"
# A row's header, and its entries in three indexes.
_ROW_OVERHEAD = 240


def _limit_waiting(connection: Any, _: object) -> None:
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    connection.commit()


class PostgreSQL(Backend):
    """
    A store in a PostgreSQL database that is there.

    Raises:
        StoreError: the driver is not installed.
    """

    insert = staticmethod(insert)

    def __init__(self, url: URL) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError("PostgreSQL needs a driver: pip install 'shadowmesh[postgres]'") from error
        self._url = url.set(drivername="postgresql+psycopg")
        shown = {name: value for name, value in url.query.items() if name not in _SECRETS}
        self.place = url.set(query=shown).render_as_string(hide_password=True)
        self.driver_errors = (psycopg.Error,)

    def engine(self, *, writing: bool) -> Engine:
        """Return an engine on the database."""
        engine = create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=1 if writing else 2,
            max_overflow=0 if writing else 8,
            # A reader comes seldom and finds out before, a writer when it fails and tries again.
            pool_pre_ping=not writing,
            hide_parameters=True,
            # A reader sees one state for as long as its transaction is; for a writer each statement sees the newest.
            isolation_level=None if writing else "REPEATABLE READ",
            execution_options={} if writing else {"postgresql_readonly": True},
            connect_args={name: value for name, value in _CONNECTION.items() if name not in self._url.query},
        )
        event.listen(engine, "connect", _limit_waiting)
        return engine

    @contextmanager
    def durable(self, connection: Connection) -> Iterator[None]:  # noqa: ARG002 - all connections are
        """Do nothing: here every commit waits for the disk, unless whoever runs the server has said otherwise."""
        yield

    def alone(self, connection: Connection, *, wait: bool) -> bool:
        """Take an advisory lock."""
        if wait:
            connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            return True
        return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))).scalar())

    def insert_pairs(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Copy them into a table of this connection, and from there insert: parameters cost us four times as much."""
        connection.exec_driver_sql(_STAGE)
        driver: Any = connection.connection.driver_connection
        with driver.cursor().copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        return connection.exec_driver_sql(_INSERT).rowcount

    def used_bytes(self, connection: Connection, rows: int) -> int:
        """Return an estimate from the width of the newest rows."""
        # What is deleted stays in the table's files until it is used again, so their size tells nothing.
        width = connection.exec_driver_sql(_ROW_WIDTH).scalar()
        return rows * (int(width or 0) + _ROW_OVERHEAD)
