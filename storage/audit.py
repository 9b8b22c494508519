"""The audit trail: who saw and changed what. Entries are added, sealed into a chain by the clock, and never changed.

An entry is one INSERT in the transaction of what it tells of, and waits for nobody. The chain is made of them later, by
one process at a time, in a table of its own: until then (seconds) an entry could vanish unnoticed, if somebody got past
the trigger that refuses it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, insert, literal, select

from rules.audit import START, Action, Entry, Stored, concerns_others, link, plain
from storage.database import Work
from storage.tables.audit import AuditRow, AuditSealRow
from storage.tables.columns import plain as table_of

AGAIN: timedelta = timedelta(hours=1)  # the same look at the same rows is told once in this time
_AT_A_TIME = 1000
_LATE = 10_000  # an entry's number may be older than those sealed before it, by so many at most

_AUDIT, _SEAL = table_of(AuditRow), table_of(AuditSealRow)
_ADD = insert(_AUDIT)
_ADD_SEAL = insert(_SEAL)
_SAME = (
    select(_AUDIT.c.id)
    .where(
        _AUDIT.c.at >= bindparam("since"),
        _AUDIT.c.who == bindparam("looker"),
        _AUDIT.c.action == Action.VIEW.value,
        _AUDIT.c.rows == bindparam("seen"),
        _AUDIT.c.whose == bindparam("of"),
    )
    .limit(1)
)
_LAST = select(_SEAL).order_by(_SEAL.c.position.desc()).limit(1)
_NEWEST_SEALED = select(func.coalesce(func.max(_SEAL.c.entry), 0)).scalar_subquery()
_OPEN = (
    select(_AUDIT)
    .where(~select(_SEAL.c.entry).where(_SEAL.c.entry == _AUDIT.c.id).exists())
    .order_by(_AUDIT.c.id)
    .limit(_AT_A_TIME)
)
_OPEN_LATELY = _OPEN.where(_AUDIT.c.id > _NEWEST_SEALED - _LATE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the whole chain found. `broken` names the first entry that is not as it was sealed, `why`:
    changed, gone, order. `head` is the hash of the newest link: written down elsewhere, it proves that none is missing
    at the end. `unsealed`: entries that wait for their link.
    """

    sealed: int
    unsealed: int
    head: str
    broken: int | None = None
    why: str = ""


def add(work: Work, entry: Entry) -> None:
    """Write an entry; a look at nothing but the own data is none."""
    if not concerns_others(entry):
        return
    rows, whose = plain(dict(entry.rows or {})), plain(sorted(set(entry.whose)))
    if entry.action is Action.VIEW:
        since = entry.at - AGAIN
        if work.run(_SAME, since=since, looker=entry.who, seen=rows, of=whose).first() is not None:
            return
    work.run(
        _ADD,
        at=entry.at,
        who=entry.who,
        role=entry.role,
        channel=entry.channel,
        action=entry.action.value,
        whose=whose,
        rows=rows,
        old=entry.old,
        new=entry.new,
    )


def seal(work: Work, *, everything: bool = False) -> int:
    """Chain what was added since; how many. `everything`: look at all entries, not at the latest alone.

    One at a time: what somebody else is at is left to them.
    """
    if not work.if_free("audit seal"):
        return 0
    last = work.run(_LAST).one_or_none()
    before, position = (START, 0) if last is None else (last.hash, last.position)
    links: list[dict[str, Any]] = []
    for row in work.run(_OPEN if everything else _OPEN_LATELY).all():
        before = link(before, _stored(row))
        links.append({"position": position + len(links) + 1, "entry": row.id, "hash": before})
    work.run_each(_ADD_SEAL, links)
    return len(links)


def verify(work: Work) -> Verdict:
    """Follow the chain from its first link; where it breaks."""
    before, sealed, position = START, 0, 0
    chained = select(_SEAL.c.position, _SEAL.c.entry, _SEAL.c.hash, _AUDIT).outerjoin(
        _AUDIT, _AUDIT.c.id == _SEAL.c.entry
    )
    unsealed = work.run(
        select(func.count())
        .select_from(_AUDIT)
        .where(~select(_SEAL.c.entry).where(_SEAL.c.entry == _AUDIT.c.id).exists())
    ).scalar_one()
    found = work.run(chained.order_by(_SEAL.c.position).execution_options(yield_per=_AT_A_TIME))
    for row in found:
        why = "order" if row.position != position + 1 else "gone" if row.id is None else ""
        if not why and link(before, _stored(row)) != row.hash:
            why = "changed"
        if why:
            found.close()
            return Verdict(sealed, unsealed, before, row.entry, why)
        before, position, sealed = row.hash, row.position, sealed + 1
    return Verdict(sealed, unsealed, before)


def listed(
    work: Work, since: datetime, *, of: str | None = None, by: str | None = None, limit: int | None = None
) -> Iterator[Entry]:
    """What happened since then, newest first; only what concerned `of`, only what `by` did."""
    query = select(_AUDIT).where(_AUDIT.c.at >= since).order_by(_AUDIT.c.at.desc(), _AUDIT.c.id.desc())
    if of is not None:
        query = query.where(_AUDIT.c.whose.contains(plain(of), autoescape=True))
    if by is not None:
        query = query.where(_AUDIT.c.who == literal(by))
    if limit is not None:
        query = query.limit(limit)
    for row in work.run(query):
        yield _entry(row)


def last(work: Work, action: Action) -> Entry | None:
    """The newest entry of a kind."""
    query = select(_AUDIT).where(_AUDIT.c.action == action.value).order_by(_AUDIT.c.id.desc()).limit(1)
    row = work.run(query).one_or_none()
    return None if row is None else _entry(row)


def _stored(row: Any) -> Stored:
    return Stored(row.id, row.at, row.who, row.role, row.channel, row.action, row.whose, row.rows, row.old, row.new)


def _entry(row: Any) -> Entry:
    return Entry(
        at=row.at,
        who=row.who,
        role=row.role,
        channel=row.channel,
        action=Action(row.action),
        whose=tuple(json.loads(row.whose)),
        rows={name: tuple(numbers) for name, numbers in json.loads(row.rows).items()},
        old=row.old,
        new=row.new,
        id=row.id,
    )
