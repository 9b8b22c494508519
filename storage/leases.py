"""Who is at something that one process at a time may do, where several work on one PostgreSQL.

A lease ends by itself when its holder does not renew it, so a machine that never returns holds nothing up for long. The
server's clock counts. One whose holder has no connection left, because the process died, is free at once; for this all
of them connect as the same role and directly, not through a pool that lends connections.

Nothing's truth hangs on a lease: whoever lost one unawares finds the rows themselves locked or done. It keeps two
processes from fetching the same file or sending the same message at the same time.
"""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import column, delete, func, not_, or_, select, table, update

from storage.database import Work, insert
from storage.engines import session_name
from storage.tables.work import LeaseRow

SECONDS = 25.0  # what a dead process holds is free again after this long

_SESSIONS = table("pg_stat_activity", column("application_name"), column("datname"))


def take(work: Work, names: Collection[str], holder: str, seconds: float = SECONDS) -> set[str]:
    """Which of these the holder has now, for so long. What somebody else has is left to them."""
    if not names:
        return set()
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    wanted = insert(work, LeaseRow).values([{"name": name, "holder": holder, "until": until} for name in sorted(names)])
    living = select(_SESSIONS.c.application_name).where(
        _SESSIONS.c.application_name.startswith(session_name("")), _SESSIONS.c.datname == func.current_database()
    )
    lives = (session_name("") + LeaseRow.holder).in_(living)
    free = or_(LeaseRow.until < func.clock_timestamp(), LeaseRow.holder == holder, not_(lives))
    taken = wanted.on_conflict_do_update(
        index_elements=[LeaseRow.name],
        set_={"holder": wanted.excluded.holder, "until": wanted.excluded.until},
        where=free,
    ).returning(LeaseRow.name)
    return set(work.session.scalars(taken))


def renew(work: Work, holder: str, seconds: float = SECONDS) -> set[str]:
    """Hold on to everything the holder has; what that is."""
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    held = update(LeaseRow).where(LeaseRow.holder == holder).values(until=until).returning(LeaseRow.name)
    return set(work.session.scalars(held))


def give_back(work: Work, names: Collection[str], holder: str) -> None:
    if names:
        work.session.execute(delete(LeaseRow).where(LeaseRow.name.in_(sorted(names)), LeaseRow.holder == holder))


def give_back_all(work: Work, holder: str) -> None:
    """At the end of a process."""
    work.session.execute(delete(LeaseRow).where(LeaseRow.holder == holder))


def held(work: Work) -> dict[str, str]:
    """Who holds what right now."""
    rows = work.session.execute(
        select(LeaseRow.name, LeaseRow.holder).where(LeaseRow.until > func.clock_timestamp()).order_by(LeaseRow.name)
    )
    return {name: holder for name, holder in rows}
