"""What the page shows of one chat: both sides of it, in order, as far as it was said by now."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from storage import outbox
from storage.database import Work
from storage.outbox import Outgoing
from storage.tables.columns import spelt_out
from storage.tables.people import QuestionRow
from storage.tables.post import InboxRow, OutboxRow

CHANNEL: Final = "web"
_HEARD_THERE, _SAID_THERE = (spelt_out(table.channel, CHANNEL) for table in (InboxRow, OutboxRow))
# A message given up (the platform refused it, or it came too late to be of use) was never said.
_NEVER_SAID = frozenset({"failed", "dropped"})


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the person: the inbox row's own number and key, and the message as plain data."""

    id: int
    delivery_key: str
    received_at: datetime
    state: str
    message: dict[str, Any]


def heard_from(work: Work, person: str, limit: int, before: datetime | None = None) -> list[Heard]:
    """The person's last `limit` readable messages (received before that time), oldest first."""
    query = select(InboxRow).where(_HEARD_THERE, InboxRow.person == person, InboxRow.message.is_not(None))
    if before is not None:
        query = query.where(InboxRow.received_at < before)
    rows = work.session.scalars(query.order_by(InboxRow.id.desc()).limit(limit)).all()
    return [_heard(row) for row in reversed(rows)]


def heard(work: Work, person: str, inbox_id: int) -> Heard | None:
    """One message of this person; somebody else's is not found."""
    row = work.session.get(InboxRow, inbox_id)
    if row is None or row.channel != CHANNEL or row.person != person or row.message is None:
        return None
    return _heard(row)


def said_to(
    work: Work, chat_ref: str, now: datetime, after: int = 0, *, before: datetime | None = None, most: int | None = None
) -> list[Outgoing]:
    """What may be read in a chat by now, of the rows after `after` (made before that time; at most so many of them).

    The sender keeps the order within a chat, so reading stops at the first message that is not due yet: a later row
    can never be seen before an earlier one, and whoever asks again with the last id that he saw misses nothing.
    """
    query = select(OutboxRow).where(_SAID_THERE, OutboxRow.chat_ref == chat_ref, OutboxRow.id > after)
    if before is not None:
        query = query.where(OutboxRow.made_at < before)
    said: list[Outgoing] = []
    for row in work.session.scalars(query.order_by(OutboxRow.id).limit(most)):
        too_late = row.state == "due" and row.not_after is not None and row.not_after < now
        if row.state in _NEVER_SAID or too_late:
            continue
        if row.state == "due" and row.due_at > now:
            break
        said.append(outbox.outgoing(row))
    return said


def page_start(work: Work, chat_ref: str, limit: int, before: datetime | None = None) -> int:
    """The row after which the last `limit` messages to a chat (made before that time) begin; 0 for the first page."""
    query = select(OutboxRow.id).where(_SAID_THERE, OutboxRow.chat_ref == chat_ref)
    if before is not None:
        query = query.where(OutboxRow.made_at < before)
    return work.session.scalar(query.order_by(OutboxRow.id.desc()).offset(limit).limit(1)) or 0


def answered(work: Work, account: int, questions: Collection[int]) -> set[int]:
    """Which of these questions to this account were answered."""
    return set(
        work.session.scalars(
            select(QuestionRow.id).where(
                QuestionRow.account == account,
                QuestionRow.id.in_(list(questions)),
                QuestionRow.answered_at.is_not(None),
            )
        )
    )


def _heard(row: InboxRow) -> Heard:
    return Heard(row.id, row.delivery_key, row.received_at, row.state, row.message or {})
