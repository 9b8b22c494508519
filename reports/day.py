"""A manager's day: the visits, one visit with all its evidence, and the alerts; all within the scope of the work."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rules.anomalies import Finding
from rules.evidence import Level, Photo, Place
from rules.follow_up import FollowUp
from rules.outlets import Outlet
from rules.people import Employee, scope_of
from rules.places import metres_between
from rules.visit import Outcome, Visit
from storage import alerts, evidence, figures, firm, follow_ups, outbox, people
from storage.database import Work
from storage.evidence import Appeal, Note

_NO_PUSH = ("web", people.GROUPS)


@dataclass(frozen=True, slots=True)
class VisitLine:
    """One visit as a row of a table, with whose it is and where; no outlet while it is not certain."""

    visit: Visit
    rep: Employee
    outlet: Outlet | None

    @property
    def district(self) -> str:
        """The outlet's district, or the rep's first while the outlet is not certain."""
        return self.outlet.district if self.outlet else next(iter(self.rep.districts), "")


@dataclass(frozen=True, slots=True)
class VisitDetail:
    """A visit with everything that stands behind it. `metres` is from the position sent to the outlet's point."""

    line: VisitLine
    place: Place | None
    metres: float | None
    photos: tuple[Photo, ...]
    notes: tuple[Note, ...]
    follow_ups: tuple[FollowUp, ...]
    appeals: tuple[Appeal, ...]


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One finding of an alert, by its number in it; `names` are the reps' names in the order of the finding's codes."""

    alert: int
    number: int
    made_at: datetime
    finding: Finding
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayCounts:
    """A day's visits in figures: `reps` are those with a visit, `districts` how many visits each has, by name."""

    visits: int
    reps: int
    won: int
    verified: int
    doubtful: int
    districts: dict[str, int]


def counts_of_day(work: Work, day: date) -> DayCounts:
    """All visits of a local day, counted without reading them."""
    tallies = figures.tallies_on(work, day)
    of_rep = {person.code: next(iter(person.districts), "") for person in people.staff(work)}
    districts: Counter[str] = Counter()
    levels: Counter[Level | None] = Counter()
    for tally in tallies:
        districts[of_rep.get(tally.rep, "") if tally.district is None else tally.district] += tally.count
        levels[tally.level] += tally.count
    return DayCounts(
        visits=districts.total(),
        reps=len({tally.rep for tally in tallies}),
        won=sum(tally.count for tally in tallies if tally.outcome is Outcome.WON),
        verified=levels[Level.VERIFIED],
        doubtful=levels[Level.DOUBTFUL],
        districts=dict(districts),
    )


def visits_of_day(
    work: Work, day: date, *, district: str | None = None, skip: int = 0, most: int | None = None
) -> list[VisitLine]:
    """The visits of a local day (and district), in the order they were opened."""
    return _lines(work, figures.visits_on(work, day, district=district, skip=skip, most=most))


def last_visits(work: Work, reps: Sequence[str], limit: int = 3) -> list[list[VisitLine]]:
    """The latest visits of each of these reps, newest first."""
    last = figures.last_visits(work, reps, limit)
    lines = {line.visit.id: line for line in _lines(work, [visit for visits in last.values() for visit in visits])}
    return [[lines[visit.id] for visit in last[rep]] for rep in reps]


def visit_detail(work: Work, visit_id: int) -> VisitDetail | None:
    """One visit, or None for one that does not exist or is out of scope."""
    visit = figures.visit(work, visit_id)
    if visit is None:
        return None
    line = _lines(work, [visit])[0]
    place = _place(work, visit)
    photos = evidence.photos(work, visit.ids("photo"))
    notes = evidence.notes(work, visit.ids("report"))
    return VisitDetail(
        line=line,
        place=place,
        metres=_metres(place, line.outlet),
        photos=tuple(photos[key] for key in visit.ids("photo") if key in photos),
        notes=tuple(notes[key] for key in visit.ids("report") if key in notes),
        follow_ups=tuple(follow_ups.of_visit(work, visit.id)),
        appeals=tuple(evidence.appeals_of(work, visit.id)),
    )


@dataclass(frozen=True, slots=True)
class UndeliveredLine:
    """A message that did not reach one of the own people: `why` is a key under `undelivered.`, where there is such
    a key. Of what it says nothing is told; `waits` while it goes out with the person's next message.
    """

    person: Employee
    intent: str
    made_at: datetime
    why: str
    waits: bool


def undelivered_of_day(work: Work, manager: Employee, day: date, zone: ZoneInfo) -> list[UndeliveredLine]:
    """What was made on a local day for the manager or for people whose data the manager may see, and did not arrive."""
    since = datetime.combine(day, time(), zone)
    messages = outbox.undelivered(work, since, since + timedelta(days=1))
    if not messages:
        return []
    scope, staff = scope_of(manager), {person.code: person for person in people.staff(work)}
    theirs = people.accounts_numbered(work, {message.account for message in messages if message.account is not None})
    owners = {account.id: staff.get(account.employee) for account in theirs}
    lines = []
    for message in messages:
        person = owners.get(message.account or 0)
        if person is None or not person.active:
            continue
        own = person.code == manager.code
        if own or any(scope.holds(district, person.code) for district in person.districts or ("",)):
            waits = message.state == "waiting"
            why = message.error.removeprefix(outbox.SHUT).partition(":")[0]
            lines.append(UndeliveredLine(person, message.intent, message.made_at, why, waits))
    return lines


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """One of the own people whom nothing that is pushed reaches: `why` is a key under `undelivered.`."""

    person: Employee
    channel: str
    why: str
    since: datetime


def out_of_reach(work: Work, manager: Employee) -> list[OutOfReach]:
    """Whom of the manager's people no push reaches now. A page that is read only when it is opened does not count, nor
    does a group; who is reached another way is not named.
    """
    scope, staff = scope_of(manager), {person.code: person for person in people.staff(work)}
    lost = {
        account.employee: OutOfReach(staff[account.employee], account.channel, why, since)
        for account, why, since in people.unreachable(work)
        if account.channel not in _NO_PUSH and account.employee in staff
    }
    if not lost:
        return []
    reached = {
        account.employee for account in people.accounts(work) if account.reachable and account.channel not in _NO_PUSH
    }
    return [
        line
        for code, line in sorted(lost.items())
        if code not in reached
        and line.person.active
        and code != manager.code
        and any(scope.holds(district, code) for district in line.person.districts or ("",))
    ]


def alerts_of_day(work: Work, employee: Employee, day: date) -> list[AlertLine]:
    """What this manager was warned of on a local day, a line a finding."""
    names = {person.code: person.name for person in people.staff(work)}
    return [
        AlertLine(alert.id, number, alert.made_at, finding, tuple(names.get(rep, rep) for rep in finding.reps))
        for alert in alerts.of_day(work, employee.code, day)
        for number, finding in enumerate(alert.findings)
    ]


def finding_of(work: Work, employee: Employee, alert_id: int, number: int) -> Finding | None:
    """One finding of an alert that was made for this manager; anybody else's is not found."""
    alert = alerts.load(work, alert_id)
    if alert is None or alert.manager != employee.code or not 0 <= number < len(alert.findings):
        return None
    return alert.findings[number]


def _lines(work: Work, found: Sequence[Visit]) -> list[VisitLine]:
    reps = people.employees(work, {visit.rep for visit in found})
    outlets = firm.outlets_by_code(work, {visit.outlet for visit in found if visit.outlet})
    return [VisitLine(visit, reps[visit.rep], outlets.get(visit.outlet or "")) for visit in found]


def _place(work: Work, visit: Visit) -> Place | None:
    number = visit.value("place")
    return evidence.places(work, [number]).get(number) if isinstance(number, int) else None


def _metres(place: Place | None, outlet: Outlet | None) -> float | None:
    if place is None or outlet is None or outlet.point is None:
        return None
    return metres_between(place.point, outlet.point)
