"""What a store is opened on, and what it says where it cannot be."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy import MetaData, Table
from support.folded import KEY, fold, pair
from support.legs import T0
from support.stored_pairs import matched
from support.stores import OpenStore

from shadowmesh.errors import StoreError
from shadowmesh.store import schema
from shadowmesh.store.database import Database
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import PairFilter, Reader
from shadowmesh.store.schema import VERSION_TABLE
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.store.tables import METADATA, PAIRS, PROCESSORS, TRAITS


def settings_of(url: str) -> StoreSettings:
    return StoreSettings.model_validate({"url": url})


def open_at(url: str, name: str = "one") -> Store:
    return Store.open(settings_of(url), name=name, instance="i", now_ns=1)


def test_the_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store._database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []


_STARTS_WHEN_TOLD = """
import sys
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
Store.open(StoreSettings.model_validate({"url": sys.argv[1]}), name=sys.argv[2], instance="i", now_ns=1).close()
"""


def test_processors_that_start_at_once_make_one_store(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _STARTS_WHEN_TOLD, url, f"processor {n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)] == [(0, "", "")] * 3


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE", "DEFERRED"])
def test_a_file_that_another_process_makes_a_store_of_is_waited_for(lock: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor() as pool:
        other.execute(f"BEGIN {lock}")
        assert other.execute("SELECT * FROM sqlite_schema").fetchall() == []
        opening = pool.submit(open_at, f"sqlite:///{file}")
        with pytest.raises(TimeoutError):
            opening.result(0.3)
        other.execute("COMMIT")
        opening.result(20).close()


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_a_store_of_an_earlier_version_is_upgraded_with_all_it_holds(version: str, url: str, tmp_path: Path) -> None:
    with open_at(f"sqlite:///{tmp_path}/today.db") as today:
        today.add([pair("a"), pair("b", dispatched=1)], now_ns=T0)
        with today.reader.reading() as connection:
            held = {table: connection.execute(table.select()).mappings().all() for table in (PROCESSORS, TRAITS, PAIRS)}
    database = Database(url, create=True)
    config = schema._config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        for table, rows in held.items():
            then = Table(table.name, MetaData(), autoload_with=connection)
            known = [{name: value for name, value in row.items() if name in then.c} for row in rows]
            connection.execute(then.insert(), known)
    database.close()

    with pytest.raises(StoreError, match=f"its schema is {version} and this ShadowMesh reads 4"):
        Reader.open(url)
    with open_at(url) as store:
        assert {stored.record.pair.pair_id for stored in store.reader.pairs(PairFilter())} == {"a", "b"}
        assert fold(store) == 2
        assert EvidenceBook.read(store.reader, now_ns=T0).keys() == [KEY]
        with store.reader.reading() as connection:
            now = Table("pairs", MetaData(), autoload_with=connection)
            assert [column.name for column in now.columns] == [column.name for column in PAIRS.columns]


def test_a_store_of_a_newer_version_is_refused_in_one_clear_line(open_store: OpenStore, url: str) -> None:
    store = open_store()
    with store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '99'")
    for attempt in (lambda: open_store("two"), lambda: Reader.open(url)):
        with pytest.raises(StoreError, match="its schema 99 is newer than this ShadowMesh, which knows up to 4"):
            attempt()


def test_a_file_that_was_copied_without_its_log_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "copy.db").touch()
    with pytest.raises(StoreError, match=r"no store of ShadowMesh is there; of a store that is in use copy the .*-wal"):
        Reader.open(f"sqlite:///{tmp_path}/copy.db")


def test_a_reader_neither_makes_nor_upgrades_a_store(url: str, open_store: OpenStore) -> None:
    if url.startswith("postgresql"):
        with pytest.raises(StoreError, match=r"no store of ShadowMesh is there$"):
            Reader.open(url)
    else:
        with pytest.raises(StoreError, match="there is no store"):
            Reader.open(url)
        assert not Path(url.removeprefix("sqlite:///")).exists()
    store = open_store()
    with store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '4'")
    Reader.open(url).close()


def test_a_reader_cannot_write(open_store: OpenStore) -> None:
    store = open_store()
    with pytest.raises(StoreError), store._database.reading() as connection:
        connection.exec_driver_sql("DELETE FROM pairs")


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear all,\n" * 1000)
    for attempt in (open_at, Reader.open):
        with pytest.raises(StoreError, match="file is not a database") as raised:
            attempt(f"sqlite:///{file}")
        assert not raised.value.retryable
    assert file.read_text() == "Dear all,\n" * 1000


def test_a_store_is_readable_by_its_owner_only_for_it_may_hold_prompts(tmp_path: Path) -> None:
    file = tmp_path / "pairs.db"
    with open_at(f"sqlite:///{file}") as store:
        store.add([matched("a")], now_ns=T0)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"pairs.db": 0o600, "pairs.db-wal": 0o600, "pairs.db-shm": 0o600}


def test_any_path_can_hold_a_store(tmp_path: Path) -> None:
    directory = tmp_path / "100%41 #1 ?x=y é"
    directory.mkdir()
    with open_at(f"sqlite:///{directory}/my pairs.db") as store:
        store.add([matched("a")], now_ns=T0)
    assert [path.name for path in directory.glob("my*")] == ["my pairs.db"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////no/such/directory/pairs.db", "sqlite:////no/such/directory/pairs.db: No such file or directory"),
        ("sqlite:///:memory:", "a store is a file"),
        ("postgresql://ann:s3cret@host:port/pairs", "not a URL"),
        (
            "postgresql://ann:s3cret@127.0.0.1:1/pairs?sslpassword=s3cret&connect_timeout=2",
            "postgresql://ann:***@127.0.0.1:1/pairs?connect_timeout=2: connection",
        ),
    ],
)
def test_what_cannot_be_opened_says_where_and_why_and_no_password(url: str, says: str) -> None:
    with pytest.raises(StoreError) as raised:
        open_at(url)
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["mysql://host/pairs", "pairs.db", "sqlite://", "", "postgresql+asyncpg://host/x"])
def test_a_url_of_nothing_we_know_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ValidationError, match="not a store's URL"):
        settings_of(url)


def test_a_url_is_not_printed_with_the_settings() -> None:
    settings = settings_of("postgresql://ann:s3cret@host/pairs")
    assert "s3cret" not in f"{settings!r} {settings.model_dump_json()}"


def test_a_file_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everything")
    file = tmp_path / "pairs.db"
    with open_at(f"sqlite:///{file}") as store:
        store.add([matched("a")], now_ns=T0)
    file.chmod(0o400)
    reader = Reader.open(f"sqlite:///{file}")
    assert len(list(reader.pairs(PairFilter()))) == 1
    reader.close()


def test_only_what_is_told_to_be_durable_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/pairs.db", create=True)

    def level(*, durable: bool) -> int:
        with database.writing(durable=durable) as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    levels = [level(durable=durable) for durable in (False, True, False)]
    database.close()
    # SQLite's 1 is NORMAL and 2 is FULL.
    assert levels == [1, 2, 1]


def test_the_log_of_sqlite_is_not_kept_when_the_store_is_closed(tmp_path: Path) -> None:
    with open_at(f"sqlite:///{tmp_path}/pairs.db") as store:
        store.add([matched("a")], now_ns=T0)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.db"]
    assert sqlite3.connect(tmp_path / "pairs.db").execute("SELECT count(*) FROM pairs").fetchone() == (1,)
