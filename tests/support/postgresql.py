"""Debian's PostgreSQL, started for a test run in a directory of its own, on a unix socket that nobody else finds."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

_BINARIES = Path("/usr/lib/postgresql")
_START_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.05
# What a test run stores need not survive it.
_OPTIONS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "listen_addresses=", "-c", "max_connections=50")


def find() -> Path | None:
    """Return the directory of the newest server's programs, ``None`` where there is no server."""
    found = [path.parent for path in _BINARIES.glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Server:
    """A running server; each database of it is empty and of one test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)

    def new_database(self) -> str:
        """Make a database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={quote(str(self._directory), safe='')}"

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement and return its rows."""
        with psycopg.connect(
            host=str(self._directory), user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """Run a server; it refuses to be root's, so for root it is somebody else's."""
    # Short, because a socket's path has at most 107 bytes; pytest's directories are not.
    directory = Path(tempfile.mkdtemp(prefix="shadowmesh-pg-"))
    user = _somebody() if os.getuid() == 0 else None
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)
    account: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    log = directory / "log"
    try:
        data = directory / "data"
        initdb = (binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        subprocess.run(initdb, check=True, capture_output=True, cwd=directory, timeout=_START_SECONDS, **account)
        with log.open("wb") as written:
            arguments = (binaries / "postgres", "-D", data, "-k", directory, *_OPTIONS)
            process = subprocess.Popen(arguments, stdout=written, stderr=written, cwd=directory, **account)
        try:
            server = Server(directory)
            _await(server, process, log)
            yield server
        finally:
            # A fast shutdown: whoever is still connected is thrown out.
            process.send_signal(2)
            process.wait(_START_SECONDS)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no user to run PostgreSQL as")


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-2000:]}") from error
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return
