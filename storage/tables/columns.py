"""What every table is made of: the common base and the kinds of columns."""

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

BigId = BigInteger().with_variant(Integer, "sqlite")


class Utc(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC out, on every database. A naive one is a bug and is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was to be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# As PostgreSQL names what is given no name, so that tables made before there was this convention fit it too.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}


def index_of_some(name: str, *columns: str, where: str) -> Index:
    """An index of those rows alone for which this holds. A statement that it is to serve says so with `spelt_out`."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def spelt_out(column: Any, value: str) -> ColumnElement[bool]:
    """That a column has one of our own words, in the statement itself: PostgreSQL may plan for any value that a
    parameter has, and would leave an index of some rows alone. Raises ValueError for what is no plain word.
    """
    if not (value.isascii() and value.isidentifier()):
        raise ValueError(value)
    return cast("ColumnElement[bool]", column == text(f"'{value}'"))


def storable(value: str | None) -> str | None:
    """A text as both databases can hold it: without NUL."""
    return value.replace("\x00", "") if value and "\x00" in value else value


class Line(TypeDecorator[str]):
    """A short text; its length is told, not held (SQLite does not, and PostgreSQL gains nothing by it).

    NUL, which PostgreSQL's text cannot hold and nobody can see, is left out.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        return dialect.type_descriptor(String() if dialect.name == "postgresql" else String(self.length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return storable(value)


class Words(TypeDecorator[str]):
    """Text of any length, without NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return storable(value)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: Utc(), dict[str, Any]: JSON(), list[Any]: JSON()}  # noqa: RUF012 - SQLAlchemy's form


def plain(row: type[Base]) -> Table:
    """The table itself, for statements that go past the object mapper."""
    return cast(Table, row.__table__)
