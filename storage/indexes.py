"""Indexes of tables that are long already, on PostgreSQL: built beside whoever writes (CREATE INDEX CONCURRENTLY).

In the transaction that changes the tables a new index would keep everybody from writing into its table until it is
built, for minutes where there are many millions of rows, and WeChat waits for fifteen seconds. So a migration of a
firm that is there already leaves indexes out, and they follow here. Old and new work without them, only slower.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Index
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex

from storage.database import Database
from storage.tables import Base

Tell = Callable[[str, int, int], None]

# Made by an earlier version and of no use any more; dropped once those in their stead are there.
OUTDATED: Final = ("ix_visit_state", "ix_visit_outlet", "ix_follow_up_due")

_BUILDING = 0x5A4F4958  # the number of the lock: any that nobody else uses
_THERE = """
SELECT name.relname, entry.indisvalid FROM pg_index AS entry JOIN pg_class AS name ON name.oid = entry.indexrelid
WHERE name.relnamespace = CAST(current_schema() AS regnamespace)
"""


def lacking(database: Database) -> list[str]:
    """The indexes of this version that are not there, or were not built to their end. On SQLite there are none."""
    if not database.shared:
        return []
    with _alone_with_each_statement(database) as connection:
        return [str(index.name) for index in _lacking(_there(connection))]


def silent(_name: str, _number: int, _of: int) -> None:
    """Tells nobody."""


def build(database: Database, tell: Tell) -> bool:
    """Build what is lacking and drop what is outdated; False, and nothing done, where another process is at it.

    `tell` hears the name of each before it is built, which it is, and of how many.
    """
    if not database.shared:
        return True
    with _alone_with_each_statement(database) as connection:
        # Asked for without waiting: who waits in a statement is somebody that the building waits for in turn.
        if not connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_BUILDING,)).scalar():
            return False
        try:
            _build(connection, tell)
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_BUILDING,))
    return True


def _build(connection: Connection, tell: Tell) -> None:
    there = _there(connection)
    wanted = _lacking(there)
    for number, index in enumerate(wanted, 1):
        tell(str(index.name), number, len(wanted))
        if index.name in there:  # what a building that was broken off leaves behind
            _drop(connection, str(index.name))
        spelt = str(CreateIndex(index).compile(dialect=connection.dialect))
        connection.exec_driver_sql(spelt.replace(" INDEX ", " INDEX CONCURRENTLY ", 1))
    for name in OUTDATED:
        if name in there:
            _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _there(connection: Connection) -> dict[str, bool]:
    """Each index by its name, and whether it can be used."""
    return {name: valid for name, valid in connection.exec_driver_sql(_THERE)}


def _lacking(there: dict[str, bool]) -> list[Index]:
    ours = (index for table in Base.metadata.sorted_tables for index in table.indexes)
    return sorted((one for one in ours if not there.get(str(one.name))), key=lambda index: str(index.name))


@contextmanager
def _alone_with_each_statement(database: Database) -> Iterator[Connection]:
    """A connection without transactions, which these statements want."""
    with database.writer.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection
