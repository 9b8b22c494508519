"""What managers are told, and when it was due."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line


class AlertRow(Base):
    """One 今日异常预警 to one manager: the findings as they stood when it was made."""

    __tablename__ = "alert"
    __table_args__ = (UniqueConstraint("manager", "local_day", "kind"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    manager: Mapped[str] = mapped_column(ForeignKey("employee.code"))
    kind: Mapped[str] = mapped_column(Line(20))
    local_day: Mapped[date] = mapped_column(index=True)
    made_at: Mapped[datetime]
    findings: Mapped[list[Any]]


class ScheduleRow(Base):
    """How far a recurring push has been dealt with."""

    __tablename__ = "schedule"
    name: Mapped[str] = mapped_column(Line(40), primary_key=True)
    last_due: Mapped[datetime]


class OccurrenceRow(Base):
    """One due moment of a schedule, dealt with once. `outcome`: made, late."""

    __tablename__ = "occurrence"
    schedule: Mapped[str] = mapped_column(Line(40), primary_key=True)
    local_day: Mapped[date] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(Line(8))
    made_at: Mapped[datetime]
