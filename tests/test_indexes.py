"""Indexes that a version adds are built on PostgreSQL while the version before goes on writing."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy.exc import OperationalError

from bot.cli import main
from storage import indexes
from storage.database import Database
from storage.migrate import current, differences, migrate, migrate_down, newest
from tests import databases
from tests.databases import sqlite_only

BEFORE = "0014"  # the version whose successor adds indexes to the longest tables
ADDED = [
    *("ix_follow_up_to_remind", "ix_inbox_page", "ix_outbox_page", "ix_outbox_waiting", "ix_visit_open"),
    "ix_visit_outlet_opened",
]
WRITE_IN_OUTBOX = (
    "insert into outbox (dedupe_key, channel, chat_ref, intent, body, made_at, due_at, state, tries, provider_id,"
    " error) values (%s, 'telegram', '501', 'reply', '{}', now(), now(), 'sent', 0, '', '')"
)


_BUILDER = (
    " from pg_stat_activity where datname = current_database()"
    " and query like 'CREATE INDEX%' and wait_event_type = 'Lock'"
)
WAITING = f"select pid {_BUILDER}"
BREAK_OFF = f"select pg_cancel_backend(pid) {_BUILDER}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return databases.postgres_url(tmp_path)


@pytest.fixture
def older(url: str) -> Iterator[Database]:
    """A firm as the version before left it."""
    database = Database(url)
    migrate(database)
    migrate_down(database, BEFORE)
    yield database
    database.close()


@contextmanager
def writing(url: str, key: str, *, wait_s: int = 5) -> Iterator[psycopg.Connection]:
    """Writes a message and commits at the end. Raises LockNotAvailable where the writing has to wait longer."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("select set_config('zoudian.scope', 'all', true)")
        connection.execute(f"set local lock_timeout = '{wait_s}s'")
        connection.execute(WRITE_IN_OUTBOX, (key,))
        yield connection


@contextmanager
def stuck_building(database: Database, url: str) -> Iterator[Future[None]]:
    """While somebody has written and not committed, which the building has to wait for."""
    building = threading.Event()
    with ThreadPoolExecutor(1) as pool, writing(url, "held") as held:
        done = pool.submit(migrate, database, tell=lambda name, *_: building.set() if "outbox" in name else None)
        assert building.wait(20)
        while not held.execute(WAITING).fetchall():
            held.execute("select pg_sleep(0.05), pg_stat_clear_snapshot()")
        yield done
        assert done.done() or held.execute(WAITING).fetchall()


def zoudian(url: str, *words: str) -> Result:
    return CliRunner(env={"ZOUDIAN_DATA__URL": url}).invoke(main, words)


def test_a_firm_that_is_there_gets_its_indexes_after_its_tables(older: Database) -> None:
    told: list[tuple[str, int, int]] = []
    migrate(older, tell=lambda name, number, of: told.append((name, number, of)))
    assert told == [(name, number, len(ADDED)) for number, name in enumerate(ADDED, 1)]
    assert current(older) == newest()
    assert differences(older) == []
    assert indexes.lacking(older) == []


def test_messages_are_stored_while_an_index_is_built_over_them(older: Database, url: str) -> None:
    """The building waits for a transaction that began before it, and nobody waits for the building."""
    with stuck_building(older, url) as done:
        for number in range(3):
            with writing(url, f"beside {number}", wait_s=2):
                assert not done.done()
    done.result(timeout=20)
    assert indexes.lacking(older) == []
    with older.connection() as connection:
        assert connection.exec_driver_sql("select count(*) from outbox").scalar_one() == 4


def test_what_a_building_that_was_broken_off_left_is_built_again(older: Database, url: str) -> None:
    with stuck_building(older, url) as done, psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(BREAK_OFF)
        with pytest.raises(OperationalError, match="canceling statement"):
            done.result(timeout=20)
    lacking = indexes.lacking(older)
    assert lacking == ADDED[2:]
    assert current(older) == newest(), "the tables have their new shape, the bot may run"
    looked = zoudian(url, "doctor").output
    assert f"缺 {len(lacking)} 个索引" in looked
    assert "zoudian migrate" in looked
    made = zoudian(url, "migrate")
    assert made.exit_code == 0
    assert f"正在建索引 {lacking[0]}（1/{len(lacking)}）" in made.output
    assert indexes.lacking(older) == []
    assert differences(older) == []


def test_two_processes_do_not_build_side_by_side(older: Database, url: str) -> None:
    with stuck_building(older, url) as done:
        other = Database(url)
        assert not indexes.build(other, indexes.silent)
        assert "另一个走店进程正在建索引" in zoudian(url, "migrate").output
    done.result(timeout=20)
    assert indexes.build(other, indexes.silent)
    other.close()


def test_of_tables_that_a_newer_version_made_an_older_one_leaves_the_indexes_alone(older: Database, url: str) -> None:
    migrate(older)
    with older.connection() as connection:
        connection.exec_driver_sql("drop index ix_visit_open")
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    assert zoudian(url, "migrate").exit_code == 0
    assert "个索引" not in zoudian(url, "doctor").output
    assert indexes.lacking(older) == ["ix_visit_open"]


@sqlite_only
def test_one_process_alone_makes_them_with_its_tables(tmp_path: Path) -> None:
    database = databases.open_migrated(tmp_path)
    migrate_down(database, BEFORE)
    told: list[str] = []
    migrate(database, tell=lambda name, *_: told.append(name))
    assert differences(database) == []
    assert told == indexes.lacking(database) == []
    database.close()
