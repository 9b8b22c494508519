"""Recurring pushes. APScheduler does the calendar arithmetic; the database decides what is still due, so a push that
fell due while the machine was off is made up once, or noted as too late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from handlers import alerts as handler_alerts
from handlers import group_digest, rules_watch
from rules.limits import Limits
from rules.people import Part, system
from rules.work_days import works
from storage import alerts
from storage.database import Database, Work

LOOKING_BACK = timedelta(days=31)  # what is older is not even noted: a machine that began without a clock, in 1970
_PAST_IT = timedelta(hours=12)  # further than the hour that autumn repeats, and not as far as the next day


class EveryWorkingDay:
    """At this time in the firm's zone, as one of APScheduler's triggers. Which days are worked no line of cron can say:
    holidays move.
    """

    def __init__(self, limits: Limits, at: time) -> None:
        self.timezone = ZoneInfo(limits.time_zone)
        self._limits = limits
        self._daily = CronTrigger(hour=at.hour, minute=at.minute, timezone=self.timezone)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        found: datetime | None = self._daily.get_next_fire_time(previous, now)
        while found is not None and not works(found.date(), self._limits):
            found = self._daily.get_next_fire_time(found, found + _PAST_IT)
        return found


def due_times(trigger: CronTrigger | EveryWorkingDay, after: datetime, now: datetime, cap: int = 400) -> list[datetime]:
    """Every firing time later than `after` and not later than `now`, in UTC."""
    found: list[datetime] = []
    previous = after.astimezone(trigger.timezone)
    upcoming = trigger.get_next_fire_time(previous, previous + timedelta(microseconds=1))
    while upcoming is not None and upcoming <= now and len(found) < cap:
        found.append(upcoming.astimezone(UTC))
        following = trigger.get_next_fire_time(upcoming, upcoming + timedelta(microseconds=1))
        if following is not None and following <= upcoming:
            # In the hour that autumn repeats the trigger returns the same instant for ever (APScheduler issue 1021).
            following = trigger.get_next_fire_time(upcoming, upcoming + timedelta(hours=1))
        upcoming = following
    return found


def alert_trigger(limits: Limits) -> EveryWorkingDay:
    """Every working day at the alert's time."""
    return EveryWorkingDay(limits, limits.alert_at)


def evening_trigger(limits: Limits) -> EveryWorkingDay:
    """Every working day when it ends: what is for the office and hurries nobody."""
    return EveryWorkingDay(limits, limits.day_ends)


@dataclass(frozen=True, slots=True)
class Recurring:
    """A push that comes round: when it is due, and what makes it for one local day; how many were made. `missed` tells
    those concerned of the days for which it came too late.
    """

    name: str
    trigger: Callable[[Limits], EveryWorkingDay]
    make: Callable[[Work, date, datetime, Limits], int]
    missed: Callable[[Work, Sequence[date], datetime], int] | None = None


RECURRING = (
    Recurring("daily_alert", alert_trigger, handler_alerts.daily, handler_alerts.missed),
    Recurring("group_digest", evening_trigger, group_digest.daily),
    Recurring("rules_report", evening_trigger, rules_watch.nightly),
)


def recurring_pushes(database: Database, limits: Limits, now: datetime) -> int:
    """Make every push that fell due since the last tick; how many were made."""
    return sum(make_due(one, database, limits, now) for one in RECURRING)


def overdue(limits: Limits, dealt_with: Mapping[str, datetime], now: datetime) -> timedelta:
    """For how long the oldest push has been due that nobody has dealt with yet. One never looked at owes nothing."""
    late = timedelta(0)
    for push in RECURRING:
        if push.name in dealt_with:
            due = due_times(push.trigger(limits), dealt_with[push.name], now, cap=1)
            late = max(late, *(now - moment for moment in due), timedelta(0))
    return late


def make_due(push: Recurring, database: Database, limits: Limits, now: datetime) -> int:
    """One push for each of its due moments, whoever else does the same. A first start owes nothing of the past; what is
    later than the catch-up limit is noted, and those concerned are told once that they did not get it.
    """
    zone = ZoneInfo(limits.time_zone)
    with database.work(system(Part.CLOCK)) as work:
        last = max(alerts.last_due(work, push.name, now), now - LOOKING_BACK)
    due = [(at.astimezone(zone).date(), at) for at in due_times(push.trigger(limits), last, now)]
    made, limit = 0, now - timedelta(hours=limits.alert_catch_up_hours)
    late = [(day, at) for day, at in due if at < limit]
    if late:
        with database.work(system(Part.CLOCK)) as work:
            days = [day for day, at in late if alerts.occurred(work, push.name, day, at, alerts.LATE, now)]
            if days and push.missed is not None:
                made += push.missed(work, days, now)
    for day, at in due[len(late) :]:
        with database.work(system(Part.CLOCK)) as work:
            if alerts.occurred(work, push.name, day, at, alerts.MADE, now):
                made += push.make(work, day, now, limits)
    return made
