"""Cards to tap that stand in people's chats: which question each asks, and by what it can still be changed."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from storage.database import Work
from storage.tables.people import QuestionRow
from storage.tables.post import CardRow

CODE_LIVES = timedelta(hours=72)  # developer.work.weixin.qq.com/document/path/94945
MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was answered and still looks open. `codes`: each may change it once, the tap's own first."""

    task_id: str
    chat_ref: str
    codes: tuple[str, ...]


def begin(work: Work, account: str, chat_ref: str, question: int, again: bool, now: datetime) -> tuple[str, bool]:
    """(the task id to send a card under, whether it may have been sent under it before).

    It is stored before the card is sent: whoever repeats a sending of unknown end uses the same one, which the platform
    takes only once.
    """
    before = work.session.scalar(
        select(CardRow.task_id)
        .where(
            CardRow.account == account,
            CardRow.chat_ref == chat_ref,
            CardRow.question == question,
            CardRow.sent_at.is_(None),
            CardRow.ended_at.is_(None),
        )
        .limit(1)
    )
    if before is not None:
        return before, True
    task_id = f"q{question}-{secrets.token_hex(12)}"
    work.session.add(
        CardRow(
            task_id=task_id,
            account=account,
            chat_ref=chat_ref,
            question=question,
            again=again,
            made_at=now,
            message_id="",
            sent_code="",
            tapped_code="",
            tries=0,
        )
    )
    work.session.flush()
    return task_id, False


def sent(work: Work, task_id: str, now: datetime, message_id: str = "", code: str = "") -> None:
    work.session.execute(
        update(CardRow)
        .where(CardRow.task_id == task_id)
        .values(sent_at=now, message_id=message_id[:200], sent_code=code[:200])
    )


def tapped(work: Work, task_id: str, code: str, now: datetime) -> bool:
    """Somebody pressed it. False for a card that we know nothing of."""
    changed = update(CardRow).where(CardRow.task_id == task_id).values(tapped_code=code[:200], tapped_at=now)
    return work.session.scalar(changed.returning(CardRow.task_id)) is not None


def to_end(work: Work, account: str, now: datetime, limit: int = 50) -> list[Card]:
    """Cards that look open and are answered: by a tap, or by a typed answer to their question."""
    answered = select(QuestionRow.id).where(QuestionRow.id == CardRow.question, QuestionRow.answered_at.is_not(None))
    rows = work.session.scalars(
        select(CardRow)
        .where(
            CardRow.account == account,
            CardRow.again.is_(False),
            CardRow.ended_at.is_(None),
            CardRow.tries < MAX_TRIES,
            CardRow.made_at > now - CODE_LIVES,
            or_(CardRow.tapped_at.is_not(None), answered.exists()),
        )
        .order_by(CardRow.made_at)
        .limit(limit)
    )
    found = [
        Card(row.task_id, row.chat_ref, tuple(code for code in (row.tapped_code, row.sent_code) if code))
        for row in rows
    ]
    return [card for card in found if card.codes]


def ended(work: Work, task_id: str, now: datetime) -> None:
    work.session.execute(update(CardRow).where(CardRow.task_id == task_id).values(ended_at=now))


def not_ended(work: Work, task_id: str, used_code: str) -> None:
    """A try failed. A code whose fate is unknown, or that was refused, is not used again (`used_code`, else empty)."""
    row = work.session.get_one(CardRow, task_id)
    row.tries += 1
    if used_code and row.tapped_code == used_code:
        row.tapped_code = ""
    elif used_code and row.sent_code == used_code:
        row.sent_code = ""


def forget(work: Work, now: datetime) -> None:
    """Old rows are of no use: after 72 hours a card cannot be changed, and its taps are known by their questions."""
    gone = work.session.scalars(select(CardRow).where(CardRow.made_at < now - 10 * CODE_LIVES).limit(1000))
    for row in gone:
        work.session.delete(row)
