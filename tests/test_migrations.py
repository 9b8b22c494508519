"""Migrations: the tables they make are those of storage.tables, and they walk up, down and up with data in them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect
from sqlalchemy.exc import IntegrityError

import storage.migrate
from rules.people import Employee, Role
from rules.visit import Visit
from storage import people, visits
from storage.database import Database
from storage.migrate import SCRIPTS, BrokenReferences, MadeByNewer, current, differences, migrate, migrate_down, newest
from storage.tables.visits import PlaceRow
from tests.databases import WHOLE, open_database

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REP = Employee("E101", "王建", Role.REP, ("柯桥区",))

NEWEST = newest()

# The next shape: one that remakes a table others point to, as the next release may have to.
WIDER_NAMES = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "NEWEST"

def upgrade():
    with op.batch_alter_table("employee") as employee:
        employee.alter_column("name", type_=sa.String(160))
        employee.add_column(sa.Column("phone", sa.String(20), nullable=False, server_default=""))

def downgrade():
    with op.batch_alter_table("employee") as employee:
        employee.drop_column("phone")
        employee.alter_column("name", type_=sa.String(80))
"""
FORGETFUL = """
from alembic import op

revision, down_revision = "9999", "NEWEST"

def upgrade():
    op.execute("delete from employee")

def downgrade():
    pass
""".replace("NEWEST", str(NEWEST))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def with_next(tmp_path: Path, script: str) -> Path:
    scripts = tmp_path / "100% scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_next.py").write_text(script.replace("NEWEST", str(NEWEST)))
    return scripts


def save_a_visit(database: Database) -> int:
    with database.work(WHOLE) as work:
        people.save_employees(work, [REP])
        return visits.add(work, Visit(REP.code, NOW), "Asia/Shanghai")


def test_migrations_make_the_tables_of_this_version(database: Database) -> None:
    migrate(database)
    assert differences(database) == []
    assert current(database) == NEWEST


def test_a_difference_is_seen(database: Database) -> None:
    migrate(database)
    with database.connection() as connection:
        connection.exec_driver_sql("alter table employee add column phone varchar(20)")
    assert len(differences(database)) == 1


def test_a_database_that_is_there_already_is_not_touched(database: Database) -> None:
    assert current(database) is None
    migrate(database)
    visit = save_a_visit(database)
    migrate(database)
    with database.read(WHOLE) as work:
        assert visits.load(work, visit) is not None


def test_up_down_up_and_nothing_is_left_between(database: Database) -> None:
    migrate(database)
    save_a_visit(database)
    migrate_down(database)
    with database.connection() as connection:
        left = set(inspect(connection).get_table_names())
    assert left == {"alembic_version"}
    migrate(database)
    assert differences(database) == []
    save_a_visit(database)


def test_a_table_others_point_to_is_remade_with_its_data_both_ways(database: Database, tmp_path: Path) -> None:
    scripts = with_next(tmp_path, WIDER_NAMES)
    migrate(database)
    visit = save_a_visit(database)
    for down in (False, True, False, True):
        if down:
            migrate_down(database, str(NEWEST), scripts)
        else:
            migrate(database, scripts)
        with database.read(WHOLE) as work:
            assert people.employee(work, REP.code) == REP
            assert visits.load(work, visit) == Visit(REP.code, NOW, id=visit)
    assert current(database) == NEWEST
    assert differences(database) == []


def test_a_database_of_the_first_release_is_brought_up_with_its_visits(database: Database) -> None:
    migrate(database)
    visit = save_a_visit(database)
    migrate_down(database, "0001")
    assert current(database) == "0001"
    migrate(database)
    with database.read(WHOLE) as work:
        assert visits.load(work, visit) == Visit(REP.code, NOW, id=visit)
    assert differences(database) == []


def test_a_database_that_a_newer_version_only_widened_is_worked_on_as_it_is(database: Database, tmp_path: Path) -> None:
    """During an upgrade a process of the version before may have to start again."""
    migrate(database)
    visit = save_a_visit(database)
    migrate(database, with_next(tmp_path, WIDER_NAMES))
    migrate(database)
    assert current(database) == "9999"
    with database.read(WHOLE) as work:
        assert visits.load(work, visit) is not None
    with database.work(WHOLE) as work:
        people.save_employees(work, [replace(REP, name="王建二")])


def test_a_database_that_a_newer_version_made_narrower_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database)
    save_a_visit(database)
    with monkeypatch.context() as newer:
        newer.setattr(storage.migrate, "OLDEST_PROGRAM", 9999)
        migrate(database, with_next(tmp_path, WIDER_NAMES))
    with pytest.raises(MadeByNewer, match="9999"):
        migrate(database)
    with database.read(WHOLE) as work:
        assert people.employee(work, REP.code) == REP


def test_references_are_checked_again_after_a_migration(database: Database) -> None:
    migrate(database)
    with database.connection() as connection:
        nobodys = insert(PlaceRow).values(
            rep="E999", at=NOW, lat=30.0, lon=120.0, raw_lat=30.0, raw_lon=120.0, datum="wgs84", kind="live"
        )
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"), connection.begin_nested():
            connection.execute(nobodys)


def test_a_migration_that_orphans_rows_is_rolled_back(database: Database, tmp_path: Path) -> None:
    migrate(database)
    visit = save_a_visit(database)
    with pytest.raises(BrokenReferences, match="visit"):
        migrate(database, with_next(tmp_path, FORGETFUL))
    assert current(database) == NEWEST
    with database.read(WHOLE) as work:
        assert people.employee(work, REP.code) == REP
        assert visits.load(work, visit) is not None


def test_the_files_are_named_in_the_order_of_their_revisions() -> None:
    """By their names alone a start knows that there is nothing to do."""
    assert sorted(path.name for path in (SCRIPTS / "versions").glob("0*.py"))[-1].startswith(f"{NEWEST}_")
