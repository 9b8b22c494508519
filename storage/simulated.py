"""Writing a made-up firm in bulk: COPY on PostgreSQL, many rows a statement on SQLite, indexes built at the end.

Rows come as tuples in the order of COLUMNS: moments as text in UTC ("2026-11-20 02:15:00.000000"), days as ISO text,
JSON as text. Both databases read these as they are. A row of `simulated` says that it is no real firm, and whether it
was written to its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.schema import AddConstraint, CreateIndex, DropConstraint, DropIndex

from rules.people import Part, system
from storage import table_copy
from storage.database import Database, Work
from storage.photo_pieces import PIECES
from storage.scope import SCOPED
from storage.tables import Base
from storage.tables.columns import plain
from storage.tables.firm import SimulatedRow
from storage.tables.managers import AlertRow, OccurrenceRow, ScheduleRow
from storage.tables.people import AccountRow, QuestionRow
from storage.tables.post import OutboxRow
from storage.tables.visits import FollowUpRow

_NAME = "firm"
_MARK = plain(SimulatedRow)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "employee": ("code", "name", "role", "districts", "manager", "active", "wecom"),
    "outlet": (
        *("code", "name", "kind", "district", "address", "lat", "lon", "rep", "first_contact_on", "delivery"),
        *("aliases", "created_by_visit"),
    ),
    "product": ("code", "name", "aliases", "line", "spec", "units", "price_fen", "is_new"),
    "competitor": ("name", "line"),
    "account": ("id", "channel", "user_ref", "chat_ref", "employee", "language", "reachable", "linked_at"),
    "visit": (
        *("id", "rep", "outlet", "state", "outcome", "opened_at", "touched_at", "left_at", "closed_at", "local_day"),
        *("grade", "reasons", "answers", "late_entry"),
    ),
    "place": (
        *("id", "rep", "at", "lat", "lon", "raw_lat", "raw_lon", "datum", "kind", "accuracy_m", "fixed_at", "inbox"),
    ),
    "photo": (
        *("id", "rep", "visit", "at", "file", "mime", "width", "height", "taken_at", "taken_lat", "taken_lon"),
        *("phash", "phash_quality", "same_as", "inbox"),
    ),
    "photo_pieces": ("photo", "at", *(f"piece_{number}" for number in range(PIECES))),
    "note": (
        *("id", "rep", "visit", "at", "file", "mime", "seconds", "state", "text", "confidence", "engine", "channel"),
        *("channel_text", "heard_at", "inbox"),
    ),
    "visit_change": ("id", "visit", "account", "inbox", "at", "before", "after", "undone_at"),
    "confirmation": (
        *("id", "change", "visit", "rep", "at", "field", "item", "rule", "proposed", "confirmed", "verdict", "quote"),
        "confidence",
    ),
    "follow_up": (
        *("id", "rep", "outlet", "visit", "first", "last", "time", "quote", "what", "state", "remind_at"),
        *("reminded_at", "made_by_itself", "ended_at", "postponed"),
    ),
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a made-up firm was made from; `complete` is false where writing it was broken off."""

    plan: dict[str, Any]
    complete: bool


def simulated(work: Work) -> Simulated | None:
    """What the database says of itself; None for one that holds no made-up firm."""
    row = work.run(select(_MARK).where(_MARK.c.name == _NAME)).one_or_none()
    return None if row is None else Simulated(dict(row.plan), row.completed_at is not None)


def empty(work: Work) -> bool:
    """Whether there is not a single row in any table of ours."""
    return not table_copy.filled(work)


def begin(database: Database, plan: dict[str, Any], now: datetime) -> None:
    """Mark an empty database as a made-up firm that is not whole yet, and take away what slows writing down."""
    with database.work(system(Part.CONSOLE)) as work:
        work.run(insert(_MARK), name=_NAME, plan=plan, begun_at=now, completed_at=None)
    with database.connection() as connection:
        for table in _written():
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(DropIndex(index))
            if database.shared:
                for reference in table.foreign_key_constraints:
                    connection.execute(DropConstraint(reference))
                if table.name in SCOPED:  # COPY is refused where row-level security binds who copies
                    connection.execute(text(f"ALTER TABLE {table.name} NO FORCE ROW LEVEL SECURITY"))


def write(database: Database, rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> None:
    """Rows by table, all of them or, where this fails, none."""
    with database.connection() as connection:
        raw: Any = connection.connection.driver_connection
        for table, given in rows.items():
            if not given:
                continue
            columns = ", ".join(f'"{column}"' for column in COLUMNS[table])
            if database.shared:
                with raw.cursor() as cursor, cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN') as copy:
                    for row in given:
                        copy.write_row(row)
            else:
                marks = ", ".join("?" * len(COLUMNS[table]))
                # The names are those of COLUMNS above; what is written is bound.
                raw.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', given)  # noqa: S608


def finishing(database: Database) -> list[tuple[str, str]]:
    """What is still to be built when every row is there, each with a name and its SQL, for `finish`."""
    dialect = database.writer.dialect
    made = [
        (str(index.name), str(CreateIndex(index).compile(dialect=dialect)))
        for table in _written()
        for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    if database.shared:
        made += [
            (f"{table.name} → {reference.referred_table.name}", str(AddConstraint(reference).compile(dialect=dialect)))
            for table in _written()
            for reference in table.foreign_key_constraints
        ]
        made += [
            (
                f"{table}.id",
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) + 1 FROM \"{table}\"))",  # noqa: S608
            )
            for table, columns in COLUMNS.items()
            if columns[0] == "id"
        ]
        made += [
            (f"{table.name}: security", f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY")
            for table in _written()
            if table.name in SCOPED
        ]
    return [*made, ("analyze", "ANALYZE")]


def finish(database: Database, statement: str) -> None:
    """Build one thing of `finishing`."""
    with database.connection() as connection:
        if database.shared:
            connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        connection.exec_driver_sql(statement)


def complete(database: Database, now: datetime) -> None:
    """Say that the firm is whole."""
    with database.work(system(Part.CONSOLE)) as work:
        work.run(update(_MARK).where(_MARK.c.name == _NAME).values(completed_at=now))


def forget_pushes(work: Work, since: datetime) -> None:
    """Take back what driving the bot over a made-up firm has pushed, so that it can be driven again."""
    for row in (OutboxRow, QuestionRow, AlertRow, OccurrenceRow, ScheduleRow):
        work.run(delete(plain(row)))
    work.run(update(plain(AccountRow)).values(current_question=None))
    todo = plain(FollowUpRow)
    work.run(update(todo).where(todo.c.reminded_at >= since, todo.c.state == "open").values(reminded_at=None))


def _tables() -> list[Any]:
    return Base.metadata.sorted_tables


def _written() -> list[Any]:
    return [table for table in _tables() if table.name in COLUMNS]


def server_process(work: Work) -> int:
    """The number of the server's process that serves this transaction, on PostgreSQL."""
    return int(work.run(select(func.pg_backend_pid())).scalar_one())
