"""How a database is doing: what waits and since when, what was given up, who has the file."""

import os
import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, column, func, or_, select, table, text
from sqlalchemy.exc import DBAPIError

from rules.people import Part, system
from storage import jobs, leases, table_copy
from storage.database import Database, Work
from storage.engines import session_name
from storage.tables.people import AccountRow
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.work import ApiTokenRow

# The WAL-reset bug: with two writing connections a file could be damaged. Mended in 3.51.3 and in these two branches.
_MENDED = (3, 51, 3)
_MENDED_BRANCHES = ((3, 44, 6), (3, 50, 7))

POLLING = "polling:"  # what the lease on a channel that one process alone may receive on begins with
_SESSIONS = text(
    "select count(distinct application_name) from pg_stat_activity where datname = current_database() "
    "and application_name like :ours and application_name <> :mine"
)
_WORKERS = text(
    "select count(*) from procrastinate_workers "
    "where last_heartbeat > clock_timestamp() - make_interval(secs => :seconds)"
)
_CLOCK = text("select clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Health:
    """`oldest_unsent`: since when the oldest message is due that was not sent; `newest` the last time anything came."""

    waiting: int
    oldest_waiting: datetime | None
    unsent: int
    oldest_unsent: datetime | None
    for_their_person: int
    dead: int
    jobs: int
    unreachable: int
    newest: datetime | None
    token_troubles: tuple[tuple[str, str], ...]
    oldest_job: datetime | None
    stuck_jobs: int


@dataclass(frozen=True, slots=True)
class Alive:
    """Who is at work on a PostgreSQL database: processes of ours with a connection, those of them that say that they
    run jobs, and what is being polled.
    """

    processes: int
    workers: int
    polled: tuple[str, ...]


def look(work: Work, now: datetime) -> Health:
    session = work.session
    waiting, oldest_waiting = session.execute(
        select(func.count(), func.min(InboxRow.received_at)).where(InboxRow.state == "new")
    ).one()
    unsent, oldest_unsent = session.execute(
        select(func.count(), func.min(OutboxRow.due_at)).where(OutboxRow.state == "due", OutboxRow.due_at <= now)
    ).one()
    given_up = (
        select(func.count()).where(InboxRow.state == "dead"),
        select(func.count()).where(OutboxRow.state == "failed"),
    )
    slow_work = jobs.counts(work)
    troubles = session.execute(
        select(ApiTokenRow.name, ApiTokenRow.trouble).where(ApiTokenRow.trouble.is_not(None), ApiTokenRow.trouble != "")
    )
    return Health(
        waiting=waiting,
        oldest_waiting=oldest_waiting,
        unsent=unsent,
        oldest_unsent=oldest_unsent,
        for_their_person=session.scalar(select(func.count()).where(OutboxRow.state == "waiting")) or 0,
        dead=slow_work.get("dead", 0) + sum(session.scalar(query) or 0 for query in given_up),
        jobs=slow_work.get("ready", 0) + slow_work.get("running", 0),
        unreachable=session.scalar(select(func.count()).where(AccountRow.reachable.is_(False))) or 0,
        newest=session.scalar(select(func.max(InboxRow.received_at))),
        token_troubles=tuple((name, trouble or "") for name, trouble in troubles),
        oldest_job=jobs.oldest_due(work, now),
        stuck_jobs=jobs.stuck(work),
    )


def alive(work: Work, but: str) -> Alive:
    """As the server sees it now. `but` is the process that asks: it is not counted."""
    sessions = work.run(_SESSIONS, ours=session_name("") + "%", mine=session_name(but)).scalar_one()
    workers = work.run(_WORKERS, seconds=jobs.SILENT_SECONDS).scalar_one()
    polled = (name.split(":", 2)[1] for name in leases.held(work) if name.startswith(POLLING))
    return Alive(sessions, workers, tuple(sorted(set(polled))))


def server_time(work: Work) -> datetime:
    """What the clock of a PostgreSQL server says."""
    at: datetime = work.run(_CLOCK).scalar_one()
    return at


def unbound_role(work: Work) -> str | None:
    """The role that the bot connects as, where row-level security does not bind it; None where it does."""
    if work.dialect != "postgresql":
        return None
    roles = table("pg_roles", column("rolname"), column("rolsuper"), column("rolbypassrls"))
    unbound = or_(roles.c.rolsuper, roles.c.rolbypassrls)
    name: str | None = work.run(
        select(roles.c.rolname).where(roles.c.rolname == func.current_user(), unbound)
    ).scalar_one_or_none()
    return name


def sqlite_version() -> str:
    return sqlite3.sqlite_version


def has_wal_reset_bug(version: tuple[int, int, int] = sqlite3.sqlite_version_info[:3]) -> bool:
    """Whether this SQLite (3.7.0 to 3.51.2 without the repair) has the bug that our one writing connection avoids."""
    if version >= _MENDED:
        return False
    return not any(version[:2] == branch[:2] and version >= branch for branch in _MENDED_BRANCHES)


def damage(connection: Connection) -> list[str]:
    """What SQLite finds wrong in its file, reading all of it; empty when it is whole."""
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
    broken = {str(row[0]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
    return [line for line in found if line != "ok"] + sorted(f"foreign key: {table}" for table in broken)


def damage_of(database: Database) -> list[str]:
    """What cannot be read, trying all of it."""
    if database.shared:
        return _unreadable(database)
    with database.reader.connect() as connection:
        return damage(connection)


def _unreadable(database: Database) -> list[str]:
    """A server keeps its own files; what we can do is read every row to its end, each table in a look of its own."""
    found = []
    for one in table_copy.tables():
        try:
            with database.read(system(Part.CONSOLE), long=True) as work:
                table_copy.content(work, one, work.dialect)
        except DBAPIError as trouble:
            found.append(f"{one.name}: {table_copy.without_words(trouble)}")
    return found


def holder(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that has a SQLite file for writing; None when none has, or it cannot be seen from here."""
    try:
        inode = os.stat(f"{path}.lock").st_ino
        lines = locks.read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"FLOCK +ADVISORY +WRITE +(\d+) +\S+:{inode} ", lines)
    return int(found.group(1)) if found else None
