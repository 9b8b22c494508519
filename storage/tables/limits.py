"""How much may still be sent, by the platforms' limits."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.columns import Base, Line


class PushBudgetRow(Base):
    """How many messages may still be pushed to one person, after a message of theirs and after a click or scan."""

    __tablename__ = "push_budget"
    channel: Mapped[str] = mapped_column(Line(20), primary_key=True)
    chat_ref: Mapped[str] = mapped_column(Line(120), primary_key=True)
    message_left: Mapped[int]
    message_until: Mapped[datetime | None]
    action_left: Mapped[int]
    action_until: Mapped[datetime | None]


class PushGrantRow(Base):
    """How often a person agreed to be sent one template of 订阅通知 that was not used yet."""

    __tablename__ = "push_grant"
    channel: Mapped[str] = mapped_column(Line(20), primary_key=True)
    chat_ref: Mapped[str] = mapped_column(Line(120), primary_key=True)
    template: Mapped[str] = mapped_column(Line(120), primary_key=True)
    left: Mapped[int]


class SendBucketRow(Base):
    """How far a limit of a platform is used up where several processes share it: the moment, by the server's clock,
    when as many messages as ever may go at once again. `name` is that of a channel, or channel:chat.
    """

    __tablename__ = "send_bucket"
    name: Mapped[str] = mapped_column(Line(200), primary_key=True)
    full_at: Mapped[datetime]


class SendWindowRow(Base):
    """What went to one chat lately, where the platform drops what is over its limit without a word: pairs of a second
    (since 1970) and how many messages.
    """

    __tablename__ = "send_window"
    name: Mapped[str] = mapped_column(Line(200), primary_key=True)
    moments: Mapped[list[Any]]


class SendHoldRow(Base):
    """The platform told us to wait (Retry-After): with one chat (channel:chat), or with all of a channel."""

    __tablename__ = "send_hold"
    name: Mapped[str] = mapped_column(Line(200), primary_key=True)
    until: Mapped[datetime]
