"""Invites made while the bot runs: the database is the bot's alone then, so they wait as files until its next tick.

A file holds what the database will hold: the hash of the token, never the token.
"""

import json
import logging
import os
from datetime import datetime
from pathlib import Path

from rules.people import Part, system
from storage import people
from storage.database import Database
from storage.people import Invite

log = logging.getLogger(__name__)


def spool(folder: Path, invite: Invite) -> None:
    """Leave an invite for the running bot; whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = {
        "token_hash": invite.token_hash,
        "employee": invite.employee,
        "made_at": invite.made_at.isoformat(),
        "expires_at": invite.expires_at.isoformat(),
    }
    written = folder / f"{invite.token_hash}.part"
    written.write_text(json.dumps(data), encoding="utf-8")
    os.replace(written, folder / f"{invite.token_hash}.json")


def take(database: Database, folder: Path) -> int:
    """Put what lies in the folder into the database; how many invites."""
    taken = 0
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            invite = Invite(
                str(data["token_hash"]),
                str(data["employee"]),
                datetime.fromisoformat(data["made_at"]),
                datetime.fromisoformat(data["expires_at"]),
            )
        except (ValueError, KeyError, TypeError):
            log.warning("%s is no invite", path.name)
            path.rename(path.with_suffix(".bad"))
            continue
        with database.work(system(Part.CONSOLE)) as work:
            if people.employee(work, invite.employee) is not None:
                people.keep_invite(work, invite)
                taken += 1
        path.unlink()
    return taken
