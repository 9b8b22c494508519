"""What is to be said: queued with the change it tells of, sent later by the sender alone."""

import itertools
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, exists, select, update

from storage.database import INSERTS, Work
from storage.tables.columns import plain, spelt_out
from storage.tables.post import OutboxRow

log = logging.getLogger(__name__)

MAX_TRIES = 8
STALE = timedelta(days=7)  # what waited longer for its person is of no use any more
SHUT = "shut:"  # what the error of a message begins with that waits, or waited, for its person; the reason follows

_OUTBOX = plain(OutboxRow)
_QUEUE = {name: sql(_OUTBOX).on_conflict_do_nothing().returning(_OUTBOX.c.id) for name, sql in INSERTS.items()}
_QUEUE_EACH = {
    name: sql(_OUTBOX).on_conflict_do_nothing().returning(_OUTBOX.c.id, _OUTBOX.c.dedupe_key)
    for name, sql in INSERTS.items()
}
_EARLIER = _OUTBOX.alias("earlier")
_THESE = select(_OUTBOX).where(_OUTBOX.c.id.in_(bindparam("ids", expanding=True))).order_by(_OUTBOX.c.id)
_HEADS = (
    select(_OUTBOX.c.id, _OUTBOX.c.channel, _OUTBOX.c.chat_ref)
    .where(
        _OUTBOX.c.state == "due",
        _OUTBOX.c.due_at <= bindparam("at"),
        _OUTBOX.c.channel.in_(bindparam("channels", expanding=True)),
        ~exists().where(
            spelt_out(_EARLIER.c.state, "due"),
            _EARLIER.c.channel == _OUTBOX.c.channel,
            _EARLIER.c.chat_ref == _OUTBOX.c.chat_ref,
            _EARLIER.c.id < _OUTBOX.c.id,
        ),
    )
    .order_by(_OUTBOX.c.due_at, _OUTBOX.c.id)
    .limit(bindparam("most"))
)
_RELEASE = (
    update(_OUTBOX)
    .where(
        spelt_out(_OUTBOX.c.state, "waiting"),
        _OUTBOX.c.channel == bindparam("where"),
        _OUTBOX.c.chat_ref == bindparam("who"),
    )
    .values(
        state=case((_OUTBOX.c.made_at < bindparam("oldest"), "dropped"), else_="due"), due_at=bindparam("at"), tries=0
    )
    .returning(_OUTBOX.c.state)
)
_SENT = (
    update(_OUTBOX)
    .where(_OUTBOX.c.id == bindparam("row_id"))
    .values(state="sent", sent_at=bindparam("at"), provider_id=bindparam("provider"))
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. `body` is the reply as plain data with its question's number; see handlers.wire."""

    dedupe_key: str
    channel: str
    chat_ref: str
    intent: str
    body: dict[str, Any]
    made_at: datetime
    due_at: datetime
    account: int | None = None
    in_reply_to: int | None = None
    not_after: datetime | None = None
    id: int = 0
    tries: int = 0
    state: str = "due"
    sent_at: datetime | None = None
    provider_id: str = ""
    error: str = ""

    @property
    def cause(self) -> int | None:
        """The delivery this goes back to: what it answers, or what brought the voice note it tells of."""
        return self.in_reply_to or self.body.get("cause")


def queue(work: Work, message: Outgoing) -> int | None:
    """Queue a message; its id, or None when one with the same dedupe key was queued before.

    Within a chat ids grow in the order of the commits: whoever saw one will never find a smaller one later.
    """
    work.alone(_chat(message))
    number: int | None = work.run(_QUEUE[work.dialect], **_columns(message)).scalar_one_or_none()
    if number is not None:
        _tell_log(work, message, number)
    return number


def queue_each(work: Work, messages: Sequence[Outgoing]) -> list[int | None]:
    """As `queue` for each of several, in a few statements however many they are."""
    work.alone_each([_chat(message) for message in messages])
    rows = work.run_each(_QUEUE_EACH[work.dialect], [_columns(message) for message in messages])
    numbers: dict[str, int] = {row.dedupe_key: row.id for row in rows}
    queued = [numbers.pop(message.dedupe_key, None) for message in messages]
    for message, number in zip(messages, queued, strict=True):
        if number is not None:
            _tell_log(work, message, number)
    return queued


def _chat(message: Outgoing) -> str:
    return f"chat:{message.channel}:{message.chat_ref}"


def _columns(message: Outgoing) -> dict[str, Any]:
    return {
        "dedupe_key": message.dedupe_key,
        "account": message.account,
        "channel": message.channel,
        "chat_ref": message.chat_ref,
        "intent": message.intent,
        "body": message.body,
        "in_reply_to": message.in_reply_to,
        "made_at": message.made_at,
        "due_at": message.due_at,
        "not_after": message.not_after,
        "state": "due",
        "tries": 0,
        "provider_id": "",
        "error": "",
    }


def _tell_log(work: Work, message: Outgoing, number: int) -> None:
    named = {"out": f"out-{number}", "channel": message.channel, "intent": message.intent}
    work.afterwards(lambda: log.info("queued", extra=named))


def due(
    work: Work, now: datetime, channels: Collection[str], busy: Collection[str] = (), limit: int = 50
) -> list[Outgoing]:
    """The first unsent message of each chat that is due, oldest first: one a chat, so the order within it is kept.

    A message waiting for a retry holds back the later ones of its chat.
    """
    # A busy chat has one head at most, so this many are enough. What they say is read only of those that are free.
    heads = work.run(_HEADS, at=now, channels=list(channels), most=limit + len(busy))
    free = [row.id for row in heads if f"{row.channel}:{row.chat_ref}" not in busy][:limit]
    return [outgoing(row) for row in work.run(_THESE, ids=free)] if free else []


def still_due(work: Work, now: datetime, ids: Collection[int]) -> list[Outgoing]:
    """Those of these messages that nobody dealt with meanwhile."""
    rows = work.run(
        select(_OUTBOX)
        .where(_OUTBOX.c.id.in_(list(ids)), _OUTBOX.c.state == "due", _OUTBOX.c.due_at <= now)
        .order_by(_OUTBOX.c.id)
    )
    return [outgoing(row) for row in rows]


def sent(work: Work, message_id: int, now: datetime, provider_id: str) -> None:
    work.run(_SENT, row_id=message_id, at=now, provider=provider_id)


def retry_at(work: Work, message_id: int, at: datetime, error: str) -> bool:
    """Try again at `at`. False, and set aside as failed, when that was the last of the tries."""
    tries = work.run(select(_OUTBOX.c.tries).where(_OUTBOX.c.id == message_id)).scalar_one() + 1
    row = update(_OUTBOX).where(_OUTBOX.c.id == message_id).values(tries=tries, error=error[:500])
    if tries >= MAX_TRIES:
        work.run(row.values(state="failed"))
        return False
    work.run(row.values(due_at=at))
    return True


def hold_until(work: Work, message_id: int, at: datetime, error: str) -> None:
    """Wait as the platform told us to (Retry-After); that is no failure and costs no try."""
    work.run(update(_OUTBOX).where(_OUTBOX.c.id == message_id).values(due_at=at, error=error[:500]))


def try_now(work: Work, channel: str, now: datetime) -> None:
    """A platform that was away is back: what waits for another try need not wait on. What was told to wait does."""
    work.run(
        update(_OUTBOX)
        .where(
            _OUTBOX.c.state == "due",
            _OUTBOX.c.channel == channel,
            _OUTBOX.c.due_at > now,
            _OUTBOX.c.tries > 0,
            ~_OUTBOX.c.error.startswith("asked to wait"),
        )
        .values(due_at=now)
    )


def give_up(work: Work, message_id: int, state: str, error: str) -> None:
    """`failed`: the platform refuses it; `dropped`: it came too late to be of use."""
    work.run(update(_OUTBOX).where(_OUTBOX.c.id == message_id).values(state=state, error=error[:500]))


def due_behind(work: Work, head: Outgoing, now: datetime, limit: int = 20) -> list[Outgoing]:
    """What is due for the same chat after `head`, in order, up to the first that is not due yet."""
    rows = work.session.scalars(
        select(OutboxRow)
        .where(
            OutboxRow.channel == head.channel,
            OutboxRow.chat_ref == head.chat_ref,
            spelt_out(OutboxRow.state, "due"),
            OutboxRow.id > head.id,
        )
        .order_by(OutboxRow.id)
        .limit(limit)
    )
    return [outgoing(row) for row in itertools.takewhile(lambda row: row.due_at <= now, rows)]


def shut(work: Work, message_id: int, reason: str) -> None:
    """Nothing can be sent to this person now: it waits until they write again."""
    work.session.execute(
        update(OutboxRow).where(OutboxRow.id == message_id).values(state="waiting", error=f"{SHUT}{reason}"[:500])
    )


def release(work: Work, channel: str, chat_ref: str, now: datetime) -> int:
    """The person wrote: what waited for that is due; how many. What waited too long is dropped."""
    states = work.run(_RELEASE, where=channel, who=chat_ref, at=now, oldest=now - STALE).scalars()
    return sum(state == "due" for state in states)


def arrived(work: Work, message_id: int, texts: int) -> None:
    """The first `texts` pieces of a message are with the person already; what goes out again leaves them out."""
    body = work.run(select(_OUTBOX.c.body).where(_OUTBOX.c.id == message_id)).scalar_one()
    more = {**body, "arrived": body.get("arrived", 0) + texts}
    work.run(update(_OUTBOX).where(_OUTBOX.c.id == message_id).values(body=more))


def came_back(work: Work, channel: str, provider_id: str, reason: str) -> int:
    """The platform told afterwards that a message it had taken did not arrive: it waits for its person; how many."""
    found = (OutboxRow.channel == channel, OutboxRow.provider_id == provider_id, OutboxRow.state == "sent")
    undone = update(OutboxRow).where(*found).values(state="waiting", sent_at=None, error=f"{SHUT}{reason}"[:500])
    return len(work.session.scalars(undone.returning(OutboxRow.id)).all())


def undelivered(work: Work, since: datetime, until: datetime) -> list[Outgoing]:
    """What was made for people of the firm in that time and did not reach them, oldest first."""
    rows = work.session.scalars(
        select(OutboxRow)
        .where(
            OutboxRow.state.in_(("waiting", "failed")),
            OutboxRow.made_at >= since,
            OutboxRow.made_at < until,
            OutboxRow.account.is_not(None),
        )
        .order_by(OutboxRow.id)
    )
    return [outgoing(row) for row in rows]


def sent_since(work: Work, channel: str, since: datetime) -> list[tuple[str, datetime]]:
    """(chat, time) of each message that a channel sent since then, in that order; looked for among those that fell due
    within the day before, which an index leads to.
    """
    rows = work.run(
        select(_OUTBOX.c.chat_ref, _OUTBOX.c.sent_at)
        .where(
            _OUTBOX.c.state == "sent",
            _OUTBOX.c.due_at >= since - timedelta(days=1),
            _OUTBOX.c.channel == channel,
            _OUTBOX.c.sent_at >= since,
        )
        .order_by(_OUTBOX.c.sent_at)
    )
    return [(row.chat_ref, row.sent_at) for row in rows]


def to_chat(work: Work, channel: str, chat_ref: str, after: int = 0) -> list[Outgoing]:
    """Everything said to one chat after row `after`, in order."""
    rows = work.run(
        select(_OUTBOX)
        .where(_OUTBOX.c.channel == channel, _OUTBOX.c.chat_ref == chat_ref, _OUTBOX.c.id > after)
        .order_by(_OUTBOX.c.id)
    )
    return [outgoing(row) for row in rows]


def after(work: Work, row: int) -> list[Outgoing]:
    """Everything queued after a row, to anybody, in order."""
    rows = work.run(select(_OUTBOX).where(_OUTBOX.c.id > row).order_by(_OUTBOX.c.id))
    return [outgoing(item) for item in rows]


def outgoing(row: Any) -> Outgoing:
    """A row of the table."""
    return Outgoing(
        dedupe_key=row.dedupe_key,
        channel=row.channel,
        chat_ref=row.chat_ref,
        intent=row.intent,
        body=row.body,
        made_at=row.made_at,
        due_at=row.due_at,
        account=row.account,
        in_reply_to=row.in_reply_to,
        not_after=row.not_after,
        id=row.id,
        tries=row.tries,
        state=row.state,
        sent_at=row.sent_at,
        provider_id=row.provider_id,
        error=row.error,
    )
