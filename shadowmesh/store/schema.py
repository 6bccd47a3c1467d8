"""The version of a database's tables: made and upgraded when a store is opened, and only looked at by readers."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shadowmesh.errors import StoreError
from shadowmesh.store.database import Database

VERSION_TABLE = "shadowmesh_schema"

_MIGRATIONS = Path(__file__).parent / "migrations"
# Alembic hands what runs a migration to it by a global variable.
_ONE_AT_A_TIME = threading.Lock()
_LOG = logging.getLogger("shadowmesh")


def upgrade(database: Database) -> None:
    """
    Bring the tables to the version of this code, in one transaction.

    Raises:
        StoreError: a newer ShadowMesh has made them.
    """
    with _ONE_AT_A_TIME, database.writing() as connection:
        database.backend.alone(connection, wait=True)
        version, ours = _version(connection), _ours()
        if version == ours:
            return
        _refuse_newer(version, database.place)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    if version:
        _LOG.info("%s: schema %s, now %s", database.place, version, ours)


def require_current(database: Database) -> None:
    """
    Check that the tables are of the version of this code.

    Raises:
        StoreError: there are none, or they are older or newer.
    """
    with database.reading() as connection:
        version = _version(connection)
    if version is None:
        raise StoreError(f"{database.place}: no store of ShadowMesh is there{database.backend.why_empty}")
    _refuse_newer(version, database.place)
    if version != _ours():
        raise StoreError(
            f"{database.place}: its schema is {version} and this ShadowMesh reads {_ours()}: "
            "start a processor of this version on it once"
        )


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _ours() -> str:
    head = _scripts().get_current_head()
    if head is None:
        raise StoreError("the migrations are missing from this installation")
    return head


def _refuse_newer(version: str | None, place: str) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if version is not None and version not in known:
        raise StoreError(f"{place}: its schema {version} is newer than this ShadowMesh, which knows up to {_ours()}")


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    # The configuration is an ini file by nature, and takes a per cent sign for an interpolation.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
