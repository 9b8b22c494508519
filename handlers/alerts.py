"""今日异常预警: made once a day for every manager's own region, and drilled into by taps."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from handlers import out_of_reach, trail
from handlers.card import day_text
from handlers.messages import Choice, Reply, Say
from handlers.turn import Turn, Word, tell_each
from rules import anomalies
from rules import visit as rules_visit
from rules.anomalies import Anomaly, Finding, RepDay
from rules.audit import Action
from rules.evidence import Level
from rules.limits import Limits
from rules.people import Employee, Role, Scope, scope_of
from rules.visit import Visit
from rules.work_days import worked_before
from storage import alerts, evidence, figures, firm, follow_ups, people, rep_figures
from storage.database import Work
from storage.rep_figures import VisitFacts

LAST_VISITS = 3
SHOWN_DAYS = 5
MOST_FINDINGS = 40  # in one message; of more a part is told
WORST = 3  # of each rule, where there are more


def daily(work: Work, day: date, now: datetime, limits: Limits) -> int:
    """Make and queue the day's alert of every manager who can be reached; how many were made.

    A manager without anything out of line gets none: silence is good news.
    """
    staff = people.staff(work)
    told = datetime.combine(worked_before(day, limits), limits.alert_at, ZoneInfo(limits.time_zone))
    days = _Days(work, staff, day, limits, told)
    words: list[Word] = []
    for manager in (person for person in staff if person.active and person.manages):
        found = days.findings(scope_of(manager))
        if not found:
            continue
        alert_id = alerts.add(work, manager.code, day, now, found)
        if alert_id is None:
            continue
        reply = alert_reply(alert_id, day, found, out_of_reach.line(work, manager))
        words.append(Word(manager.code, reply, f"alert:{alert_id}"))
    tell_each(work, words, now, "alert", group_too=True)
    return len(words)


def missed(work: Work, days: Sequence[date], now: datetime) -> int:
    """Tell every manager that the alerts of these days were not made: their silence was no good news. How many."""
    shown = [day_text(day) for day in days]
    if len(shown) > SHOWN_DAYS:
        shown = [shown[0], "…", shown[-1]]
    reply = Reply(Say("alert.missed", {"days": shown}))
    managers = [person for person in people.staff(work) if person.active and person.manages]
    words = [Word(person.code, reply, f"alert_missed:{days[-1]}:{person.code}") for person in managers]
    return len(tell_each(work, words, now, "notice", group_too=True))


def findings_for(work: Work, manager: Employee, staff: Sequence[Employee], day: date, limits: Limits) -> list[Finding]:
    """What is out of line on a day among the reps this manager may see."""
    scope = scope_of(manager)
    return _Days(work, [person for person in staff if sees_rep(scope, person)], day, limits).findings(scope)


class _Days:
    """The figures of all reps of a day, read once, and what is out of line within each scope."""

    def __init__(
        self, work: Work, staff: Sequence[Employee], day: date, limits: Limits, told: datetime | None = None
    ) -> None:
        reps = [person for person in staff if person.active and person.role is Role.REP]
        self._day, self._limits = day, limits
        self._days = rep_days(work, reps, day, limits, told)
        self._of_rep = {rep.code: number for number, rep in enumerate(reps)}
        self._of_district: dict[str, list[int]] = {}
        for number, rep in enumerate(reps):
            for district in rep.districts or ("",):
                self._of_district.setdefault(district, []).append(number)
        self._found: dict[Scope, list[Finding]] = {}

    def findings(self, scope: Scope) -> list[Finding]:
        if scope not in self._found:
            self._found[scope] = anomalies.findings(self._day, self._within(scope), self._limits)
        return self._found[scope]

    def _within(self, scope: Scope) -> list[RepDay]:
        """As `sees_rep` says for each."""
        if scope.everything:
            return self._days
        seen = {number for district in scope.districts for number in self._of_district.get(district, ())}
        if scope.rep in self._of_rep:
            seen.add(self._of_rep[scope.rep])
        return [self._days[number] for number in sorted(seen)]


def sees_rep(scope: Scope, rep: Employee) -> bool:
    return any(scope.holds(district, rep.code) for district in rep.districts or ("",))


def rep_days(
    work: Work, reps: Sequence[Employee], day: date, limits: Limits, told: datetime | None = None
) -> list[RepDay]:
    """The day's figures of each rep, from what is stored. After `told`, when the last alert was made, a visit may have
    ended in the evening or on a day off: it is judged with this day's, or no manager would ever hear of it.
    """
    codes = [rep.code for rep in reps]
    zone = ZoneInfo(limits.time_zone)
    since = rep_figures.first_days(work, codes, zone)
    new = rep_figures.new_outlet_counts(work, codes, day - timedelta(days=60), day)
    overdue = follow_ups.overdue_counts(work, codes, day)
    used = _with_used_photos(work, codes, day)
    of_rep: dict[str, list[VisitFacts]] = {}
    for visit in rep_figures.visits_of_reps(work, codes, day):
        of_rep.setdefault(visit.rep, []).append(visit)
    late: dict[str, list[VisitFacts]] = {}
    for earlier in _days_between(told.astimezone(zone).date(), day) if told is not None else ():
        untold = rep_figures.visits_of_reps(work, codes, earlier, told)
        repeated = _with_used_photos(work, {visit.rep for visit in untold}, earlier) if untold else set()
        if repeated:  # a photo is told of while its visit is still open, and not again when it has ended
            used |= repeated - alerts.visits_told_of(work, Anomaly.SAME_PHOTO, earlier, day)
        for visit in untold:
            late.setdefault(visit.rep, []).append(visit)
    days = []
    for rep in reps:
        own = of_rep.get(rep.code, [])
        judged = [*late.get(rep.code, ()), *own]
        closed = [visit for visit in judged if visit.closed]
        days.append(
            RepDay(
                rep=rep.code,
                district=rep.districts[0] if rep.districts else "",
                since=since.get(rep.code, day),
                visits=len(own),
                short_visits=tuple(visit.id for visit in closed if _too_short(visit.lasted, limits)),
                doubtful_visits=tuple(visit.id for visit in closed if visit.level is Level.DOUBTFUL),
                same_photo_visits=tuple(visit.id for visit in judged if visit.id in used),
                overdue_follow_ups=overdue.get(rep.code, 0),
                new_outlets=new.get(rep.code, {}),
            )
        )
    return days


def alert_reply(alert_id: int, day: date, found: Sequence[Finding], more: Sequence[Say] = ()) -> Reply:
    """The push: a line a finding, each with its tap; then what else there is to know. Of very many see `_shown`."""
    lines = [Say("alert.head", {"day": day_text(day), "count": len(found)}), *_lines(found), *more]
    choices = tuple(
        Choice(
            str(number),
            Say(
                "alert.tap",
                {"district": found[number].district, "rule": Say(f"alert_short.{found[number].rule.value}")},
            ),
        )
        for number in _shown(found)
    )
    return Reply(
        Say("lines", {"lines": lines}), choices, about="alert", subject=alert_id, step="alert", multi=True, again=True
    )


def _shown(found: Sequence[Finding]) -> list[int]:
    """The numbers of the findings that are told one by one: all, or of more than anybody reads those of each rule that
    concern the most reps.
    """
    if len(found) <= MOST_FINDINGS:
        return list(range(len(found)))
    worst = sorted(range(len(found)), key=lambda number: (-len(found[number].reps), number))
    return [number for rule in Anomaly for number in [one for one in worst if found[one].rule is rule][:WORST]]


def _lines(found: Sequence[Finding]) -> list[Say]:
    """The findings as lines; of very many those shown, below what there is of each rule in all."""
    shown = _shown(found)
    if len(shown) == len(found):
        return [_finding(item) for item in found]
    lines: list[Say] = []
    for rule in Anomaly:
        alike = [item for item in found if item.rule is rule]
        if alike:
            reps = len({rep for item in alike for rep in item.reps})
            values = {"rule": Say(f"alert_short.{rule.value}"), "districts": len(alike), "count": reps}
            lines.append(Say("alert.total", values))
            lines += [_finding(found[number]) for number in shown if found[number].rule is rule]
    return [*lines, Say("alert.rest", {"count": len(found) - len(shown)})]


def today(turn: Turn) -> None:
    """今日预警 asked for: the day's alert as it was pushed, or as it stands now."""
    day = turn.now.astimezone(turn.tools.zone).date()
    kept = alerts.of_day(turn.work, turn.employee.code, day)
    if kept:
        turn.ask(alert_reply(kept[0].id, day, kept[0].findings, out_of_reach.line(turn.work, turn.employee)))
        return
    found = findings_for(turn.work, turn.employee, people.staff(turn.work), day, turn.tools.limits)
    if not found:
        turn.say("alert.none", day=day_text(day))
        return
    turn.say("alert.not_yet", at=f"{turn.tools.limits.alert_at:%H:%M}")
    turn.lines.append(Say("lines", {"lines": _lines(found)}))


def drill(turn: Turn, alert_id: int, choice: str) -> None:
    """A tap on a finding: its reps and the last three visits of each, as far as this manager may see them."""
    alert = alerts.load(turn.work, alert_id)
    if alert is None or alert.manager != turn.employee.code or not choice.isdigit():
        turn.say("stale.gone")
        return
    if int(choice) >= len(alert.findings):
        turn.say("stale.gone")
        return
    item = alert.findings[int(choice)]
    scope = scope_of(turn.employee)
    turn.lines.append(_finding(item))
    reps = [rep for rep in people.employees(turn.work, item.reps).values() if sees_rep(scope, rep)]
    last = figures.last_visits(turn.work, [rep.code for rep in reps], LAST_VISITS)
    shown = [visit for visits in last.values() for visit in visits]
    firm.outlets_by_code(turn.work, {visit.outlet for visit in shown if visit.outlet})
    evidence.notes(turn.work, [note for visit in shown for note in visit.ids("report")])
    for rep in reps:
        turn.say("alert.rep", name=rep.name, district="、".join(rep.districts))
        if not last[rep.code]:
            turn.say("alert.no_visits")
        for visit in last[rep.code]:
            turn.lines += _visit_lines(turn, visit)
        if last[rep.code]:
            trail.note(turn, Action.VIEW, whose=[rep.code], rows=trail.rows_of(last[rep.code]))


def _visit_lines(turn: Turn, visit: Visit) -> list[Say]:
    """Outlets and notes were read for all of them before."""
    outlet = firm.outlet(turn.work, visit.outlet) if visit.outlet else None
    local = visit.opened_at.astimezone(turn.tools.zone)
    lines = [
        Say(
            "alert.visit",
            {
                "at": f"{local.month}月{local.day}日 {local:%H:%M}",
                "outlet": outlet.name if outlet else Say("card.no_outlet"),
                "outcome": Say(f"outcome.{visit.outcome.value}") if visit.outcome else Say("brief.no_outcome"),
                "level": Say(f"level.{visit.grade.level.value}") if visit.grade else Say("visit_state.open"),
                "minutes": int(rules_visit.duration(visit).total_seconds() // 60),
                "problem": visit.value("problem") or Say("nothing"),
            },
        )
    ]
    notes = evidence.notes(turn.work, visit.ids("report"))
    heard = "。".join(note.text.rstrip("。") for note in notes.values() if note.text)
    if heard:
        lines.append(Say("alert.transcript", {"text": heard[:300]}))
    lines += [
        Say("alert.words_from", {"channel": Say(f"channel.{name}")})
        for name in dict.fromkeys(note.words_from for note in notes.values() if note.words_from)
    ]
    return lines


def _finding(item: Finding) -> Say:
    return Say(
        f"alert_line.{item.rule.value}",
        {"district": item.district, "count": len(item.reps), "days": item.days, "visits": len(item.visits)},
    )


def _days_between(first: date, end: date) -> list[date]:
    """From the first day on, without the last."""
    return [first + timedelta(days=number) for number in range((end - first).days)]


def _too_short(lasted: timedelta, limits: Limits) -> bool:
    return lasted.total_seconds() < limits.shortest_visit_minutes * 60


def _with_used_photos(work: Work, reps: Collection[str], day: date) -> set[int]:
    """The visits all of whose photos were used before."""
    visits = rep_figures.visits_with_a_used_photo(work, reps, day)
    photos = evidence.photos(work, {photo for visit in visits for photo in visit.ids("photo")})
    found = set()
    for visit in visits:
        own = [photos[number] for number in visit.ids("photo") if number in photos]
        if own and all(photo.same_as is not None for photo in own):
            found.add(visit.id)
    return found
