"""Visits, their evidence and what follows from them."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line, Words, index_of_some


class VisitRow(Base):
    __tablename__ = "visit"
    __table_args__ = (
        Index("ix_visit_rep_day", "rep", "local_day"),
        Index("ix_visit_rep_opened", "rep", "opened_at"),
        Index("ix_visit_outlet_opened", "outlet", "opened_at"),
        Index("ix_visit_day", "local_day", "opened_at"),
        # What is open only: a few rows of each rep, however long the history.
        index_of_some("ix_visit_open", "rep", where="state = 'open'"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"))
    outlet: Mapped[str | None] = mapped_column(ForeignKey("outlet.code"))
    state: Mapped[str] = mapped_column(Line(10))
    outcome: Mapped[str | None] = mapped_column(Line(10))
    opened_at: Mapped[datetime]
    touched_at: Mapped[datetime | None]
    left_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    local_day: Mapped[date]
    grade: Mapped[str | None] = mapped_column(Line(14))
    reasons: Mapped[list[Any]]
    answers: Mapped[dict[str, Any]]
    late_entry: Mapped[bool]


class VisitChangeRow(Base):
    """What one message changed in one visit, before and after: the history, and what 撤销 goes back by."""

    __tablename__ = "visit_change"
    __table_args__ = (
        # What was taken back only: a few rows, asked for by whoever counts what still holds.
        index_of_some("ix_visit_change_undone", "id", where="undone_at IS NOT NULL"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    visit: Mapped[int] = mapped_column(ForeignKey("visit.id"), index=True)
    account: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    inbox: Mapped[int | None] = mapped_column(BigId)
    at: Mapped[datetime]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any]]
    undone_at: Mapped[datetime | None]


class ConfirmationRow(Base):
    """What became of one proposed item when a message settled it. `verdict`: see rules.confirmations.

    It holds while its change holds: 撤销 marks the change, and with it these rows.
    """

    __tablename__ = "confirmation"
    __table_args__ = (Index("ix_confirmation_rule", "field", "rule", "verdict", "id"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    change: Mapped[int] = mapped_column(ForeignKey("visit_change.id"), index=True)
    visit: Mapped[int] = mapped_column(ForeignKey("visit.id"), index=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    field: Mapped[str] = mapped_column(Line(20))
    item: Mapped[int]
    rule: Mapped[str] = mapped_column(Line(120))
    proposed: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=False)
    confirmed: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    verdict: Mapped[str] = mapped_column(Line(12))
    quote: Mapped[str] = mapped_column(Words)
    confidence: Mapped[float]


class PlaceRow(Base):
    __tablename__ = "place"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    at: Mapped[datetime]
    lat: Mapped[float]
    lon: Mapped[float]
    raw_lat: Mapped[float]
    raw_lon: Mapped[float]
    datum: Mapped[str] = mapped_column(Line(8))
    kind: Mapped[str] = mapped_column(Line(12))
    accuracy_m: Mapped[float | None]
    fixed_at: Mapped[datetime | None]
    inbox: Mapped[int | None] = mapped_column(BigId)


class PhotoRow(Base):
    __tablename__ = "photo"
    __table_args__ = (
        # What was used before only: a few rows.
        index_of_some("ix_photo_used", "visit", where="same_as IS NOT NULL"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    visit: Mapped[int | None] = mapped_column(ForeignKey("visit.id"), index=True)
    at: Mapped[datetime]
    file: Mapped[str] = mapped_column(Line(80), index=True)
    mime: Mapped[str] = mapped_column(Line(40))
    width: Mapped[int]
    height: Mapped[int]
    taken_at: Mapped[datetime | None]
    taken_lat: Mapped[float | None]
    taken_lon: Mapped[float | None]
    phash: Mapped[str] = mapped_column(Line(64))
    phash_quality: Mapped[int]
    same_as: Mapped[int | None] = mapped_column(BigId)
    inbox: Mapped[int | None] = mapped_column(BigId)


class PhotoPiecesRow(Base):
    """The fingerprint of a photo in pieces, each with an index; see storage.photo_pieces."""

    __tablename__ = "photo_pieces"
    photo: Mapped[int] = mapped_column(
        ForeignKey("photo.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, type_=BigId
    )
    at: Mapped[datetime]
    piece_0: Mapped[int] = mapped_column(index=True)
    piece_1: Mapped[int] = mapped_column(index=True)
    piece_2: Mapped[int] = mapped_column(index=True)
    piece_3: Mapped[int] = mapped_column(index=True)
    piece_4: Mapped[int] = mapped_column(index=True)
    piece_5: Mapped[int] = mapped_column(index=True)
    piece_6: Mapped[int] = mapped_column(index=True)
    piece_7: Mapped[int] = mapped_column(index=True)
    piece_8: Mapped[int] = mapped_column(index=True)
    piece_9: Mapped[int] = mapped_column(index=True)


class NoteRow(Base):
    """A voice note or typed summary. `state`: waiting (to be heard), heard, unsure, silent, broken, no_model, typed.

    `channel_text`: what `channel` itself recognised, as it came; `engine` says whether that is the text.
    """

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    visit: Mapped[int | None] = mapped_column(ForeignKey("visit.id"), index=True)
    at: Mapped[datetime]
    file: Mapped[str] = mapped_column(Line(80))
    mime: Mapped[str] = mapped_column(Line(40))
    seconds: Mapped[float | None]
    state: Mapped[str] = mapped_column(Line(10), index=True)
    text: Mapped[str] = mapped_column(Words)
    confidence: Mapped[float | None]
    engine: Mapped[str] = mapped_column(Line(80))
    channel: Mapped[str] = mapped_column(Line(20), server_default="")
    channel_text: Mapped[str] = mapped_column(Words, server_default="")
    heard_at: Mapped[datetime | None]
    inbox: Mapped[int | None] = mapped_column(BigId)


class AppealRow(Base):
    __tablename__ = "appeal"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    visit: Mapped[int] = mapped_column(ForeignKey("visit.id"), index=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"))
    words: Mapped[str] = mapped_column(Words)
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Line(10))  # open, upheld, rejected
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("employee.code"))
    decided_at: Mapped[datetime | None]


class FollowUpRow(Base):
    __tablename__ = "follow_up"
    __table_args__ = (
        Index("ix_follow_up_to_remind", "state", "reminded_at", "remind_at"),
        Index("ix_follow_up_last", "state", "last"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"), index=True)
    outlet: Mapped[str] = mapped_column(ForeignKey("outlet.code"), index=True)
    visit: Mapped[int] = mapped_column(ForeignKey("visit.id"), index=True)
    first: Mapped[date]
    last: Mapped[date]
    time: Mapped[str | None] = mapped_column(Line(12))
    quote: Mapped[str] = mapped_column(Words)
    what: Mapped[str] = mapped_column(Words)
    state: Mapped[str] = mapped_column(Line(10))
    remind_at: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    made_by_itself: Mapped[bool]
    ended_at: Mapped[datetime | None]
    postponed: Mapped[int]
