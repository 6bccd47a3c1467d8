"""Which errors of a database may pass: real ones, of real databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support.postgresql import Server

from shadowmesh.store.failures import failure


def locked(path: Path) -> None:
    holder, other = (sqlite3.connect(path, timeout=0, isolation_level=None) for _ in range(2))
    holder.execute("BEGIN IMMEDIATE")
    try:
        other.execute("BEGIN IMMEDIATE")
    finally:
        holder.close()
        other.close()


def full(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count=2")
    try:
        connection.executescript("CREATE TABLE one (a); CREATE TABLE two (a);")
    finally:
        connection.close()


def damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    connection = sqlite3.connect(path)
    try:
        connection.execute("SELECT * FROM sqlite_master")
    finally:
        connection.close()


def wrong(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("SELECT * FROM nowhere")
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("provoke", "retryable", "says"),
    [
        (locked, True, "database is locked"),
        (full, True, "database or disk is full"),
        (damaged, False, "file is not a database"),
        (wrong, False, "no such table: nowhere"),
    ],
)
def test_of_sqlite(provoke: Callable[[Path], None], says: str, tmp_path: Path, *, retryable: bool) -> None:
    with pytest.raises(sqlite3.Error) as raised:
        provoke(tmp_path / "pairs.db")
    error = failure(raised.value, "here")
    assert (str(error), error.retryable) == (f"here: {says}", retryable)


@pytest.mark.parametrize(
    ("statement", "retryable"),
    [
        ("SELECT * FROM nowhere", False),
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SET statement_timeout = 1; SELECT pg_sleep(5)", True),
        ("DO $$ BEGIN SET transaction_read_only = on; CREATE TABLE a (b int); END $$", True),
        ("DO $$ BEGIN RAISE deadlock_detected; END $$", True),
        ("DO $$ BEGIN RAISE disk_full; END $$", True),
        ("DO $$ BEGIN RAISE insufficient_privilege; END $$", False),
        ("CREATE TEMP TABLE t (secret text CHECK (secret = '')); INSERT INTO t VALUES ('the prompt')", False),
    ],
)
def test_of_postgresql(server: Server, statement: str, *, retryable: bool) -> None:
    with pytest.raises(psycopg.Error) as raised:
        server.execute(statement)
    error = failure(raised.value, "here")
    assert error.retryable == retryable
    assert str(error).startswith("here: ")
    # It quotes the row, but not in its first line.
    assert "the prompt" not in str(error)


def test_nobody_listening_may_pass() -> None:
    with pytest.raises(psycopg.Error) as raised:
        psycopg.connect("postgresql://127.0.0.1:1/pairs")
    assert failure(raised.value, "here").retryable
