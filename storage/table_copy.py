"""Every row of one database into another that is empty, whichever of the two engines each of them is.

One piece of code for three things: moving a firm to PostgreSQL, a backup of PostgreSQL, and restoring one there. Rows
are read and written as plain values; what came out at the other end is read again and compared, table by table, by
the number of rows and by their digest.

What the other engine cannot hold is treated as a running bot would treat it: PostgreSQL's texts hold no NUL, its JSON
no Infinity and NaN. Leases are left behind, they are about processes. Slow work goes through the jobs' seam.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Float,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    null,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from storage import jobs
from storage.database import Work
from storage.engines import as_standard_json
from storage.tables import Base
from storage.tables.columns import plain, storable
from storage.tables.firm import OF_THE_TABLES, RevisionRow
from storage.tables.work import JobRow, LeaseRow

PIECE: Final = 1000  # rows that are in memory at once
JOBS: Final = "job"
_LEFT_BEHIND = (plain(LeaseRow), plain(JobRow))

Progress = Callable[[int, int], object]


class Unfit(Exception):
    """A row that the other database refuses. `detail` is the engine's own word, without anything that people wrote."""

    def __init__(self, table: str, detail: str) -> None:
        super().__init__(table, detail)
        self.table, self.detail = table, detail


class Differs(Exception):
    """What was written is not what was read. The argument names the tables."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: so many rows, with this digest. The order of the rows is no part of it."""

    rows: int = 0
    digest: int = 0

    def with_row(self, row: dict[str, Any]) -> "Content":
        line = json.dumps(list(row.values()), ensure_ascii=False, default=str).encode()
        number = int.from_bytes(hashlib.sha256(line).digest(), "big")
        return Content(self.rows + 1, (self.digest + number) % (1 << 256))


def tables() -> list[Table]:
    """Those that are copied row by row, the ones that others point to first."""
    return [table for table in Base.metadata.sorted_tables if table not in _LEFT_BEHIND]


def filled(work: Work) -> list[str]:
    """The tables that hold anything, slow work among them."""
    found = [
        table.name
        for table in tables()
        if work.run(select(null()).select_from(table).where(*_of_the_firm(table)).limit(1)).first()
    ]
    return [*found, JOBS] if jobs.counts(work) else found


def copy(source: Work, target: Work, progress: Progress = lambda done, total: None) -> dict[str, Content]:
    """Write every row of `source` into `target` and compare; what each table holds, as the target has it.

    Raises Unfit or Differs; then the target's transaction has to be rolled back. Numbers that the target gives to new
    rows go on behind the highest there is.
    """
    total = 2 * sum(_count(source, table) for table in tables())
    done = 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, max(total, done))

    wanted: dict[str, Content] = {}
    for table in tables():
        wanted[table.name] = _copy_table(source, target, table, more)
    kept = jobs.every(source)
    jobs.bring(target, kept)
    found = {table.name: content(target, table, target.dialect, more) for table in tables()}
    wrong = [name for name, one in wanted.items() if found[name] != one]
    if _work(kept) != _work(jobs.every(target)):
        wrong.append(JOBS)
    if wrong:
        raise Differs(", ".join(wrong))
    progress(max(total, done), max(total, done))
    return {**found, JOBS: Content(len(kept))}


def content(work: Work, table: Table, fit_for: str, read: Callable[[int], object] = lambda rows: None) -> Content:
    """A table read to its end; what it holds, as the engine `fit_for` would hold it."""
    held = Content()
    for piece in _pieces(work, table, fit_for):
        for row in piece:
            held = held.with_row(row)
        read(len(piece))
    return held


def _copy_table(source: Work, target: Work, table: Table, more: Callable[[int], object]) -> Content:
    held = Content()
    statement = _insert(table, target.dialect)
    try:
        for piece in _pieces(source, table, target.dialect):
            for row in piece:
                held = held.with_row(row)
            target.run_each(statement, [{f"new_{name}": value for name, value in row.items()} for row in piece])
            more(len(piece))
        if target.dialect == "postgresql":
            _count_on(target, table)
    except (DBAPIError, UnicodeError) as trouble:
        if _connection_is_lost(trouble):
            raise
        raise Unfit(table.name, without_words(trouble)) from None
    return held


def _count(work: Work, table: Table) -> int:
    return int(work.run(select(func.count()).select_from(table).where(*_of_the_firm(table))).scalar_one())


def _of_the_firm(table: Table) -> list[ColumnElement[bool]]:
    """What a row must be to be copied: which program fits the tables is known to whoever made them."""
    return [table.c.name != OF_THE_TABLES] if table is plain(RevisionRow) else []


def _pieces(work: Work, table: Table, fit_for: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table, some at a time, as the engine `fit_for` will hold them."""
    columns = (_read(column, work.dialect) for column in table.columns)
    query = select(*columns).where(*_of_the_firm(table)).execution_options(yield_per=PIECE)
    names = [column.name for column in table.columns]
    fit = [_fit_of(column, fit_for) for column in table.columns]
    with closing(work.run(query)) as result:
        for rows in result.partitions():
            yield [{name: one(value) for name, one, value in zip(names, fit, row, strict=True)} for row in rows]


def _read(column: Column[Any], dialect: str) -> Any:
    """JSON as its text: a column without a value and one with JSON's null stay two things."""
    if not isinstance(column.type, JSON):
        return column
    return cast(column, Text) if dialect == "postgresql" else type_coerce(column, NullType())


def _fit_of(column: Column[Any], dialect: str) -> Callable[[Any], Any]:
    if isinstance(column.type, JSON):
        return _standard if dialect == "postgresql" else _as_text
    if isinstance(column.type, Float):
        return _same if dialect == "postgresql" else _number
    return _text_or_same


def _same(value: Any) -> Any:
    return value


def _text_or_same(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def _number(value: float | None) -> float | None:
    """SQLite has no NaN and stores NULL for it."""
    return None if value is not None and math.isnan(value) else value


def _as_text(value: Any) -> str | None:
    """SQLite makes numbers of a JSON text that is nothing but a number, whole ones of those that are whole."""
    if isinstance(value, str) and value[:1] in "-0123456789" and value:
        value = json.loads(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    return json.dumps(float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value)


def _standard(value: Any) -> str | None:
    """As it is, unless it may hold what only Python's JSON has."""
    made = _as_text(value)
    return as_standard_json(json.loads(made)) if made and ("Infinity" in made or "NaN" in made) else made


def _insert(table: Table, dialect: str) -> Any:
    return insert(table).values({column.name: _new(column, dialect) for column in table.columns})


def _new(column: Column[Any], dialect: str) -> Any:
    if not isinstance(column.type, JSON):
        return bindparam(f"new_{column.name}", type_=column.type)
    value = bindparam(f"new_{column.name}", type_=Text())
    return cast(value, JSON) if dialect == "postgresql" else value


def _count_on(work: Work, table: Table) -> None:
    """New rows are numbered behind the highest that came."""
    column = table.autoincrement_column
    if column is not None:
        highest = select(func.max(column)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        work.run(select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(null()))))


def _work(kept: list[jobs.Kept]) -> list[str]:
    """Slow work as both engines keep it; why a job was set aside is kept by one of them only."""
    return sorted(
        json.dumps([one.id, one.task, one.args, one.lock, one.state, one.tries], sort_keys=True) for one in kept
    )


def _connection_is_lost(trouble: Exception) -> bool:
    return isinstance(trouble, DBAPIError) and trouble.connection_invalidated


def without_words(trouble: Exception) -> str:
    """A driver's sentence may repeat the row; PostgreSQL's first line does not."""
    original = getattr(trouble, "orig", trouble)
    said = getattr(getattr(original, "diag", None), "message_primary", None)
    return str(said or type(original).__name__)


def set_idle_limit_aside(work: Work) -> None:
    """Minutes may pass between two statements, in which the other database is read."""
    if work.dialect == "postgresql":
        work.run(text("set local idle_in_transaction_session_timeout = 0"))
