"""Deliveries: stored once before they are acknowledged, taken in order of each person, applied once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, null, or_, select, update

from storage.database import Work, insert
from storage.tables import InboxRow

MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a channel hands over. `delivery_key` is unique per (channel, account); `person` orders and serialises.

    `message` is the parsed message as plain data, or None where the payload could not be read (`error` says why).
    `position` is the platform's own order (update_id, MsgId), used while several wait; 0 where it has none.
    """

    channel: str
    account: str
    delivery_key: str
    person: str
    chat_ref: str
    raw: dict[str, Any]
    message: dict[str, Any] | None
    received_at: datetime
    position: int = 0
    error: str = ""
    id: int = 0
    tries: int = 0


def accept(work: Work, delivery: Delivery) -> int | None:
    """Store a delivery; its id, or None when it was delivered before. An unreadable one is stored as dead."""
    statement = (
        insert(work, InboxRow)
        .values(
            channel=delivery.channel,
            account=delivery.account,
            delivery_key=delivery.delivery_key,
            person=delivery.person,
            position=delivery.position,
            chat_ref=delivery.chat_ref,
            raw=delivery.raw,
            message=delivery.message,
            received_at=delivery.received_at,
            state="new" if delivery.message is not None else "dead",
            tries=0,
            error=delivery.error,
        )
        .on_conflict_do_nothing()
        .returning(InboxRow.id)
    )
    return work.session.execute(statement).scalar_one_or_none()


def waiting(work: Work, now: datetime, busy: Collection[str] = (), limit: int = 20) -> list[Delivery]:
    """The first waiting delivery of each person not in `busy`, oldest first. One a person, so order is kept."""
    turn = func.row_number().over(partition_by=InboxRow.person, order_by=(InboxRow.position, InboxRow.id))
    heads = (
        select(InboxRow.id, turn.label("turn"))
        .where(InboxRow.state == "new", InboxRow.person.not_in(list(busy)))
        .subquery()
    )
    rows = work.session.scalars(
        select(InboxRow)
        .join(heads, heads.c.id == InboxRow.id)
        .where(heads.c.turn == 1, or_(InboxRow.not_before.is_(None), InboxRow.not_before <= now))
        .order_by(InboxRow.id)
        .limit(limit)
    )
    return [_delivery(row) for row in rows]


def next_of(work: Work, person: str, now: datetime) -> Delivery | None:
    """The first delivery of a person that waits to be applied, if its time has come."""
    row = work.session.scalar(
        select(InboxRow)
        .where(InboxRow.state == "new", InboxRow.person == person)
        .order_by(InboxRow.position, InboxRow.id)
        .limit(1)
    )
    return _delivery(row) if row is not None and (row.not_before is None or row.not_before <= now) else None


def load(work: Work, delivery_id: int) -> Delivery | None:
    """A delivery that still waits to be applied, or None when it was dealt with meanwhile."""
    row = work.session.get(InboxRow, delivery_id)
    return _delivery(row) if row is not None and row.state == "new" else None


def take(work: Work, delivery_id: int) -> Delivery | None:
    """As `load`, and nobody else takes it until the transaction ends; who waited for that finds it dealt with."""
    row = work.session.scalar(
        select(InboxRow).where(InboxRow.id == delivery_id, InboxRow.state == "new").with_for_update()
    )
    return None if row is None else _delivery(row)


def keep_message(work: Work, delivery_id: int, message: dict[str, Any]) -> None:
    """Replace the parsed message, once its media are fetched and stored."""
    work.session.execute(update(InboxRow).where(InboxRow.id == delivery_id).values(message=message))


def of_id(work: Work, delivery_id: int) -> Delivery | None:
    """A delivery in whatever state."""
    row = work.session.get(InboxRow, delivery_id)
    return None if row is None else _delivery(row)


def forget_content(work: Work, delivery_id: int) -> None:
    """Keep only that something came: a stranger's words are not ours to store."""
    work.session.execute(update(InboxRow).where(InboxRow.id == delivery_id).values(raw={}, message=null()))


def done(work: Work, delivery_id: int, now: datetime, state: str = "done") -> None:
    work.session.execute(update(InboxRow).where(InboxRow.id == delivery_id).values(state=state, done_at=now))


def hold(work: Work, delivery_id: int, until: datetime) -> None:
    """Wait without counting a try: the trouble is the network's."""
    work.session.execute(update(InboxRow).where(InboxRow.id == delivery_id).values(not_before=until))


def failed(work: Work, delivery_id: int, now: datetime, error: str) -> bool:
    """Note a failure: tried again after a growing pause, set aside after five. True when it was set aside."""
    row = work.session.get_one(InboxRow, delivery_id)
    row.tries += 1
    row.error = error[:2000]
    if row.tries >= MAX_TRIES:
        row.state = "dead"
        row.done_at = now
        return True
    row.not_before = now + timedelta(seconds=2**row.tries)
    return False


def known_keys(work: Work, channel: str, account: str, keys: Sequence[str]) -> set[str]:
    """Which of these deliveries are stored already."""
    return set(
        work.session.scalars(
            select(InboxRow.delivery_key).where(
                InboxRow.channel == channel, InboxRow.account == account, InboxRow.delivery_key.in_(list(keys))
            )
        )
    )


def dead(work: Work) -> list[tuple[int, str, str]]:
    """(id, channel, error) of what was set aside."""
    rows = work.session.execute(select(InboxRow.id, InboxRow.channel, InboxRow.error).where(InboxRow.state == "dead"))
    return [(row.id, row.channel, row.error) for row in rows]


def newest_of(work: Work, channel: str, account: str) -> datetime | None:
    """When this channel brought something last; None where it never did."""
    return work.session.scalar(
        select(func.max(InboxRow.received_at)).where(InboxRow.channel == channel, InboxRow.account == account)
    )


def of_person(work: Work, channel: str, person: str) -> list[tuple[Delivery, str]]:
    """Everything one person sent, in the order it was applied, with its state: for printing as a transcript."""
    rows = work.session.scalars(
        select(InboxRow)
        .where(InboxRow.channel == channel, or_(InboxRow.person == person, InboxRow.chat_ref == person))
        .order_by(InboxRow.done_at, InboxRow.id)
    )
    return [(_delivery(row), row.state) for row in rows]


def _delivery(row: InboxRow) -> Delivery:
    return Delivery(
        channel=row.channel,
        account=row.account,
        delivery_key=row.delivery_key,
        person=row.person,
        chat_ref=row.chat_ref,
        raw=row.raw,
        message=row.message,
        received_at=row.received_at,
        position=row.position,
        error=row.error,
        id=row.id,
        tries=row.tries,
    )
