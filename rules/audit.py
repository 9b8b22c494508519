"""The audit trail: what an entry says, and how entries are chained so that a change in one is found."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

CONSOLE: Final = "console"  # the channel and the role of whoever runs commands on the machine
START: Final = "0" * 64  # what stands before the first link


class Action(StrEnum):
    VIEW = "view"
    EXPORT = "export"
    IMPORT = "import"
    INVITE = "invite"
    RETRY = "retry"
    DROP = "drop"
    DECIDE = "decide"
    CORRECT = "correct"
    UNDO = "undo"
    VOID = "void"
    SETTINGS = "settings"
    BACKUP = "backup"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Entry:
    """`who` did something at `at`: an employee's code, or the machine's user where `role` is CONSOLE.

    `whose`: codes of those whose data it was. `rows`: numbers or codes of rows by table, never what stands in them; the
    changes of a visit are kept with the visit, and are named here. `old` and `new`: what is kept nowhere else.
    """

    at: datetime
    who: str
    role: str
    channel: str
    action: Action
    whose: tuple[str, ...] = ()
    rows: Mapping[str, tuple[int | str, ...]] | None = None
    old: str = ""
    new: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry to the letter as it is stored, which is what the chain covers."""

    id: int
    at: datetime
    who: str
    role: str
    channel: str
    action: str
    whose: str
    rows: str
    old: str
    new: str


def plain(value: object) -> str:
    """JSON in the one form in which it is stored and sealed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def link(before: str, stored: Stored) -> str:
    """The hash of an entry and everything before it: SHA-256 over the hash before and the entry as JSON."""
    at = stored.at.astimezone(UTC).isoformat(timespec="microseconds")
    said = [stored.id, at, stored.who, stored.role, stored.channel, stored.action]
    told = plain([before, *said, stored.whose, stored.rows, stored.old, stored.new])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def concerns_others(entry: Entry) -> bool:
    """Whoever looks at the own data leaves no trace of it."""
    return entry.action is not Action.VIEW or any(code != entry.who for code in entry.whose)
