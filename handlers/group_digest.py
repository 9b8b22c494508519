"""The day in a few lines, for the group of a manager: how many visits, what came of them, who made how many."""

from collections import Counter
from datetime import date, datetime

from handlers.alerts import sees_rep
from handlers.card import day_text
from handlers.messages import Reply, Say
from handlers.turn import queue, reachable
from rules.limits import Limits
from rules.people import Employee, Role, scope_of
from rules.visit import Outcome, State
from storage import figures, people
from storage.database import Work


def daily(work: Work, day: date, now: datetime, limits: Limits) -> int:
    """Queue the day's summary for every group; how many. It hurries nobody."""
    staff = {person.code: person for person in people.staff(work)}
    made = 0
    for group in reachable(people.group_accounts(work)):
        manager = staff.get(group.employee)
        if manager is None or not manager.active:
            continue
        reply = Reply(Say("lines", {"lines": summary(work, manager, list(staff.values()), day)}))
        made += queue(work, group, reply, None, now, f"digest:{day}:{group.id}", "notice") is not None
    return made


def summary(work: Work, manager: Employee, staff: list[Employee], day: date) -> list[Say]:
    """The lines about one manager's own part of the firm."""
    scope = scope_of(manager)
    reps = [person for person in staff if person.active and person.role is Role.REP and sees_rep(scope, person)]
    with work.narrowed(scope):
        visits = figures.visits_on(work, day)
    closed = [visit for visit in visits if visit.state is State.CLOSED]
    per_rep = Counter(visit.rep for visit in visits)
    outcomes = Counter(visit.outcome for visit in closed if visit.outcome is not None)
    district = "、".join(manager.districts) if manager.districts else Say("digest.firm")
    lines = [
        Say("digest.head", {"day": day_text(day), "district": district}),
        Say("digest.visits", {"count": len(visits), "closed": len(closed)}),
    ]
    told = [
        Say("digest.outcome", {"outcome": Say(f"outcome.{outcome.value}"), "count": outcomes[outcome]})
        for outcome in Outcome
        if outcomes[outcome]
    ]
    if told:
        lines.append(Say("digest.list", {"items": told}))
    busy = sorted((person for person in reps if per_rep[person.code]), key=lambda person: -per_rep[person.code])
    if busy:
        counts = [Say("digest.rep", {"name": person.name, "count": per_rep[person.code]}) for person in busy]
        lines.append(Say("digest.list", {"items": counts}))
    idle = [person.name for person in reps if not per_rep[person.code]]
    if idle:
        lines.append(Say("digest.none", {"names": idle}))
    return lines
