"""A statement that was built once is also compiled once: then only the driver runs it.

SQLAlchemy spells the statement, and its types turn values into what the driver takes and back, so both databases are
served as always. Left out is what it does anew for every execution around that: looking up the compiled form, sorting
the parameters, a context and a result with metadata, which cost more than the database does.
"""

import itertools
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Executable, Insert, TextClause
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import CompileError, DBAPIError, MultipleResultsFound, NoResultFound

from storage.scope import DISTRICTS, WHO

_NUMBERS = itertools.count(1)


class Rows:
    """What a plan found: as much of a result as `storage` uses."""

    __slots__ = ("_number", "_rows")

    def __init__(self, rows: list[Any], number: int | None = None) -> None:
        self._rows, self._number = rows, number

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    @property
    def inserted_primary_key(self) -> tuple[int | None]:
        """Of a row inserted into a table that numbers its rows."""
        return (self._number,)

    def all(self) -> list[Any]:
        return self._rows

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Any:
        if len(self._rows) > 1:
            raise MultipleResultsFound
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        found = self.one_or_none()
        if found is None:
            raise NoResultFound
        return found

    def scalar_one_or_none(self) -> Any:
        found = self.one_or_none()
        return None if found is None else found[0]

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._rows]


class Plan:
    """One statement with one set of parameters' names, for one dialect, and with it for one reach (storage.scope).

    `touches`: it speaks of tables of the firm's data; `changes` is the one of them that it writes; `limited`: whose
    scope it is, is among its parameters.
    """

    def __init__(self, statement: Any, dialect: Dialect, names: tuple[str, ...]) -> None:
        """Raises Unplanned for a statement that is spelt anew for each execution."""
        if isinstance(statement, TextClause):  # what it finds is known to the driver alone
            raise Unplanned
        try:
            compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
        except CompileError:
            raise Unplanned from None
        numbered = isinstance(statement, Insert) and not statement._returning
        if compiled.post_compile_params or compiled.literal_execute_params or compiled.insert_prefetch:
            raise Unplanned
        if compiled.update_prefetch or compiled.escaped_bind_names:
            raise Unplanned
        self.sql: str = compiled.string
        self.touches: bool = getattr(compiled, "touches", False)
        self.changes: str = getattr(compiled, "changes", "")
        self.is_insert = isinstance(statement, Insert)
        self._error: type[Exception] = dialect.dbapi.Error  # type: ignore[union-attr]  # an engine has loaded it
        self._given = dict(compiled.params)
        self.limited = WHO in self._given or DISTRICTS in self._given
        if not set(names) <= set(self._given):
            raise Unplanned
        self._order: list[str] | None = list(compiled.positiontup) if compiled.positional else None
        turns = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
            if name in self._given
        }
        self._turns: list[tuple[str, Any]] = [(name, turn) for name, turn in turns.items() if turn is not None]
        self._by_driver = numbered and dialect.name == "sqlite"
        self._by_server = numbered and not self._by_driver
        columns = [] if numbered else list(getattr(statement, "exported_columns", ()))
        keys = [column.key or f"column_{at}" for at, column in enumerate(columns)]  # a function has no name
        if len(set(keys)) != len(keys) or not all(key.isidentifier() and not key.startswith("_") for key in keys):
            raise Unplanned
        self._row: Any = namedtuple("Row", keys, rename=True) if keys else None
        self.returns = bool(keys)
        self._types = [column.type.dialect_impl(dialect) for column in columns]
        self._readers: list[tuple[int, Any]] | None = None  # known once the driver says what it gives

    def given(self, values: dict[str, Any]) -> dict[str, Any]:
        """Every parameter of the statement, those it brings along too."""
        return {**self._given, **values}

    def _turned(self, values: dict[str, Any]) -> dict[str, Any] | list[Any]:
        """Every parameter as the driver takes it."""
        given = {**self._given, **values}
        for name, turn in self._turns:
            given[name] = turn(given[name])
        return given if self._order is None else [given[name] for name in self._order]

    def run_each(self, connection: Connection, driver: Any, rows: list[dict[str, Any]]) -> None:
        """For each of several sets of values, whatever it finds."""
        prepared = [self._turned(values) for values in rows]
        try:
            with closing(driver.cursor()) as cursor:
                cursor.executemany(self.sql, prepared)
        except self._error as trouble:
            self._raise(connection, trouble)

    def run(self, connection: Connection, driver: Any, values: dict[str, Any]) -> Rows:
        try:
            cursor = driver.execute(self.sql, self._turned(values))
            if self._by_driver:
                return Rows([], cursor.lastrowid)
            found = cursor.fetchall() if cursor.description is not None else []
        except self._error as trouble:
            self._raise(connection, trouble)
        if self._by_server:
            return Rows([], found[0][0] if found else None)  # a table may number nothing
        if self._row is None:
            return Rows(found)
        return Rows(self._made(connection, cursor.description, found))

    def stream(self, connection: Connection, driver: Any, values: dict[str, Any], at_a_time: int) -> Iterator[Any]:
        """The rows of a query, so many at a time. On PostgreSQL by a cursor of the server."""
        given = self._turned(values)
        try:
            with closing(driver.cursor(*self._server_side())) as cursor:
                cursor.execute(self.sql, given)
                while found := cursor.fetchmany(at_a_time):
                    yield from self._made(connection, cursor.description, found)
        except self._error as trouble:
            self._raise(connection, trouble)

    def _server_side(self) -> tuple[str, ...]:
        """What makes a cursor one of the server, where there is a server: a name of its own."""
        return () if self._order is not None else (f"rows_{next(_NUMBERS)}",)

    def _made(self, connection: Connection, description: Any, found: list[Any]) -> list[Any]:
        """Rows as SQLAlchemy would give them."""
        row, readers = self._row, self._readers
        if readers is None:
            readers = self._readers = self._found_readers(connection.dialect, description)
        made = []
        for raw in found:
            fields = list(raw)
            for at, read in readers:
                fields[at] = read(fields[at])
            made.append(row._make(fields))
        return made

    def _found_readers(self, dialect: Dialect, description: Any) -> list[tuple[int, Any]]:
        found = [kind.result_processor(dialect, given[1]) for kind, given in zip(self._types, description, strict=True)]
        return [(at, read) for at, read in enumerate(found) if read is not None]

    def _raise(self, connection: Connection, trouble: Exception) -> NoReturn:
        """As SQLAlchemy would, but without the values, which are people's words."""
        error: Any = DBAPIError.instance(self.sql, None, trouble, self._error, dialect=connection.dialect)
        raise error from trouble


class Unplanned(Exception):
    """This statement takes SQLAlchemy's own way."""


class Plans:
    """Those of one database, whose dialects live as long."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, dict[tuple[int, tuple[str, ...]], Plan | None]] = WeakKeyDictionary()

    def of(
        self, statement: Executable, dialect: Dialect, names: tuple[str, ...], *, at_once: bool = False
    ) -> Plan | None:
        """The plan of a statement that comes for the second time; None for others: one that is built anew each time
        would be compiled each time. `at_once`: also the first time, for one that finds very much.
        """
        known = self._known.get(statement)
        if known is None:
            known = self._known[statement] = {}
            if not at_once:
                return None
        key = (id(dialect), names)
        if key not in known:
            try:
                known[key] = Plan(statement, dialect, key[1])
            except Unplanned:
                known[key] = None
        return known[key]
