"""What an operator wants done to rows that were given up while the bot runs: the database is the bot's alone then, so a
request waits as a file until its next tick. It names rows and says what to do; it holds nothing that people wrote.
"""

import json
import logging
import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from handlers import set_aside as handling
from rules.people import Part, system
from storage import set_aside
from storage.database import Database, Work
from storage.set_aside import KINDS, Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """`reason` is empty for trying again, and why it is dropped otherwise."""

    rows: tuple[tuple[Kind, int], ...]
    reason: str = ""


def carry_out(work: Work, request: Request, now: datetime) -> int:
    """Do what was asked; to how many rows. Those that were dealt with meanwhile are left alone."""
    done = 0
    for kind, row in request.rows:
        if request.reason:
            done += set_aside.drop(work, kind, row, request.reason)
        else:
            done += handling.again(work, kind, row, now)
    return done


def spool(folder: Path, request: Request) -> None:
    """Leave a request for the running bot; whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    written = folder / f"{name}.part"
    data = {"rows": [list(row) for row in request.rows], "reason": request.reason}
    written.write_text(json.dumps(data), encoding="utf-8")
    os.replace(written, folder / f"{name}.json")


def take(database: Database, folder: Path, now: datetime) -> int:
    """Carry out what lies in the folder; for how many rows."""
    done = 0
    for path in sorted(folder.glob("*.json")):
        try:
            request = _read(path)
        except (ValueError, KeyError, TypeError):
            log.warning("%s is no request", path.name)
            path.rename(path.with_suffix(".bad"))
            continue
        with database.work(system(Part.CONSOLE)) as work:
            changed = carry_out(work, request, now)
        path.unlink()
        log.info("operator: %s of %s rows %s", changed, len(request.rows), "dropped" if request.reason else "retried")
        done += changed
    return done


def _read(path: Path) -> Request:
    """Raises ValueError, KeyError or TypeError for what is no request."""
    data = json.loads(path.read_text(encoding="utf-8"))
    rows: list[tuple[Kind, int]] = []
    for kind, row in data["rows"]:
        known = next((one for one in KINDS if one == kind), None)
        if known is None or not isinstance(row, int):
            raise ValueError(kind)
        rows.append((known, row))
    return Request(tuple(rows), str(data["reason"]))
