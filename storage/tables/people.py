"""People's chat accounts, how they came to them, and what they were asked there."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line


class AccountRow(Base):
    """A chat account of a person on one channel, tied to an employee by an invite."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("channel", "user_ref"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(Line(20))
    user_ref: Mapped[str] = mapped_column(Line(120))
    chat_ref: Mapped[str] = mapped_column(Line(120))
    employee: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    language: Mapped[str] = mapped_column(Line(10))
    linked_at: Mapped[datetime]
    reachable: Mapped[bool]
    current_visit: Mapped[int | None] = mapped_column(BigId)
    current_question: Mapped[int | None] = mapped_column(BigId)
    expects: Mapped[dict[str, Any] | None]


class UnreachableRow(Base):
    """Why a chat account cannot be reached, a key under `undelivered.`; gone when its person writes again."""

    __tablename__ = "unreachable"
    account: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"), primary_key=True)
    why: Mapped[str] = mapped_column(Line(40))
    since: Mapped[datetime]


class InviteRow(Base):
    __tablename__ = "invite"
    token_hash: Mapped[str] = mapped_column(Line(64), primary_key=True)
    employee: Mapped[str] = mapped_column(ForeignKey("employee.code"))
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class QuestionRow(Base):
    """What was offered to be tapped, so that a stale or second tap is recognised however late it comes."""

    __tablename__ = "question"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    about: Mapped[str] = mapped_column(Line(20))
    subject: Mapped[int] = mapped_column(BigId)
    step: Mapped[str] = mapped_column(Line(40))
    options: Mapped[list[Any]]
    multi: Mapped[bool]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
