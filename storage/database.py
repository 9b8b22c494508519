"""Opening the database, and the one way in: `with database.work() as work`, which commits on a clean exit.

On PostgreSQL many transactions, of several processes and machines, run side by side. Where the code relies on being
alone with something it says so (`Work.alone`, `Work.if_free`), and rows that are to be dealt with once are locked.

On SQLite exactly one connection ever writes and checkpoints (storage.shared_commit lets callers in by order of
arrival), a file lock keeps a second process out, and readers are `query_only`. That is fair to many callers, and it
removes the precondition of SQLite's WAL-reset bug (SQLite before 3.51.3 with two writing connections).
"""

import errno
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Executable,
    Select,
    bindparam,
    column,
    event,
    func,
    select,
    table,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from rules.people import Errand, Part, Reach, Scope, system
from storage import scope as walls
from storage.engines import DatabaseMoved, known, lock_file, moved_mark, moved_to, postgres_engine, sqlite_engine
from storage.plans import Plan, Plans
from storage.scope import Dialects, NoScope
from storage.shared_commit import SharedCommit, UndoneWithOthers

AT_A_TIME = 2_000  # rows of a stream that are in memory


# Of what `Work.memo` holds, who somebody is: found out before the scope is known.
_WHO = frozenset({"account", "account of", "employee"})
_SET_SCOPE = (
    "set_config('zoudian.scope', %s, true), set_config('zoudian.who', %s, true), "
    "set_config('zoudian.districts', %s, true)"
)
_IS_THERE: dict[str, Select[Any]] = {
    name: select(column(key)).select_from(table(name)).where(column(key) == bindparam("row_id"))
    for name, key in (("visit", "id"), ("account", "id"), ("outlet", "code"))
}
_WHOSE: Select[Any] = (
    select(column("employee")).select_from(table("account")).where(column("id") == bindparam("row_id"))
)

_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
_SQLITE_TROUBLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)


class Work:
    """One unit of work: one transaction, on behalf of one scope. Only `Database.work` commits it."""

    def __init__(self, connection: Connection, dialects: Dialects, plans: Plans, scope: Scope | None) -> None:
        self.memo: dict[object, Any] = {}  # plain objects this transaction read or wrote, by what they are
        self._connection = connection
        self._dialects, self._plans = dialects, plans
        self._driver: Any = connection.connection.driver_connection
        # Whoever else listens to statements hears of all of them: then none goes past SQLAlchemy.
        self._planned = not walls.overheard(connection)
        self._session: Session | None = None
        self._afterwards: list[Callable[[], None]] = []
        self._told: Scope | None = None  # the scope that PostgreSQL's policies go by
        connection.execution_options(**{walls.WORK: self})
        self._set_scope(scope)

    @property
    def scope(self) -> Scope:
        """On whose behalf this is done. Raises NoScope where nobody was named."""
        if self._scope is None:
            raise NoScope
        return self._scope

    def act_for(self, scope: Scope) -> None:
        """Go on for somebody in particular, once it is known for whom. What was read before is read anew, but for who
        it is: the account and the employee.
        """
        if scope == self._scope:
            return
        if self._session is not None:
            self._session.flush()
            self._session.expunge_all()
        self.memo = {key: known for key, known in self.memo.items() if isinstance(key, tuple) and key[0] in _WHO}
        self._set_scope(scope)

    @contextmanager
    def beyond(self, errand: Errand) -> Iterator[None]:
        """Look beyond the scope for a moment. What was read there is forgotten; its caller hands on what may be known.
        Where the whole firm is in the scope anyway, nothing changes.
        """
        scope = self.scope
        if scope.reach is Reach.ALL:
            yield
            return
        kept = self.memo
        self.memo = dict(kept)
        self._away(errand, Scope(everything=True, who=scope.who))
        try:
            yield
        finally:
            self._away(errand, scope)
            self.memo = kept

    @contextmanager
    def narrowed(self, scope: Scope) -> Iterator[None]:
        """Within what somebody may see, for a moment: a part of the program makes something for them."""
        before = self.scope
        self.act_for(scope)
        try:
            yield
        finally:
            self.act_for(before)

    def _away(self, _errand: Errand, scope: Scope) -> None:
        if self._session is not None:
            self._session.flush()
            self._session.expunge_all()
        self._set_scope(scope)

    def _set_scope(self, scope: Scope | None) -> None:
        self._scope = scope
        self.scope_values = walls.values(scope)
        self._connection.dialect = self._dialects.of(self._connection.engine, None if scope is None else scope.reach)

    def tell_server(self) -> None:
        """Let PostgreSQL's policies know the scope, where they do not yet."""
        if self._told != self._scope and self.dialect == "postgresql":
            self._connection.exec_driver_sql(f"SELECT {_SET_SCOPE}", walls.settings(self._scope))
            self._told = self._scope

    def begin(self) -> None:
        """Tell PostgreSQL the scope together with the beginning of the transaction, in one journey."""
        raw: Any = self._connection.connection.driver_connection
        with raw.pipeline():
            raw.execute(f"SELECT {_SET_SCOPE}", walls.settings(self._scope))
        self._told = self._scope

    def sees(self, table: str, row_id: int | str) -> bool:
        """Whether a visit, an account or an outlet is in the scope; an account that is the own, where that is asked."""
        if table == walls.OWN_ACCOUNT:
            known = self.memo.get(("account", row_id))
            whose = known.employee if known is not None else self._connection.scalar(_WHOSE, {"row_id": row_id})
            return bool(whose == self.scope.who)
        if self.memo.get((table, row_id)) is not None:
            return True
        return self._connection.execute(_IS_THERE[table], {"row_id": row_id}).first() is not None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    @property
    def session(self) -> Session:
        """The object mapper, for what is not done all day: a statement costs it five times as much as `run`."""
        if self._session is None:
            # Its troubles undo this unit of work and not the ones that share a commit with it.
            self._session = Session(self._connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        return self._session

    def run(self, statement: Executable, **values: Any) -> Any:
        """A statement that was built once, with values for its parameters; what it found, as a result of SQLAlchemy or
        as storage.plans.Rows. What the session has not flushed it misses, and objects of the session do not notice
        what it writes: a table is written by the one or the other.
        """
        plan = self._plans.of(statement, self._connection.dialect, tuple(values)) if self._planned else None
        if plan is None:
            return self._connection.execute(statement, values)
        (values,) = self._within(plan, [values])
        return plan.run(self._connection, self._driver, values)

    def stream(self, statement: Executable, **values: Any) -> Iterator[Any]:
        """As `run`, for more rows than fit into memory: they are fetched a part at a time."""
        dialect = self._connection.dialect
        plan = self._plans.of(statement, dialect, tuple(values), at_once=True) if self._planned else None
        if plan is None:
            yield from self._connection.execute(statement.execution_options(yield_per=AT_A_TIME), values)
            return
        (values,) = self._within(plan, [values])
        yield from plan.stream(self._connection, self._driver, values, AT_A_TIME)

    def run_each(self, statement: Executable, rows: list[dict[str, Any]]) -> list[Any]:
        """As `run`, for each of several sets of values, nothing for none; what an INSERT returns."""
        if not rows:
            return []
        names = tuple(rows[0])
        plan = self._plans.of(statement, self._connection.dialect, names) if self._planned else None
        if plan is None or plan.returns or any(row.keys() != rows[0].keys() for row in rows):
            done = self._connection.execute(statement, rows)
            return list(done) if done.returns_rows else []
        plan.run_each(self._connection, self._driver, self._within(plan, rows))
        return []

    def _within(self, plan: Plan, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The values for a plan, looked at and completed as the scope wants it, where it speaks of the firm's data."""
        if not plan.touches:
            return rows
        if plan.changes and self.scope.reach is not Reach.ALL:
            walls.check(self.scope, plan.changes, [plan.given(row) for row in rows], plan.is_insert, self.sees)
        self.tell_server()
        return [{**row, **self.scope_values} for row in rows] if plan.limited else rows

    def forget(self) -> None:
        """Read again what was read: somebody else may have changed it meanwhile, or a statement that names no row."""
        self.memo.clear()
        if self._session is not None:
            self._session.expire_all()

    def alone(self, name: str) -> None:
        """Wait until nobody else is past this point with this name, and keep others from it until the transaction ends.

        On SQLite every transaction that may write is alone anyway.
        """
        if self.dialect != "postgresql":
            return
        if self._told == self._scope:
            self._connection.execute(select(func.pg_advisory_xact_lock(_lock_number(name))))
            return
        both = f"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0)), {_SET_SCOPE}"  # one journey instead of two
        self._connection.exec_driver_sql(both, (name, *walls.settings(self._scope)))
        self._told = self._scope

    def alone_each(self, names: Collection[str]) -> None:
        """As `alone` with each of these names; always in the same order, so that two who want several do not wait for
        each other.
        """
        if self.dialect == "postgresql" and names:
            each = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS wanted (name)"
            self._connection.exec_driver_sql(each, (sorted(set(names)),))

    def if_free(self, name: str) -> bool:
        """As `alone`, but without waiting: False when somebody else is at it."""
        if self.dialect != "postgresql":
            return True
        return bool(self._connection.scalar(select(func.pg_try_advisory_xact_lock(_lock_number(name)))))

    def afterwards(self, call: Callable[[], None]) -> None:
        """Run `call` once the transaction is committed, never if it is rolled back."""
        self._afterwards.append(call)

    def flush(self) -> None:
        """Write what the object mapper still holds back."""
        if self._session is not None:
            self._session.flush()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    def committed(self) -> None:
        for call in self._afterwards:
            call()


INSERTS: dict[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def will_pass(trouble: BaseException) -> bool:
    """Whether it is the machine's trouble and not the message's: a full disk, a database locked or away.

    What met with it is to be tried again as it is, and for as long as it takes; it is no fault to be counted.
    """
    if isinstance(trouble, OSError):
        return trouble.errno in _DISK_TROUBLE
    if isinstance(trouble, OperationalError):
        code = getattr(trouble.orig, "sqlite_errorcode", None)
        return code is None or code & 0xFF in _SQLITE_TROUBLE
    return isinstance(trouble, NoConnection | UndoneWithOthers)


def insert(work: Work, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, as both databases have it. What it did is told by RETURNING; the count of rows
    that a driver gives is -1 on psycopg.
    """
    return INSERTS[work.dialect](table)


def insert_one(work: Work, statement: Executable, **values: Any) -> int:
    """Insert a row into a table that numbers its rows; the number."""
    key = work.run(statement, **values).inserted_primary_key
    assert key is not None  # noqa: S101 - what an INSERT of one row always has
    return int(key[0])


class Database:
    """A firm's database. `url` is an SQLAlchemy URL; for SQLite the folder of the file must exist.

    With `reads_only` nothing can be written, and the file of a running bot may be looked at beside it.
    """

    def __init__(self, url: str, *, reads_only: bool = False) -> None:
        self.url = known(url)
        self.holder = secrets.token_hex(12)  # who this process is to the others; see storage.leases
        self.timed: Callable[[float], None] | None = None  # told the seconds of each transaction that committed
        self._lock = None
        self._closed = False
        self._one_by_one: SharedCommit | None = None
        self._plans, self._dialects = Plans(), Dialects()
        if self.url.get_backend_name() == "sqlite" and reads_only:
            self.writer = self.reader = sqlite_engine(url, reads_only=True)
        elif self.url.get_backend_name() == "sqlite":
            path = Path(str(self.url.database))
            mark = moved_mark(path)
            if mark.exists():
                raise DatabaseMoved(str(mark), moved_to(mark))
            self._lock = lock_file(Path(f"{path}.lock"))
            self.writer = sqlite_engine(url, reads_only=False)
            self.reader = sqlite_engine(url, reads_only=True)
            self._one_by_one = SharedCommit(self.writer)
        else:
            self.writer = postgres_engine(self.url, self.holder)
            self.reader = self.writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            event.listen(self.writer, "checkin", self._back)
            if reads_only:
                self.writer = self.reader
        walls.watch(self.writer)  # and with it the reader, where that is made of it
        if self.reader.pool is not self.writer.pool:
            walls.watch(self.reader)

    @property
    def shared(self) -> bool:
        """Whether other processes may be working on the same database."""
        return self.url.get_backend_name() != "sqlite"

    @contextmanager
    def work(self, scope: Scope | None = None, *, shares: bool = False) -> Iterator[Work]:
        """A transaction that may write; commits when the block ends cleanly, else rolls back. One that takes a few
        milliseconds `shares` its commit with others who come meanwhile, where that spares a wait for the disk.

        Without a scope it is for the post office and the engine room alone: every table that holds the firm's data
        (storage.scope.SCOPED) raises NoScope.
        """
        began = time.perf_counter()
        one_by_one = self._one_by_one
        transaction = self.writer.begin() if one_by_one is None else one_by_one.member(shares=shares)
        with transaction as connection, closing(self.on(connection, scope)) as work:
            if scope is not None and self.shared:
                work.begin()
            yield work
            work.flush()
        if self.timed is not None:
            self.timed(time.perf_counter() - began)
        work.committed()

    @contextmanager
    def read(self, scope: Scope | None = None, *, long: bool = False) -> Iterator[Work]:
        """A consistent look at the database; writing in it is an error. `long`: minutes may pass between queries."""
        with self.reader.begin() as connection, closing(self.on(connection, scope)) as work:
            if scope is not None and self.shared:
                work.begin()
            if long and self.shared:
                connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
            yield work

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The writing connection itself, for migrations: the whole firm, and raw SQL."""
        with self.writer.begin() as connection, closing(self.on(connection, system(Part.CONSOLE))) as work:
            if self.shared:
                work.begin()
            yield connection

    def on(self, connection: Connection, scope: Scope | None) -> Work:
        """A unit of work within a transaction that is open already, which somebody else commits."""
        return Work(connection, self._dialects, self._plans, scope)

    @property
    def version(self) -> str:
        """Which engine this is, for the log."""
        if not self.shared:
            return f"SQLite {sqlite3.sqlite_version}"
        with self.reader.connect() as connection:
            return f"PostgreSQL {connection.exec_driver_sql('show server_version').scalar_one()}"

    def close(self) -> None:
        """A transaction that is still open in some thread goes on to its end."""
        self._closed = True
        self.reader.dispose()
        self.writer.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _back(self, connection: Any, _record: object) -> None:
        """The pool of a closed database keeps what comes back late, and the server would wait for it."""
        if self._closed and connection is not None:
            connection.close()


def _lock_number(name: str) -> Any:
    """PostgreSQL's advisory locks bear numbers of 64 bits."""
    return func.hashtextextended(name, 0)
