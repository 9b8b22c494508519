"""Recurring pushes. APScheduler does the calendar arithmetic; the database decides what is still due, so a push that
fell due while the machine was off is made up once, or noted as too late.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from handlers import alerts as handler_alerts
from handlers import group_digest, rules_watch
from rules.limits import Limits
from rules.people import Part, system
from storage import alerts
from storage.database import Database, Work

_DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def due_times(trigger: CronTrigger, after: datetime, now: datetime, cap: int = 400) -> list[datetime]:
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


def alert_trigger(limits: Limits) -> CronTrigger:
    """Every working day at the alert's time."""
    return _every_working_day(limits, limits.alert_at)


def _every_working_day(limits: Limits, at: time) -> CronTrigger:
    """In the firm's zone. Days by name: APScheduler's 0 is Monday, not Sunday."""
    days = ",".join(_DAY_NAMES[day] for day in limits.work_days) or "mon-sun"
    return CronTrigger(day_of_week=days, hour=at.hour, minute=at.minute, timezone=ZoneInfo(limits.time_zone))


def evening_trigger(limits: Limits) -> CronTrigger:
    """Every working day when it ends: what is for the office and hurries nobody."""
    return _every_working_day(limits, limits.day_ends)


@dataclass(frozen=True, slots=True)
class Recurring:
    """A push that comes round: when it is due, and what makes it for one local day; how many were made."""

    name: str
    trigger: Callable[[Limits], CronTrigger]
    make: Callable[[Work, date, datetime, Limits], int]


RECURRING = (
    Recurring("daily_alert", alert_trigger, handler_alerts.daily),
    Recurring("group_digest", evening_trigger, group_digest.daily),
    Recurring("rules_report", evening_trigger, rules_watch.nightly),
)


def recurring_pushes(database: Database, limits: Limits, now: datetime) -> int:
    """Make every push that fell due since the last tick; how many were made."""
    return sum(_make_due(one, database, limits, now) for one in RECURRING)


def _make_due(push: Recurring, database: Database, limits: Limits, now: datetime) -> int:
    """One push for each of its due moments. A first start owes nothing of the past."""
    zone = ZoneInfo(limits.time_zone)
    with database.work(system(Part.CLOCK)) as work:
        last = alerts.last_due(work, push.name, now)
    made = 0
    for due in due_times(push.trigger(limits), last, now):
        day = due.astimezone(zone).date()
        late = now - due > timedelta(hours=limits.alert_catch_up_hours)
        with database.work(system(Part.CLOCK)) as work:
            if alerts.occurred(work, push.name, day, due, "late" if late else "made", now) and not late:
                made += push.make(work, day, now, limits)
    return made
