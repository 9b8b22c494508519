"""The day in a few lines, for the group of a manager: how many visits, what came of them, who made how many."""

from collections import Counter
from datetime import date, datetime

from handlers import out_of_reach
from handlers.card import day_text
from handlers.messages import Reply, Say
from handlers.turn import outgoing, reachable
from rules.limits import Limits
from rules.people import Employee, Role, Scope, scope_of
from rules.visit import Outcome, State
from storage import figures, outbox, people
from storage.database import Work
from storage.figures import Tally

AT_A_TIME = 10
MOST_NAMED = 30  # reps whom the summary names one by one
BUSIEST = 3  # of more than that


def daily(work: Work, day: date, now: datetime, limits: Limits) -> int:
    """Queue the day's summary for every group; how many. It hurries nobody."""
    staff = people.staff(work)
    by_code = {person.code: person for person in staff}
    groups = reachable(people.group_accounts(work))
    if not groups:
        return 0
    counted = Counted(staff, figures.tallies_on(work, day))
    made, waiting = 0, list(groups)
    while waiting:  # a few at a time: the server ends a transaction from which it hears nothing for long
        some, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
        messages = []
        for group in some:
            manager = by_code.get(group.employee)
            if manager is not None and manager.active:
                reply = Reply(Say("lines", {"lines": _lines(work, manager, counted, day)}))
                messages.append(outgoing(group, reply, now, f"digest:{day}:{group.id}", intent="notice"))
        made += sum(number is not None for number in outbox.queue_each(work, messages))
    return made


def summary(work: Work, manager: Employee, staff: list[Employee], day: date) -> list[Say]:
    """The lines about one manager's own part of the firm."""
    with work.narrowed(scope_of(manager)):
        tallies = figures.tallies_on(work, day)
    return _lines(work, manager, Counted(staff, tallies), day)


def _lines(work: Work, manager: Employee, counted: "Counted", day: date) -> list[Say]:
    return told(manager, counted, day) + out_of_reach.line(work, manager)


class Counted:
    """The day's visits of the whole firm, counted once, and the part of them within a scope."""

    def __init__(self, staff: list[Employee], tallies: list[Tally]) -> None:
        self._tallies = tallies
        self._of_district: dict[str, list[Tally]] = {}
        self._reps = [person for person in staff if person.active and person.role is Role.REP]
        self._reps_of: dict[str, list[int]] = {}
        districts = {person.code: person.districts for person in staff}
        for tally in tallies:  # a visit without an outlet belongs to each district of its rep
            for district in districts.get(tally.rep, ()) if tally.district is None else (tally.district,):
                self._of_district.setdefault(district, []).append(tally)
        for number, person in enumerate(self._reps):
            for district in person.districts:
                self._reps_of.setdefault(district, []).append(number)

    def visits(self, scope: Scope) -> list[Tally]:
        """As storage.figures has it for this scope."""
        if scope.everything:
            return self._tallies
        found = {id(tally): tally for district in scope.districts for tally in self._of_district.get(district, ())}
        return list(found.values())

    def reps(self, scope: Scope) -> list[Employee]:
        """Who works within a scope, in the order of the staff."""
        if scope.everything:
            return self._reps
        seen = {number for district in scope.districts for number in self._reps_of.get(district, ())}
        return [self._reps[number] for number in sorted(seen)]


def told(manager: Employee, counted: Counted, day: date) -> list[Say]:
    """What a group reads of its manager's part of the firm. Of more than MOST_NAMED reps only the busiest are named."""
    scope = scope_of(manager)
    reps, tallies = counted.reps(scope), counted.visits(scope)
    per_rep: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    closed = 0
    for tally in tallies:
        per_rep[tally.rep] += tally.count
        if tally.state is State.CLOSED:
            closed += tally.count
            if tally.outcome is not None:
                outcomes[tally.outcome] += tally.count
    district = "、".join(manager.districts) if manager.districts else Say("digest.firm")
    lines = [
        Say("digest.head", {"day": day_text(day), "district": district}),
        Say("digest.visits", {"count": per_rep.total(), "closed": closed}),
    ]
    outcomes_told = [
        Say("digest.outcome", {"outcome": Say(f"outcome.{outcome.value}"), "count": outcomes[outcome]})
        for outcome in Outcome
        if outcomes[outcome]
    ]
    if outcomes_told:
        lines.append(Say("digest.list", {"items": outcomes_told}))
    busy = sorted((person for person in reps if per_rep[person.code]), key=lambda person: -per_rep[person.code])
    named = busy if len(reps) <= MOST_NAMED else busy[:BUSIEST]
    if named:
        counts = [Say("digest.rep", {"name": person.name, "count": per_rep[person.code]}) for person in named]
        if others := busy[len(named) :]:
            visits = sum(per_rep[person.code] for person in others)
            counts.append(Say("digest.others", {"reps": len(others), "count": visits}))
        lines.append(Say("digest.list", {"items": counts}))
    idle = [person.name for person in reps if not per_rep[person.code]]
    if idle:
        many = len(reps) > MOST_NAMED
        lines.append(Say("digest.none_of_many", {"reps": len(idle)}) if many else Say("digest.none", {"names": idle}))
    return lines
