"""What the bot must find in a made-up firm, from the plan alone: none of the bot's rules is asked for it."""

from collections.abc import Iterable, Iterator

from bot.simulated.drive import Driven
from bot.simulated.firm import LIMITS, Manager, Rep, SimulatedFirm, works_on
from bot.simulated.visits import KINDS, WEAK_RULES, Planned, planned
from rules.people import Part, system
from storage import alerts
from storage.database import Database

LOOK_BACK = 60  # calendar days of which a run of missed targets may consist

Found = tuple[str, str, tuple[str, ...], int, tuple[int, ...]]  # rule, district, reps, days in a row, visits


def compare(database: Database, firm: SimulatedFirm, driven: Driven) -> tuple[list[str], list[str], int]:
    """(what is missing, what is too much, how many answers were compared)."""
    missing: list[str] = []
    extra: list[str] = []
    count = 0
    for day in driven.days:
        by_district = findings(firm, day)
        with database.read(system(Part.CONSOLE)) as work:
            for manager in firm.managers:
                wanted: set[Found] = {
                    found for district in seen_by(firm, manager) for found in by_district.get(district, ())
                }
                made = {
                    (one.rule.value, one.district, one.reps, one.days, one.visits)
                    for alert in alerts.of_day(work, manager.code, firm.days[day])
                    for one in alert.findings
                }
                count += len(wanted)
                missing += [f"{firm.days[day]} {manager.code} {_told(one)}" for one in sorted(wanted - made)]
                extra += [f"{firm.days[day]} {manager.code} {_told(one)}" for one in sorted(made - wanted)]
    for name, expected, got in _others(firm, driven):
        count += len(expected)
        missing += [f"{name} {one}" for one in sorted(expected - got, key=str)[:100]]
        extra += [f"{name} {one}" for one in sorted(got - expected, key=str)[:100]]
    return missing, extra, count


def seen_by(firm: SimulatedFirm, manager: Manager) -> Iterable[int]:
    return range(len(firm.districts)) if manager.districts is None else manager.districts


def findings(firm: SimulatedFirm, day: int) -> dict[int, list[Found]]:
    """The findings of each district on one day."""
    teams: dict[int, list[Rep]] = {}
    for rep in firm.reps:
        if rep.left is None:
            teams.setdefault(rep.district, []).append(rep)
    return {district: list(_of_team(firm, team, day)) for district, team in teams.items()}


def _of_team(firm: SimulatedFirm, team: list[Rep], day: int) -> Iterator[Found]:
    district = firm.districts[team[0].district][0]
    visits = {rep.code: [one for one in planned(firm, rep, day)[0] if one.kind != "void"] for rep in team}
    if works_on(firm.days[day]):
        idle = tuple(rep.code for rep in team if not visits[rep.code] and rep.joined <= day)
        if idle:
            yield "no_visit", district, idle, 1, ()
        runs = {rep.code: days_without_a_new_outlet(firm, rep, day) for rep in team}
        missed = tuple(code for code, run in runs.items() if run >= LIMITS.new_outlet_run_days)
        if missed:
            yield "no_new_outlet", district, missed, min(runs[code] for code in missed), ()
    for rule, kinds in (
        ("too_short", {"short"}),
        ("doubtful", {name for name, kind in KINDS.items() if kind.level == "doubtful"}),
        ("same_photo", {"same_photo", "near_photo"}),
    ):
        hit = [(rep, [one for one in visits[rep.code] if one.kind in kinds]) for rep in team]
        if any(ones for _, ones in hit):
            reps = tuple(rep.code for rep, ones in hit if ones)
            numbers = tuple(firm.visit_id(day, rep.number, one.slot) for rep, ones in hit for one in ones)
            yield rule, district, reps, 1, numbers
    late = tuple(rep.code for rep in team if rep.neglects is not None and rep.neglects + 3 < day)
    if late:
        yield "overdue", district, late, 1, ()


def days_without_a_new_outlet(firm: SimulatedFirm, rep: Rep, day: int) -> int:
    """The firm's working days in a row, up to this one."""
    last = max((found for found in rep.found if found <= day), default=-1)
    first = max(last + 1, rep.joined, day - LOOK_BACK + 1)
    return sum(works_on(firm.days[number]) for number in range(first, day + 1))


def _others(firm: SimulatedFirm, driven: Driven) -> Iterator[tuple[str, set[object], set[object]]]:
    """Grades, figures, reminders and weak rules of the last day: (what, expected, found)."""
    day = driven.days[-1]
    today: dict[int, tuple[Rep, Planned]] = {
        firm.visit_id(day, rep.number, one.slot): (rep, one) for rep in firm.reps for one in planned(firm, rep, day)[0]
    }
    yield (
        "grade",
        {
            (number, KINDS[one.kind].level, (KINDS[one.kind].reason,))
            for number, (_, one) in today.items()
            if KINDS[one.kind].level is not None
        },
        {(number, *graded) for number, graded in driven.grades.items()},
    )
    there = sum(one.kind != "void" for _, one in today.values())
    director = firm.managers[0].code
    yield "visits", {(director, there)}, {(director, driven.counts.get(director, 0))}
    yield "exported", {("拜访", len(today))}, {("拜访", driven.exported.get("拜访", 0))}
    yield "reminders", {due_on(firm, day)}, {driven.reminded}
    yield (
        "weak",
        {(rule.partition(".")[0], rule) for rule in WEAK_RULES}
        if firm.plan.reps * firm.plan.days >= 300
        else set(driven.weak_rules),
        set(driven.weak_rules),
    )


def due_on(firm: SimulatedFirm, day: int) -> int:
    """How many 待办 nobody answered are for this day, the firm's last one only: those before were done."""
    if day != firm.plan.days - 1:
        return 0
    return sum(
        one.due == day
        for rep in firm.reps
        for earlier in range(max(0, day - 9), day)
        for one in planned(firm, rep, earlier)[0]
    )


def _told(found: Found) -> str:
    rule, district, reps, days, visits = found
    return f"{rule} {district} {','.join(reps[:5])} {days} {','.join(str(one) for one in visits[:5])}"
