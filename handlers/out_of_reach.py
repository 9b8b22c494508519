"""Whom of a manager's people nothing reaches, in one line of what the manager is told every day."""

import texts
from handlers.messages import Say
from reports import day
from rules.people import Employee
from storage.database import Work


def line(work: Work, manager: Employee) -> list[Say]:
    """One line, or none where everybody can be reached."""
    lost = day.out_of_reach(work, manager)
    if not lost:
        return []
    return [Say("out_of_reach.line", {"count": len(lost), "people": [_person(one) for one in lost]})]


def _person(one: day.OutOfReach) -> Say:
    return Say("out_of_reach.person", {"name": one.person.name, "why": Say(why_key(one.why))})


def why_key(why: str) -> str:
    """The sentence for a reason, also for one that a later version wrote down."""
    key = f"undelivered.{why}"
    return key if texts.load(texts.DEFAULT).knows(key) else "undelivered.failed"
