"""Figures of how the work stands, for a page that is read every few seconds: by index, however long the history."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, exists, func, select

from storage import alerts, jobs, leases
from storage.database import Work, insert
from storage.jobs import Depth
from storage.tables.columns import plain, spelt_out
from storage.tables.firm import RevisionRow
from storage.tables.people import AccountRow
from storage.tables.post import InboxRow, OutboxRow

_INBOX, _OUTBOX, _ACCOUNT = plain(InboxRow), plain(OutboxRow), plain(AccountRow)
_BEFORE = _OUTBOX.alias("before")

_NEW = select(func.count().label("rows"), func.min(_INBOX.c.received_at).label("since")).where(_INBOX.c.state == "new")
_DUE = (
    select(
        _OUTBOX.c.channel,
        func.count().label("rows"),
        func.sum(case((_OUTBOX.c.tries > 0, 1), else_=0)).label("tried"),
    )
    .where(_OUTBOX.c.state == "due")
    .group_by(_OUTBOX.c.channel)
)


@dataclass(frozen=True, slots=True)
class Gauges:
    """`unsent`: (messages, tried before) by channel. `unsent_since`: since when the message is due that should have
    gone out first and did not; what waits on purpose (Retry-After, a later try, its person) and what stands behind it
    does not count. `dead`: by kind (in, job, out). `schedules`: how far each was dealt with.
    """

    waiting: int
    waiting_since: datetime | None
    unsent: dict[str, tuple[int, int]]
    unsent_since: datetime | None
    for_their_person: int
    jobs: tuple[Depth, ...]
    dead: dict[str, int]
    unreachable: int
    leases: dict[str, int]
    schedules: dict[str, datetime]


def look(work: Work, now: datetime, channels: Collection[str]) -> Gauges:
    """`channels`: those that are served; a message to another waits for whoever serves that."""
    waiting = work.run(_NEW).one()
    depths = jobs.depths(work)
    held = leases.held(work) if work.dialect == "postgresql" else {}
    kinds = [name.partition(":")[0] for name in held]
    return Gauges(
        waiting=waiting.rows,
        waiting_since=waiting.since,
        unsent={row.channel: (row.rows, int(row.tried)) for row in work.run(_DUE)},
        unsent_since=work.run(_first_unsent(now, channels)).scalar_one(),
        for_their_person=_count(work, _OUTBOX.c.state == "waiting"),
        jobs=tuple(depths),
        dead={
            "in": _count(work, _INBOX.c.state == "dead"),
            "job": sum(depth.count for depth in depths if depth.state == "dead"),
            "out": _count(work, _OUTBOX.c.state == "failed"),
        },
        unreachable=_count(work, _ACCOUNT.c.reachable.is_(False)),
        leases={kind: kinds.count(kind) for kind in ("person", "chat", "polling")},
        schedules=alerts.dealt_with(work),
    )


def _first_unsent(now: datetime, channels: Collection[str]) -> Select[Any]:
    first = ~exists().where(
        spelt_out(_BEFORE.c.state, "due"),
        _BEFORE.c.channel == _OUTBOX.c.channel,
        _BEFORE.c.chat_ref == _OUTBOX.c.chat_ref,
        _BEFORE.c.id < _OUTBOX.c.id,
    )
    return select(func.min(_OUTBOX.c.due_at)).where(
        _OUTBOX.c.state == "due", _OUTBOX.c.due_at <= now, _OUTBOX.c.channel.in_(sorted(channels)), first
    )


def _count(work: Work, condition: ColumnElement[bool]) -> int:
    return int(work.run(select(func.count()).where(condition)).scalar_one())


def prove_writing(work: Work, name: str) -> None:
    """Write something and take it away again: once this is committed, the database takes what it is given."""
    row = plain(RevisionRow)
    work.run(insert(work, row).values(name=name[:20], number=0).on_conflict_do_nothing())
    work.run(delete(row).where(row.c.name == name[:20]))
