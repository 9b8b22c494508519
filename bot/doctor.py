"""What zoudian doctor looks at. Nothing is changed, and the bot may go on running meanwhile."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from bot.settings import Settings, unknown_variables
from bot.wiring import has_model
from rules.people import Part, system
from rules.work_days import holidays_are_known
from storage import alerts, health, indexes
from storage.database import Database
from storage.engines import DatabaseAway, NoDriver, moved_mark, moved_to
from storage.migrate import current, fits, knows, newest
from web.here import here_path

Level = Literal["fine", "hint", "bad"]
HOLIDAYS_AHEAD: Final = timedelta(days=31)
LATE: Final = timedelta(minutes=1)  # a message is sent within seconds; so long means that something is in the way
VERY_LATE: Final = timedelta(minutes=10)
_LOW_DISK_MB: Final = 1000
_NO_DISK_MB: Final = 100
MISSED_SHOWN: Final = timedelta(days=7)
JOB_LATE: Final = timedelta(minutes=10)  # a queue of voice notes is no fault, only to be known
CLOCKS_APART: Final = timedelta(seconds=2)
CLOCKS_FAR_APART: Final = timedelta(seconds=30)
_CLOCK_SLACK: Final = timedelta(minutes=2)
_BUILT: Final = 2026  # no machine's clock is right that stands before the year this was written in


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence (a key of the texts) that says what is and, where it is not fine, what to do next."""

    level: Level
    key: str
    values: dict[str, Any] = field(default_factory=dict)


def examine(settings: Settings, now: datetime, *, deep: bool = False) -> Iterator[Finding]:
    """Everything there is to say, in the order it is looked at. `deep` reads the whole database."""
    began = time.monotonic()

    def clock() -> datetime:
        return now + timedelta(seconds=time.monotonic() - began)

    yield from _surroundings(settings, now)
    for folder in _folders(settings):
        yield from _folder(folder)
    yield from _database(settings, clock, deep=deep)
    yield from _channels(settings)


def _surroundings(settings: Settings, now: datetime) -> Iterator[Finding]:
    local = now.astimezone(ZoneInfo(settings.limits.time_zone))
    if local.year < _BUILT:
        yield Finding("bad", "doctor.clock_wrong", {"now": f"{local:%Y-%m-%d %H:%M}"})
    else:
        yield Finding("fine", "doctor.clock", {"now": f"{local:%Y-%m-%d %H:%M}", "zone": settings.limits.time_zone})
    ahead = (local + HOLIDAYS_AHEAD).date()
    if settings.limits.holidays_off and settings.limits.work_days and not holidays_are_known(ahead):
        yield Finding("hint", "doctor.holidays", {"year": ahead.year})
    version = health.sqlite_version()
    yield Finding("fine", "doctor.sqlite_bug" if health.has_wal_reset_bug() else "doctor.sqlite", {"version": version})
    unused = unknown_variables(os.environ)
    if unused:
        yield Finding("hint", "doctor.variables", {"names": unused})
    if has_model(settings.transcribe):
        yield Finding("fine", "doctor.model", {"model": Path(settings.transcribe.model).name})
    else:
        yield Finding("hint", "doctor.no_model", {"model": settings.transcribe.model})


def _folders(settings: Settings) -> list[Path]:
    """Ours, and that of the files where it is elsewhere or on another disk."""
    ours, kept = settings.data_dir, settings.files
    apart = not kept.folder.is_relative_to(ours) or _on_another_disk(kept.folder, ours)
    return [ours, kept.folder] if kept.kind == "local" and apart else [ours]


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    yield from _disk(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("bad", "doctor.not_writable", {"folder": folder})
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        yield Finding("hint", "doctor.others_can_read", {"folder": folder})


def _on_another_disk(folder: Path, than: Path) -> bool:
    return folder.is_dir() and than.is_dir() and folder.stat().st_dev != than.stat().st_dev


def _disk(folder: Path) -> Iterator[Finding]:
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    values = {"free": free_mb, "folder": folder}
    if free_mb < _NO_DISK_MB:
        yield Finding("bad", "doctor.disk_full", values)
    elif free_mb < _LOW_DISK_MB:
        yield Finding("hint", "doctor.disk_low", values)
    else:
        yield Finding("fine", "doctor.disk", values)


def _database(settings: Settings, now: Callable[[], datetime], *, deep: bool) -> Iterator[Finding]:
    path, running = settings.sqlite_path, True
    if path is not None:
        if not path.is_file():
            yield Finding("bad", "doctor.no_database", {"file": path})
            return
        mark = moved_mark(path)
        if mark.exists():
            yield Finding("bad", "doctor.moved", {"file": path, "to": moved_to(mark), "mark": mark})
        pid = health.holder(path)
        running = pid is not None
        yield Finding("fine", "doctor.running" if running else "doctor.not_running", {"pid": pid, "file": path})
    try:
        database = Database(settings.database_url, reads_only=True)
    except DatabaseAway as away:
        yield Finding("bad", "doctor.server_away", {"url": away})
        return
    except NoDriver:
        yield Finding("bad", "doctor.no_driver")
        return
    except Exception as error:  # whatever the driver says, the others are still to be looked at
        yield Finding("bad", "doctor.unreachable", {"detail": type(error).__name__})
        return
    try:
        yield from _inside(database, now, ZoneInfo(settings.limits.time_zone), running=running, deep=deep)
    except Exception as error:
        # The driver's own words; SQLAlchemy's would repeat the statement.
        reason = getattr(error, "orig", None) or type(error).__name__
        yield Finding("bad", "doctor.unreachable", {"detail": reason})
    finally:
        database.close()


def _inside(
    database: Database, clock: Callable[[], datetime], zone: ZoneInfo, *, running: bool, deep: bool
) -> Iterator[Finding]:
    if database.shared:
        yield from _server(database, clock)
    revision = current(database)
    newer = revision is not None and not knows(revision)
    if newer and not fits(database):
        yield Finding("bad", "doctor.newer", {"revision": revision, "newest": newest()})
        return
    if revision != newest() and not newer:
        yield Finding("hint", "doctor.older", {"revision": revision or "—", "newest": newest()})
        return
    yield Finding("fine", "doctor.revision", {"revision": revision})
    if not newer and (lacking := indexes.lacking(database)):
        yield Finding("hint", "doctor.indexes", {"count": len(lacking), "names": lacking})
    if database.shared:
        with database.read(system(Part.CONSOLE)) as work:
            alive = health.alive(work, database.holder)
        running = alive.processes > 0
        yield from _who_is_alive(alive)
    now = clock()
    if deep:
        found = health.damage_of(database)
        if found:
            yield Finding("bad", "doctor.damaged", {"detail": found[:3]})
        else:
            yield Finding("fine", "doctor.readable" if database.shared else "doctor.whole")
    with database.read(system(Part.CONSOLE)) as work:
        seen = health.look(work, now)
        missed = alerts.missed(work, now - MISSED_SHOWN)
        unbound = health.unbound_role(work)
    if unbound is not None:
        yield Finding("hint", "doctor.role_unbound", {"name": unbound})
    yield from _waiting(seen, now, running=running)
    if seen.dead:
        yield Finding("hint", "doctor.dead", {"count": seen.dead})
    if missed:
        last = f"{missed[-1].due_at.astimezone(zone):%Y-%m-%d %H:%M}"
        yield Finding("hint", "doctor.missed", {"count": len(missed), "last": last})
    if seen.stuck_jobs and not running:
        yield Finding("hint", "doctor.jobs_stuck", {"count": seen.stuck_jobs})
    elif seen.stuck_jobs:
        yield Finding("bad", "doctor.jobs_stuck", {"count": seen.stuck_jobs})
    if seen.unreachable:
        yield Finding("hint", "doctor.people_unreachable", {"count": seen.unreachable})
    if seen.for_their_person:
        yield Finding("fine", "doctor.for_their_person", {"count": seen.for_their_person})
    for name, trouble in seen.token_troubles:
        yield Finding("bad", "doctor.token", {"name": name.partition(":")[0], "detail": trouble})
    if seen.newest is not None and seen.newest > now + _CLOCK_SLACK:
        yield Finding("bad", "doctor.clock_back", {"minutes": round((seen.newest - now).total_seconds() / 60)})


def _server(database: Database, clock: Callable[[], datetime]) -> Iterator[Finding]:
    """It answered. What is due is decided by our clock, who lives by the server's: the two should agree."""
    url = database.url.render_as_string(hide_password=True)
    yield Finding("fine", "doctor.server", {"version": database.version, "url": url})
    with database.read(system(Part.CONSOLE)) as work:
        before = clock()
        theirs = health.server_time(work)
        ours = before + (clock() - before) / 2
    apart = abs(theirs - ours)
    if apart < CLOCKS_APART:
        yield Finding("fine", "doctor.server_clock")
    else:
        level: Level = "bad" if apart >= CLOCKS_FAR_APART else "hint"
        yield Finding(level, "doctor.server_clock_off", {"seconds": round(apart.total_seconds())})


def _who_is_alive(alive: health.Alive) -> Iterator[Finding]:
    if not alive.processes:
        yield Finding("fine", "doctor.nobody")
        return
    yield Finding("fine", "doctor.alive", {"count": alive.processes, "workers": alive.workers})
    if not alive.workers:
        yield Finding("hint", "doctor.no_worker")
    if alive.polled:
        yield Finding("fine", "doctor.polling", {"names": alive.polled})


def _waiting(seen: health.Health, now: datetime, *, running: bool) -> Iterator[Finding]:
    """What stands still while nothing runs is no fault, only to be known."""
    if not running:
        if seen.waiting or seen.unsent or seen.jobs:
            counts = {"waiting": seen.waiting, "unsent": seen.unsent, "jobs": seen.jobs}
            yield Finding("hint", "doctor.stands_still", counts)
        return
    for count, since, late, fine in (
        (seen.waiting, seen.oldest_waiting, "doctor.inbox_late", "doctor.inbox"),
        (seen.unsent, seen.oldest_unsent, "doctor.outbox_late", "doctor.outbox"),
    ):
        age = now - since if since is not None else timedelta(0)
        values = {"count": count, "minutes": round(age.total_seconds() / 60)}
        if age < LATE:
            yield Finding("fine", fine, values)
        else:
            yield Finding("bad" if age >= VERY_LATE else "hint", late, values)
    waits = now - seen.oldest_job if seen.oldest_job is not None else timedelta(0)
    if waits >= JOB_LATE:
        yield Finding("hint", "doctor.jobs_late", {"count": seen.jobs, "minutes": round(waits.total_seconds() / 60)})


def _channels(settings: Settings) -> Iterator[Finding]:
    telegram, wecom, mp = settings.telegram, settings.wecom, settings.mp
    on = [
        name
        for name, secret in (("Telegram", telegram.token), ("企业微信", wecom.secret), ("公众号", mp.token))
        if secret.get_secret_value()
    ]
    yield Finding("fine", "doctor.channels", {"names": on}) if on else Finding("hint", "doctor.web_alone")
    if telegram.token.get_secret_value() and not telegram.bot_name:
        yield Finding("hint", "doctor.no_bot_name")
    public = settings.web.public_url
    if (wecom.secret.get_secret_value() or mp.token.get_secret_value()) and not public:
        yield Finding("hint", "doctor.no_public_url")
    if public and not public.startswith("https://"):
        yield Finding("hint", "doctor.not_https", {"address": public})
    yield from _here_pages(settings)


def _here_pages(settings: Settings) -> Iterator[Finding]:
    """Where the page for the exact position is, if any chat has one."""
    public, mp = settings.web.public_url.rstrip("/"), settings.mp
    on = {
        "wecom": bool(settings.wecom.secret.get_secret_value()),
        "mp": bool(mp.token.get_secret_value()) and mp.mode == "完整",
    }
    pages = [f"{public}{here_path(channel)}" for channel, is_on in on.items() if is_on]
    if pages and public:
        secure = public.startswith("https://")
        yield (
            Finding("fine", "doctor.here_page", {"pages": pages}) if secure else Finding("hint", "doctor.here_page_not")
        )
