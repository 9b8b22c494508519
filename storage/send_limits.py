"""What is known of the platforms' limits beyond one process: how far each is used up, and who told us to wait.

Buckets are for PostgreSQL, where several processes send for one bot. The server's clock counts, so that theirs may
differ.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Float, cast, delete, extract, func, select, text

from storage.database import Work, insert
from storage.tables.columns import plain
from storage.tables.limits import SendBucketRow, SendHoldRow, SendWindowRow

_BUCKETS = plain(SendBucketRow)
_WINDOWS = plain(SendWindowRow)
_HOLDS = plain(SendHoldRow)

Moments = list[tuple[int, int]]


def move_on(work: Work, costs: Mapping[str, float]) -> dict[str, float]:
    """Take from buckets: how much of each, in seconds until it has come back. Returns in how many seconds each was
    to be full before this (0: it was). PostgreSQL only. One statement; the rows are locked in order of their names.

    What a crash of the server may take back of it are milliseconds, so the commit does not wait for the disk.
    """
    work.run(text("set local synchronous_commit = off"))
    began = func.statement_timestamp()
    wanted = insert(work, _BUCKETS).values(
        [{"name": name, "full_at": began + timedelta(seconds=costs[name])} for name in sorted(costs)]
    )
    # What is taken stands in the proposed row alone, on top of the statement's beginning. The lock may come later.
    taken = wanted.on_conflict_do_update(
        index_elements=[_BUCKETS.c.name],
        set_={"full_at": func.greatest(_BUCKETS.c.full_at, func.clock_timestamp()) + (wanted.excluded.full_at - began)},
    ).returning(
        _BUCKETS.c.name, cast(extract("epoch", _BUCKETS.c.full_at - func.clock_timestamp()), Float).label("left")
    )
    return {row.name: max(0.0, row.left - costs[row.name]) for row in work.run(taken)}


def clock(work: Work) -> float | None:
    """Seconds since 1970 by the server's clock; None on SQLite, where there is only ours."""
    if work.dialect != "postgresql":
        return None
    found: float = work.run(select(cast(extract("epoch", func.clock_timestamp()), Float))).scalar_one()
    return found


def moments(work: Work, name: str) -> Moments:
    """What went to one chat, oldest first. Nobody else reads or writes it until the transaction ends."""
    work.alone(f"sending:{name}")
    kept = work.run(select(_WINDOWS.c.moments).where(_WINDOWS.c.name == name)).scalar_one_or_none()
    return [(int(second), int(count)) for second, count in kept or ()]


def keep_moments(work: Work, name: str, kept: Sequence[tuple[int, int]]) -> None:
    row = insert(work, _WINDOWS).values(name=name, moments=[list(one) for one in kept])
    work.run(row.on_conflict_do_update(index_elements=[_WINDOWS.c.name], set_={"moments": row.excluded.moments}))


def hold(work: Work, channel: str, chat: str, until: datetime, now: datetime) -> datetime | None:
    """A platform told us to wait with a chat. When it said so of another chat too, and that is not over yet, it means
    the whole bot: until when all of the channel has to wait; None while it is this chat alone.
    """
    work.alone(f"hold:{channel}")
    work.run(delete(_HOLDS).where(_HOLDS.c.until <= now))
    _wait(work, f"{channel}:{chat}", until)
    others = select(func.max(_HOLDS.c.until)).where(
        _HOLDS.c.name.startswith(f"{channel}:", autoescape=True), _HOLDS.c.name != f"{channel}:{chat}"
    )
    other: datetime | None = work.run(others).scalar_one()
    if other is None:
        return None
    both = max(other, until)
    _wait(work, channel, both)
    return both


def _wait(work: Work, name: str, until: datetime) -> None:
    row = insert(work, _HOLDS).values(name=name, until=until)
    longer = {"until": row.excluded.until}
    work.run(
        row.on_conflict_do_update(
            index_elements=[_HOLDS.c.name], set_=longer, where=_HOLDS.c.until < row.excluded.until
        )
    )


def held(work: Work, channels: Collection[str], now: datetime) -> dict[str, datetime]:
    """Of which channels nothing may be sent now, and until when."""
    rows = work.run(select(_HOLDS).where(_HOLDS.c.name.in_(list(channels)), _HOLDS.c.until > now))
    return {row.name: row.until for row in rows}
