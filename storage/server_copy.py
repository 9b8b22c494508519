"""PostgreSQL in and out of a backup. An archive holds a SQLite file whichever engine it was made from: as tables that
need no server and no `pg_dump` to be looked into, that every later version can bring up by its migrations, and that
either engine can be restored from.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from rules.people import Part, system
from storage import table_copy
from storage.database import Database
from storage.engines import remove_sqlite
from storage.migrate import migrate
from storage.move import check_revision, empty_place
from storage.table_copy import Progress


def dump(database: Database, copy: Path, progress: Progress) -> None:
    """Write a PostgreSQL database into the SQLite file `copy`, as it was in one moment while bots write on.

    Raises OtherRevision where the tables are not those of this version, table_copy.Unfit, table_copy.Differs.
    """
    check_revision(database)
    try:
        with closing(Database(f"sqlite:///{copy}")) as made:
            migrate(made)
            with database.read(system(Part.CONSOLE), long=True) as source, made.work(system(Part.CONSOLE)) as target:
                table_copy.copy(source, target, progress)
        _as_one_file(copy)
    finally:
        for suffix in ("-wal", "-shm", ".lock"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def fill(arriving: Path, database: Database, progress: Progress) -> None:
    """Write the SQLite file of an archive into an empty PostgreSQL database; all of it or nothing. The file is brought
    to this version and is gone afterwards.

    Raises move.NotEmpty, move.InUse, move.OtherRevision, table_copy.Unfit, table_copy.Differs.
    """
    try:
        with closing(Database(f"sqlite:///{arriving}")) as held:
            migrate(held)
            with held.read(system(Part.CONSOLE)) as source, empty_place(database) as target:
                table_copy.copy(source, target, progress)
    finally:
        remove_sqlite(arriving)


def _as_one_file(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as made:
        made.execute("PRAGMA journal_mode=DELETE")
