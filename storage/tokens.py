"""Access tokens of WeChat's and WeCom's APIs, and who may fetch the next one: one caller at a time, in any process.

A token is a row under a name that holds no secret (`wecom:<corp id>:<agent id>`, `mp:<app id>`). Whoever needs a new
one claims the row with a single UPDATE that names the condition; the database lets one of many callers win, on SQLite
by its one writer, on PostgreSQL by the row's lock and the condition read again behind it. A claim ends by itself, so a
process that died while fetching holds up nobody for long. A failed fetch is remembered until `retry_at`, so that the
callers who waited do not knock one after another.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update

from storage.database import Work, insert
from storage.tables.work import ApiTokenRow

USED = "used:"


@dataclass(frozen=True, slots=True)
class Kept:
    """A token as it is kept. `expires_at` None: it holds until it is replaced."""

    value: str = field(repr=False)
    fetched_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The last fetch failed with this code of the platform (0: not reached); nobody tries again before `retry_at`."""

    errcode: int
    text: str
    retry_at: datetime


def kept(work: Work, name: str, now: datetime) -> Kept | None:
    """The token of this name, unless it has expired."""
    row = work.session.get(ApiTokenRow, name)
    if row is None or row.value is None or row.fetched_at is None:
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    return Kept(row.value, row.fetched_at, row.expires_at)


def failed(work: Work, name: str, now: datetime) -> Failed | None:
    """The failure that holds fetching back, if one does."""
    row = work.session.get(ApiTokenRow, name)
    if row is None or row.retry_at is None or row.retry_at <= now:
        return None
    return Failed(row.errcode or 0, row.trouble or "", row.retry_at)


def claim(work: Work, name: str, now: datetime, *, until: datetime, refused: str | None, margin: timedelta) -> bool:
    """True when the caller is the one to fetch: there is no token, it ends within `margin`, or it is the `refused` one.

    False when somebody else is fetching, when a fetch failed a moment ago, or when there is a good token by now.
    """
    make_row(work, name)
    won = (
        update(ApiTokenRow)
        .where(
            ApiTokenRow.name == name,
            or_(ApiTokenRow.claimed_until.is_(None), ApiTokenRow.claimed_until <= now),
            or_(ApiTokenRow.retry_at.is_(None), ApiTokenRow.retry_at <= now),
            or_(
                ApiTokenRow.value.is_(None),
                ApiTokenRow.expires_at <= now + margin,
                ApiTokenRow.value == refused,  # NULL, and so never true, when nothing was refused
            ),
        )
        .values(claimed_until=until)
        .returning(ApiTokenRow.name)
        .execution_options(synchronize_session=False)
    )
    return work.session.execute(won).first() is not None


def keep(work: Work, name: str, value: str, now: datetime, expires_at: datetime | None) -> None:
    """Put a token (or a ticket) in place of the old one; ends the claim and forgets the last failure."""
    make_row(work, name)
    _set(
        work,
        name,
        value=value,
        fetched_at=now,
        expires_at=expires_at,
        claimed_until=None,
        retry_at=None,
        errcode=None,
        trouble=None,
    )


def give_up(work: Work, name: str, errcode: int, text: str, retry_at: datetime) -> None:
    """End a claim whose fetch failed."""
    _set(work, name, claimed_until=None, retry_at=retry_at, errcode=errcode, trouble=text[:300])


def drop(work: Work, name: str) -> None:
    work.session.execute(delete(ApiTokenRow).where(ApiTokenRow.name == name))


def use_once(work: Work, name: str, now: datetime, until: datetime) -> bool:
    """True for the first of all who use this name, in any process. It is remembered `until` then, when it is worthless.

    For what is signed and may be used once, like the state of a login.
    """
    used = ApiTokenRow.name.startswith(USED)
    work.session.execute(delete(ApiTokenRow).where(used, ApiTokenRow.expires_at <= now))
    first = (
        insert(work, ApiTokenRow)
        .values(name=f"{USED}{name}", expires_at=until)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(ApiTokenRow.name)
    )
    return work.session.execute(first).first() is not None


def make_row(work: Work, name: str) -> None:
    """See that there is a row; two callers at once make one."""
    if work.session.scalar(select(ApiTokenRow.name).where(ApiTokenRow.name == name)) is not None:
        return
    work.session.execute(insert(work, ApiTokenRow).values(name=name).on_conflict_do_nothing(index_elements=["name"]))


def _set(work: Work, name: str, **values: object) -> None:
    changed = update(ApiTokenRow).where(ApiTokenRow.name == name).values(**values)
    work.session.execute(changed.execution_options(synchronize_session=False))
