"""The firm's own lists, as they are imported, and what is said of the firm as a whole."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line, Words


class EmployeeRow(Base):
    __tablename__ = "employee"
    code: Mapped[str] = mapped_column(Line(40), primary_key=True)
    name: Mapped[str] = mapped_column(Line(80), index=True)
    role: Mapped[str] = mapped_column(Line(20))
    districts: Mapped[list[Any]]
    manager: Mapped[str | None] = mapped_column(Line(40))
    active: Mapped[bool]
    wecom: Mapped[str] = mapped_column(Line(64), index=True, server_default="")


class OutletRow(Base):
    __tablename__ = "outlet"
    __table_args__ = (Index("ix_outlet_place", "lat", "lon"),)
    code: Mapped[str] = mapped_column(Line(40), primary_key=True)
    name: Mapped[str] = mapped_column(Line(120), index=True)
    kind: Mapped[str] = mapped_column(Line(40))
    district: Mapped[str] = mapped_column(Line(40), index=True)
    address: Mapped[str] = mapped_column(Words)
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    rep: Mapped[str | None] = mapped_column(ForeignKey("employee.code"), index=True)
    first_contact_on: Mapped[date | None]
    delivery: Mapped[str] = mapped_column(Words)
    aliases: Mapped[list[Any]]
    created_by_visit: Mapped[int | None] = mapped_column(BigId)


class ProductRow(Base):
    __tablename__ = "product"
    code: Mapped[str] = mapped_column(Line(40), primary_key=True)
    name: Mapped[str] = mapped_column(Line(120))
    aliases: Mapped[list[Any]]
    line: Mapped[str] = mapped_column(Line(40))
    spec: Mapped[str] = mapped_column(Line(80))
    units: Mapped[list[Any]]
    price_fen: Mapped[int | None]
    is_new: Mapped[bool]


class CompetitorRow(Base):
    __tablename__ = "competitor"
    name: Mapped[str] = mapped_column(Line(80), primary_key=True)
    line: Mapped[str] = mapped_column(Line(40))


OF_THE_TABLES = "oldest program"  # the row of `revision` that tells of the tables themselves: storage.migrate


class RevisionRow(Base):
    """How often something that others keep ready in memory was changed; see storage.firm.revision."""

    __tablename__ = "revision"
    name: Mapped[str] = mapped_column(Line(20), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class SimulatedRow(Base):
    """That this is a made-up firm and no real one: what it was made from, and whether it was written to its end."""

    __tablename__ = "simulated"
    name: Mapped[str] = mapped_column(Line(20), primary_key=True)
    plan: Mapped[dict[str, Any]]
    begun_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
