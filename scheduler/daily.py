"""Recurring pushes. APScheduler does the calendar arithmetic; the database decides what is still due, so a push that
fell due while the machine was off is made up once, or noted as too late.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from handlers import alerts as handler_alerts
from rules.limits import Limits
from storage import alerts
from storage.database import Database

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
    """Every working day at the alert's time in the firm's zone. Days by name: APScheduler's 0 is Monday, not Sunday."""
    days = ",".join(_DAY_NAMES[day] for day in limits.work_days) or "mon-sun"
    at = limits.alert_at
    return CronTrigger(day_of_week=days, hour=at.hour, minute=at.minute, timezone=ZoneInfo(limits.time_zone))


def daily_alerts(database: Database, limits: Limits, now: datetime) -> int:
    """Make the alerts that fell due since the last tick; how many were made. A first start owes nothing of the past."""
    zone = ZoneInfo(limits.time_zone)
    with database.work() as work:
        last = alerts.last_due(work, "daily_alert", now)
    made = 0
    for due in due_times(alert_trigger(limits), last, now):
        day = due.astimezone(zone).date()
        late = now - due > timedelta(hours=limits.alert_catch_up_hours)
        with database.work() as work:
            if alerts.occurred(work, "daily_alert", day, due, "late" if late else "made", now) and not late:
                made += handler_alerts.daily(work, day, now, limits)
    return made
