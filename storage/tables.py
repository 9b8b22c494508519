"""Every table. Rows never leave this room; see the module of each subject for the plain objects they become."""

from datetime import UTC, date, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
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


# --- the firm ---------------------------------------------------------------------------------------------------------


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


OF_THE_TABLES = "oldest program"  # the row of `revision` that tells of the tables themselves: storage.migrate


class RevisionRow(Base):
    """How often something that others keep ready in memory was changed; see storage.firm.revision."""

    __tablename__ = "revision"
    name: Mapped[str] = mapped_column(Line(20), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class CompetitorRow(Base):
    __tablename__ = "competitor"
    name: Mapped[str] = mapped_column(Line(80), primary_key=True)
    line: Mapped[str] = mapped_column(Line(40))


# --- people and their chats -------------------------------------------------------------------------------------------


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


# --- messages in and out ----------------------------------------------------------------------------------------------


class InboxRow(Base):
    """One delivery, stored before it is acknowledged. `state`: new, done, ignored, dead, dropped (by hand)."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("channel", "account", "delivery_key"),
        Index("ix_inbox_waiting", "state", "person", "position"),
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
        Index(
            "ix_outbox_chat",
            "channel",
            "chat_ref",
            "id",
            sqlite_where=text("state = 'due'"),
            postgresql_where=text("state = 'due'"),
        ),
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


class PassiveAnswerRow(Base):
    """What one delivery was answered with in the same breath, so that a repeat of it gets the same answer."""

    __tablename__ = "passive_answer"
    channel: Mapped[str] = mapped_column(Line(20), primary_key=True)
    account: Mapped[str] = mapped_column(Line(80), primary_key=True)
    delivery_key: Mapped[str] = mapped_column(Line(200), primary_key=True)
    text: Mapped[str] = mapped_column(Words)
    at: Mapped[datetime] = mapped_column(index=True)


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


class UnreachableRow(Base):
    """Why a chat account cannot be reached, a key under `undelivered.`; gone when its person writes again."""

    __tablename__ = "unreachable"
    account: Mapped[int] = mapped_column(BigId, ForeignKey("account.id"), primary_key=True)
    why: Mapped[str] = mapped_column(Line(40))
    since: Mapped[datetime]


# --- visits and their evidence ----------------------------------------------------------------------------------------


class VisitRow(Base):
    __tablename__ = "visit"
    __table_args__ = (
        Index("ix_visit_rep_day", "rep", "local_day"),
        Index("ix_visit_rep_opened", "rep", "opened_at"),
        Index("ix_visit_day", "local_day", "opened_at"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rep: Mapped[str] = mapped_column(ForeignKey("employee.code"))
    outlet: Mapped[str | None] = mapped_column(ForeignKey("outlet.code"), index=True)
    state: Mapped[str] = mapped_column(Line(10), index=True)
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
        Index(
            "ix_visit_change_undone",
            "id",
            sqlite_where=text("undone_at IS NOT NULL"),
            postgresql_where=text("undone_at IS NOT NULL"),
        ),
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
        Index(
            "ix_photo_used",
            "visit",
            sqlite_where=text("same_as IS NOT NULL"),
            postgresql_where=text("same_as IS NOT NULL"),
        ),
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
    __table_args__ = (Index("ix_follow_up_due", "state", "remind_at"), Index("ix_follow_up_last", "state", "last"))
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


# --- managers and time ------------------------------------------------------------------------------------------------


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


class SimulatedRow(Base):
    """That this is a made-up firm and no real one: what it was made from, and whether it was written to its end."""

    __tablename__ = "simulated"
    name: Mapped[str] = mapped_column(Line(20), primary_key=True)
    plan: Mapped[dict[str, Any]]
    begun_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]


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


# --- who saw and changed what -----------------------------------------------------------------------------------------


class AuditRow(Base):
    """One entry of the audit trail; a trigger refuses to change or delete it. `whose`, `rows`, `old` and `new` are JSON
    as it was written, to the letter, since that is what is sealed.
    """

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(Words)
    role: Mapped[str] = mapped_column(Words)
    channel: Mapped[str] = mapped_column(Words)
    action: Mapped[str] = mapped_column(Words)
    whose: Mapped[str] = mapped_column(Words)
    rows: Mapped[str] = mapped_column(Words)
    old: Mapped[str] = mapped_column(Words)
    new: Mapped[str] = mapped_column(Words)


class AuditSealRow(Base):
    """The chain: each seal's hash covers one entry and the hash before it. Append-only like the entries."""

    __tablename__ = "audit_seal"
    position: Mapped[int] = mapped_column(BigId, primary_key=True)
    entry: Mapped[int] = mapped_column(ForeignKey("audit.id"), unique=True)
    hash: Mapped[str] = mapped_column(Words)
