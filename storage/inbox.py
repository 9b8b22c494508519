"""Deliveries: stored once before they are acknowledged, taken in order of each person, applied once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, null, or_, select, update

from storage.database import INSERTS, Work
from storage.tables.columns import plain
from storage.tables.post import InboxRow

MAX_TRIES = 5

_INBOX = plain(InboxRow)
_ACCEPT = {name: sql(_INBOX).on_conflict_do_nothing().returning(_INBOX.c.id) for name, sql in INSERTS.items()}
_ONE = select(_INBOX).where(_INBOX.c.id == bindparam("row_id"))
_NEXT = (
    select(_INBOX)
    .where(_INBOX.c.state == "new", _INBOX.c.person == bindparam("whose"))
    .order_by(_INBOX.c.position, _INBOX.c.id)
    .limit(1)
)
_WAITS_OF = select(_INBOX.c.id).where(_INBOX.c.state == "new", _INBOX.c.person == bindparam("whose")).limit(1)
_WAITS = update(_INBOX).where(_INBOX.c.id == bindparam("row_id"), _INBOX.c.state == "new")
_TAKE = _WAITS.values(state="done", done_at=bindparam("at")).returning(_INBOX.c.id)
_KEEP = _WAITS.values(message=bindparam("parsed"))


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
    stored = work.run(
        _ACCEPT[work.dialect],
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
    number: int | None = stored.scalar_one_or_none()
    return number


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
    row = work.run(_NEXT, whose=person).one_or_none()
    return _delivery(row) if row is not None and (row.not_before is None or row.not_before <= now) else None


def waits(work: Work, person: str) -> bool:
    """Whether anything of a person waits to be applied, be its time come or not."""
    return work.run(_WAITS_OF, whose=person).one_or_none() is not None


def waiting_people(work: Work) -> set[str]:
    """Of whom something waits to be applied."""
    return set(work.session.scalars(select(InboxRow.person).where(InboxRow.state == "new").distinct()))


def load(work: Work, delivery_id: int) -> Delivery | None:
    """A delivery that still waits to be applied, or None when it was dealt with meanwhile."""
    row = work.run(_ONE, row_id=delivery_id).one_or_none()
    return _delivery(row) if row is not None and row.state == "new" else None


def take(work: Work, delivery_id: int, now: datetime) -> bool:
    """Mark a delivery as done. False when it was dealt with before; nobody else takes it until the transaction ends."""
    return work.run(_TAKE, row_id=delivery_id, at=now).scalar_one_or_none() is not None


def keep_message(work: Work, delivery_id: int, message: dict[str, Any]) -> None:
    """Replace the parsed message, once its media are fetched and stored."""
    work.run(_KEEP, row_id=delivery_id, parsed=message)


def of_id(work: Work, delivery_id: int) -> Delivery | None:
    """A delivery in whatever state."""
    row = work.run(_ONE, row_id=delivery_id).one_or_none()
    return None if row is None else _delivery(row)


def forget_content(work: Work, delivery_id: int) -> None:
    """Keep only that something came: a stranger's words are not ours to store."""
    work.run(update(_INBOX).where(_INBOX.c.id == delivery_id).values(raw={}, message=null()))


def ignored(work: Work, delivery_id: int) -> None:
    """What was taken turned out to be nothing for us."""
    work.run(update(_INBOX).where(_INBOX.c.id == delivery_id).values(state="ignored"))


def hold(work: Work, delivery_id: int, until: datetime) -> None:
    """Wait without counting a try: the trouble is the network's."""
    work.run(update(_INBOX).where(_INBOX.c.id == delivery_id).values(not_before=until))


def failed(work: Work, delivery_id: int, now: datetime, error: str) -> bool:
    """Note a failure: tried again after a growing pause, set aside after five. True when it was set aside."""
    tries = work.run(_ONE, row_id=delivery_id).one().tries + 1
    row = update(_INBOX).where(_INBOX.c.id == delivery_id).values(tries=tries, error=error[:2000])
    if tries >= MAX_TRIES:
        work.run(row.values(state="dead", done_at=now))
        return True
    work.run(row.values(not_before=now + timedelta(seconds=2**tries)))
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


def _delivery(row: Any) -> Delivery:
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
