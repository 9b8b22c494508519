"""The audit trail in a chat: what a turn leaves in it, and 谁看过我: a rep reads who looked at the own data."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from handlers.messages import Say
from handlers.turn import Turn
from rules.audit import CONSOLE, Action, Entry
from rules.visit import Visit
from storage import audit, people

DAYS: Final = 30
MOST: Final = 15


def note(
    turn: Turn,
    action: Action,
    *,
    whose: Sequence[str],
    rows: Mapping[str, tuple[int | str, ...]],
    old: str = "",
    new: str = "",
) -> None:
    """Leave an entry with what this turn does."""
    person, channel = turn.employee, turn.account.channel
    audit.add(
        turn.work,
        Entry(turn.now, person.code, person.role.value, channel, action, tuple(whose), dict(rows), old, new),
    )


def rows_of(visits: Sequence[Visit]) -> dict[str, tuple[int | str, ...]]:
    """The visits and what they are seen with: their notes, without the recordings and pictures."""
    notes = tuple(number for visit in visits for number in visit.ids("report"))
    return {"visit": tuple(visit.id for visit in visits), **({"note": notes} if notes else {})}


def seen_by(turn: Turn) -> None:
    """谁看过我: who looked at the own data lately, or did something with it."""
    since = turn.now - timedelta(days=DAYS)
    own = turn.employee.code
    found = [entry for entry in audit.listed(turn.work, since, of=own) if entry.who != own]
    if not found:
        turn.say("seen.none", days=DAYS)
        return
    turn.say("seen.head", days=DAYS, count=len(found))
    for entry in found[:MOST]:
        local = entry.at.astimezone(turn.tools.zone)
        at = f"{local.month}月{local.day}日 {local:%H:%M}"
        turn.say("seen.line", at=at, who=_name(turn, entry), what=Say(f"audit_action.{entry.action.value}"))


def _name(turn: Turn, entry: Entry) -> str | Say:
    if entry.role == CONSOLE:
        return Say("seen.console")
    person = people.employee(turn.work, entry.who)
    return person.name if person is not None else entry.who
