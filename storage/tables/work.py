"""The bot's own work: slow jobs, who is at what, and its access to the platforms."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line, Words


class JobRow(Base):
    """Slow work. `state`: ready, running, dead, dropped (by hand); a finished job is deleted."""

    __tablename__ = "job"
    __table_args__ = (Index("ix_job_due", "state", "run_at"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(Line(40))
    args: Mapped[dict[str, Any]]
    lock: Mapped[str | None] = mapped_column(Line(160), index=True)
    state: Mapped[str] = mapped_column(Line(10))
    run_at: Mapped[datetime]
    tries: Mapped[int]
    error: Mapped[str] = mapped_column(Words)


class LeaseRow(Base):
    """Who is at something that one process alone may do: a person's turns, a chat's messages, polling an account."""

    __tablename__ = "lease"
    name: Mapped[str] = mapped_column(Line(220), primary_key=True)
    holder: Mapped[str] = mapped_column(Line(40), index=True)
    until: Mapped[datetime]


class ApiTokenRow(Base):
    """An access token (or ticket) of a WeChat API, who is fetching the next one until when, and the last failure."""

    __tablename__ = "api_token"
    name: Mapped[str] = mapped_column(Line(160), primary_key=True)
    value: Mapped[str | None] = mapped_column(Words)
    fetched_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    errcode: Mapped[int | None]
    trouble: Mapped[str | None] = mapped_column(Words)
