"""What is done at the console leaves an entry of the audit trail too: who ran it is the machine's own user.

Where a running bot has the database, or there is none to write to yet, the entry waits as a file for its next tick.
"""

import json
import logging
import os
import pwd
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.settings import Settings
from rules.audit import CONSOLE, Action, Entry, plain
from rules.people import Part, system
from storage import audit
from storage.database import Database, Work

log = logging.getLogger(__name__)

FOLDER: Final = "audit"


def entry(
    action: Action,
    *,
    whose: Sequence[str] = (),
    rows: Mapping[str, tuple[int | str, ...]] | None = None,
    old: str = "",
    new: str = "",
) -> Entry:
    """What the user of this machine does now."""
    return Entry(datetime.now(UTC), _user(), CONSOLE, CONSOLE, action, tuple(whose), rows, old, new)


def _user() -> str:
    """As the machine knows the user; LOGNAME and its like say what the user sets them to."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        return str(os.getuid())


def keep(settings: Settings, database: Database | None, made: Entry, *, running: bool = False) -> None:
    """Write an entry now, or leave it for the bot that has the database."""
    if database is None or running:
        spool(settings.data_dir / FOLDER, made)
        return
    with database.work(system(Part.CONSOLE)) as work:
        write(work, made)


def write(work: Work, made: Entry) -> None:
    audit.add(work, made)
    audit.seal(work)


def spool(folder: Path, made: Entry) -> None:
    """Leave an entry for the running bot; whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = {
        "at": made.at.isoformat(),
        "who": made.who,
        "action": made.action.value,
        "whose": made.whose,
        "rows": dict(made.rows or {}),
        "old": made.old,
        "new": made.new,
    }
    name = f"{made.at:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex}"
    written = folder / f"{name}.part"
    written.write_text(json.dumps(data), encoding="utf-8")
    os.replace(written, folder / f"{name}.json")


def take(database: Database, folder: Path) -> int:
    """Write what lies in the folder; how many entries."""
    taken = 0
    for path in sorted(folder.glob("*.json")):
        try:
            made = _read(path)
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s is no entry of the audit trail", path.name)
            path.rename(path.with_suffix(".bad"))
            continue
        with database.work(system(Part.CONSOLE)) as work:
            audit.add(work, made)
        path.unlink()
        taken += 1
    return taken


def note_settings(database: Database, settings: Settings) -> None:
    """At the start: the settings in force, where they are not those of the last time. Secrets are shown as dots."""
    now = plain({f"{one.table}.{one.key}" if one.table else one.key: str(one.value) for one in settings.in_force()})
    with database.work(system(Part.CONSOLE)) as work:
        before = audit.last(work, Action.SETTINGS)
        if before is None or before.new != now:
            audit.add(work, entry(Action.SETTINGS, old="" if before is None else before.new, new=now))
        audit.seal(work, everything=True)


def _read(path: Path) -> Entry:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Entry(
        datetime.fromisoformat(data["at"]),
        str(data["who"]),
        CONSOLE,
        CONSOLE,
        Action(data["action"]),
        tuple(str(code) for code in data["whose"]),
        {str(name): tuple(numbers) for name, numbers in data["rows"].items()},
        str(data["old"]),
        str(data["new"]),
    )
