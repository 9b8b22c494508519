"""今日异常预警: what is out of line today, from plain figures. Which rows they came from is storage's affair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from rules.limits import Limits
from rules.work_days import works


class Anomaly(StrEnum):
    NO_VISIT = "no_visit"
    NO_NEW_OUTLET = "no_new_outlet"
    TOO_SHORT = "too_short"
    DOUBTFUL = "doubtful"
    OVERDUE = "overdue"
    SAME_PHOTO = "same_photo"


@dataclass(frozen=True, slots=True)
class RepDay:
    """One rep's day up to now. `new_outlets` holds the last days' counts by local day."""

    rep: str
    district: str
    since: date | None  # the first day this rep could have used the bot, None while that is still to come
    visits: int
    short_visits: tuple[int, ...] = ()
    doubtful_visits: tuple[int, ...] = ()
    same_photo_visits: tuple[int, ...] = ()
    overdue_follow_ups: int = 0
    new_outlets: Mapping[date, int] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the alert: a rule, the district it is grouped under, the reps, and the length of the run in days."""

    rule: Anomaly
    district: str
    reps: tuple[str, ...]
    days: int = 1
    visits: tuple[int, ...] = ()


def findings(today: date, days: Sequence[RepDay], limits: Limits) -> list[Finding]:
    """Everything out of line, grouped by rule and district, in a stable order. A day off yields no missing work."""
    found: list[Finding] = []
    of_district: dict[str, list[RepDay]] = {}
    for day in sorted(days, key=lambda day: day.rep):
        of_district.setdefault(day.district, []).append(day)
    for district, here in sorted(of_district.items()):
        if works(today, limits):
            idle = tuple(day.rep for day in here if day.visits == 0 and (day.since is None or day.since <= today))
            if idle:
                found.append(Finding(Anomaly.NO_VISIT, district, idle))
            found += _missed_targets(today, district, here, limits)
        found += _by_visit(district, here)
        late = tuple(day.rep for day in here if day.overdue_follow_ups)
        if late:
            found.append(Finding(Anomaly.OVERDUE, district, late))
    return found


def run_of_missed_days(today: date, day: RepDay, limits: Limits) -> int:
    """How many working days in a row, ending today, the rep stayed below the daily 新客开发目标.

    Days before `since` are nobody's failure. At most 60 calendar days are looked at.
    """
    if day.since is None:
        return 0
    counts = day.new_outlets or {}
    run = 0
    probe = today
    for _ in range(60):
        if probe < day.since:
            break
        if works(probe, limits):
            if counts.get(probe, 0) >= limits.new_outlets_a_day:
                break
            run += 1
        probe -= timedelta(days=1)
    return run


def _missed_targets(today: date, district: str, here: Sequence[RepDay], limits: Limits) -> list[Finding]:
    """One finding a district: the reps whose run reached the limit, told with the run that all of them share."""
    if limits.new_outlets_a_day <= 0:
        return []
    runs = {day.rep: run_of_missed_days(today, day, limits) for day in here}
    missed = tuple(rep for rep, run in runs.items() if run >= limits.new_outlet_run_days)
    if not missed:
        return []
    return [Finding(Anomaly.NO_NEW_OUTLET, district, missed, min(runs[rep] for rep in missed))]


def _by_visit(district: str, here: Sequence[RepDay]) -> list[Finding]:
    found = []
    for rule in (Anomaly.TOO_SHORT, Anomaly.DOUBTFUL, Anomaly.SAME_PHOTO):
        flagged = [(day.rep, visits) for day in here if (visits := _visits_of(day, rule))]
        if flagged:
            reps = tuple(rep for rep, _ in flagged)
            found.append(
                Finding(rule, district, reps, visits=tuple(visit for _, visits in flagged for visit in visits))
            )
    return found


def _visits_of(day: RepDay, rule: Anomaly) -> tuple[int, ...]:
    return {
        Anomaly.TOO_SHORT: day.short_visits,
        Anomaly.DOUBTFUL: day.doubtful_visits,
        Anomaly.SAME_PHOTO: day.same_photo_visits,
    }[rule]
