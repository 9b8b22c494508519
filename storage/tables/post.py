"""Messages in and out."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, BigId, Line, Words, index_of_some


class InboxRow(Base):
    """One delivery, stored before it is acknowledged. `state`: new, done, ignored, dead, dropped (by hand)."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("channel", "account", "delivery_key"),
        Index("ix_inbox_waiting", "state", "person", "position"),
        # The page asks for one person's; other channels show what was said themselves.
        index_of_some("ix_inbox_page", "person", "id", where="channel = 'web'"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel: Mapped[str] = mapped_column(Line(20))
    account: Mapped[str] = mapped_column(Line(80))
    delivery_key: Mapped[str] = mapped_column(Line(200))
    person: Mapped[str] = mapped_column(Line(160))
    position: Mapped[int] = mapped_column(BigInteger)  # the platform's own order within one person, where it has one
    chat_ref: Mapped[str] = mapped_column(Line(120))
    raw: Mapped[dict[str, Any]]
    message: Mapped[dict[str, Any] | None]
    received_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Line(10))
    tries: Mapped[int]
    not_before: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Words)


class OutboxRow(Base):
    """One message to send. `state`: due, sent, waiting (for the person to write, as nothing may be pushed), failed,
    dropped. Nobody but the sender sends.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("dedupe_key"),
        Index("ix_outbox_due", "state", "due_at", "id"),
        # What is due only: a few rows, however long the history.
        index_of_some("ix_outbox_chat", "channel", "chat_ref", "id", where="state = 'due'"),
        # What waits for its person to write: asked for at each of their messages.
        index_of_some("ix_outbox_waiting", "channel", "chat_ref", where="state = 'waiting'"),
        index_of_some("ix_outbox_page", "chat_ref", "id", where="channel = 'web'"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    dedupe_key: Mapped[str] = mapped_column(Line(200))
    account: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    channel: Mapped[str] = mapped_column(Line(20))
    chat_ref: Mapped[str] = mapped_column(Line(120))
    intent: Mapped[str] = mapped_column(Line(12))  # reply, reminder, alert, notice (hurries nobody), refusal
    body: Mapped[dict[str, Any]]
    in_reply_to: Mapped[int | None] = mapped_column(BigId)
    made_at: Mapped[datetime]
    due_at: Mapped[datetime]
    not_after: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(Line(10))
    tries: Mapped[int]
    sent_at: Mapped[datetime | None]
    provider_id: Mapped[str] = mapped_column(Line(120))
    error: Mapped[str] = mapped_column(Words)


class CardRow(Base):
    """A card to tap in a chat of 企业微信. Its `task_id` is used once in the whole life of the app over there.

    Either code lets the card be changed once, within 72 hours: `sent_code` came with the sending, `tapped_code` with a
    tap. `message_id` is the platform's, for taking it back.
    """

    __tablename__ = "card"
    task_id: Mapped[str] = mapped_column(Line(128), primary_key=True)
    account: Mapped[str] = mapped_column(Line(80))
    chat_ref: Mapped[str] = mapped_column(Line(120))
    question: Mapped[int] = mapped_column(BigInteger, index=True)
    again: Mapped[bool]  # a second tap is as welcome as the first
    made_at: Mapped[datetime] = mapped_column(index=True)
    sent_at: Mapped[datetime | None]
    message_id: Mapped[str] = mapped_column(Line(200))
    sent_code: Mapped[str] = mapped_column(Line(200))
    tapped_code: Mapped[str] = mapped_column(Line(200))
    tapped_at: Mapped[datetime | None]
    tries: Mapped[int]
    ended_at: Mapped[datetime | None]  # shown as answered, or no longer to be changed


class PassiveAnswerRow(Base):
    """What one delivery was answered with in the same breath, so that a repeat of it gets the same answer."""

    __tablename__ = "passive_answer"
    channel: Mapped[str] = mapped_column(Line(20), primary_key=True)
    account: Mapped[str] = mapped_column(Line(80), primary_key=True)
    delivery_key: Mapped[str] = mapped_column(Line(200), primary_key=True)
    text: Mapped[str] = mapped_column(Words)
    at: Mapped[datetime] = mapped_column(index=True)
