"""Asking about many at once, however many they are: one parameter in place of one for each."""

import json
from collections.abc import Collection
from typing import Any, Self

from sqlalchemy import ARRAY, Boolean, ColumnElement, String, any_, bindparam, func, literal, select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from storage.database import Work


class _Several(TypeDecorator[Any]):
    """Many values in one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = String
    cache_ok = True

    def __init__(self, kind: TypeEngine[Any]) -> None:
        super().__init__()
        self.kind = kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(self.kind) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))


class one_of(FunctionElement[bool]):
    """As `among`, in a statement that is built once: the values come with each run under this name."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: Any, name: str) -> None:
        super().__init__(column, bindparam(name, type_=_Several(column.type)))

    def self_group(self, against: object = None) -> Self:
        """As it is. Compared with 1, as SQLAlchemy does on SQLite, no index would serve it."""
        return self


@compiles(one_of, "postgresql")
def _array(element: one_of, compiler: Any, **how: Any) -> str:
    column, given = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} = ANY ({given})"


@compiles(one_of, "sqlite")
def _json(element: one_of, compiler: Any, **how: Any) -> str:
    column, given = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({given}))"  # noqa: S608 - what the compiler spelt


def among(work: Work, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """That a column is one of these values. Unlike IN it has no limit (SQLite takes 32,766 parameters), and a statement
    with ten thousand values is made and sent as fast as one with three.
    """
    if work.dialect == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))  # type: ignore[no-any-return]
    listed = func.json_each(literal(json.dumps(list(values)))).table_valued("value")
    return column.in_(select(listed.c.value))  # type: ignore[no-any-return]
