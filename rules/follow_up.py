"""待办: what a rep promised to do next, when to remind, and how it ends."""

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rules.limits import Limits
from rules.windows import Window
from rules.work_days import works

PART_OF_DAY = {"morning": time(9, 0), "afternoon": time(14, 0), "evening": time(18, 0)}


class TodoState(StrEnum):
    OPEN = "open"
    DONE = "done"
    LOST = "lost"
    VOID = "void"  # the visit it came from was undone


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One 待办 of a rep at an outlet. `remind_at` is aware; `reminded_at` is set once the reminder was queued."""

    rep: str
    outlet: str
    visit: int
    window: Window
    remind_at: datetime
    what: str = ""
    state: TodoState = TodoState.OPEN
    made_by_itself: bool = False
    reminded_at: datetime | None = None
    ended_at: datetime | None = None
    postponed: int = 0
    id: int = 0


def made_without_asking(visit_lasted: timedelta, again_next_week: bool, limits: Limits) -> bool:
    """A visit strictly longer than 25 minutes whose note says 下周再约 makes a 待办 by itself."""
    return again_next_week and visit_lasted > timedelta(minutes=limits.todo_over_minutes)


def remind_at(window: Window, now: datetime, limits: Limits) -> datetime:
    """When to push the reminder: an hour ahead of a clock time, else on the morning of a working day of the window.

    In working hours and never in the past. Where that would come after the appointment (a Sunday, an early morning), it
    is the last working moment before. Without one, whoever promised was at work on a day off for a day off: they are
    reminded then, in the hours of a working day, sooner than when it is too late.
    """
    zone = ZoneInfo(limits.time_zone)
    now = now.astimezone(zone)
    if window.time is not None and window.first == window.last:
        clock = PART_OF_DAY.get(window.time) or time.fromisoformat(window.time)
        too_late = datetime.combine(window.first, clock, zone)
        wanted = too_late - timedelta(minutes=limits.remind_ahead_minutes)
    else:
        too_late = datetime.combine(window.last + timedelta(days=1), time(0), zone)
        wanted = datetime.combine(_reminding_day(window, now, limits), limits.remind_at, zone)
    due = waking(max(wanted, now), limits)
    if due < too_late:
        return due
    before = _last_waking(wanted, limits)
    if before > now:
        return before
    on_a_day_off = waking(max(wanted, now), replace(limits, work_days=()))
    return on_a_day_off if on_a_day_off < too_late else due


def _reminding_day(window: Window, now: datetime, limits: Limits) -> date:
    """A deadline (月底前) is remembered a working day ahead of its end, a span (下周) on its first working day."""
    days = [window.first + timedelta(days=day) for day in range((window.last - window.first).days + 1)]
    ahead = [day for day in days if works(day, limits) and datetime.combine(day, limits.remind_at, now.tzinfo) > now]
    if not ahead:
        return max(window.first, now.date())
    if window.first > now.date():
        return ahead[0]
    in_time = [day for day in ahead if day < window.last]
    return in_time[-1] if in_time else ahead[0]


def waking(at: datetime, limits: Limits) -> datetime:
    """The first moment from `at` on that lies in working hours: reps are not woken, nor disturbed on a day off."""
    zone = ZoneInfo(limits.time_zone)
    local = at.astimezone(zone)
    while True:
        if works(local.date(), limits):
            begins = datetime.combine(local.date(), limits.day_starts, zone)
            if local <= datetime.combine(local.date(), limits.day_ends, zone):
                return max(local, begins)
        local = datetime.combine(local.date() + timedelta(days=1), time(0), zone)


def _last_waking(at: datetime, limits: Limits) -> datetime:
    """The last moment up to `at` that lies in working hours."""
    zone = ZoneInfo(limits.time_zone)
    local = at.astimezone(zone)
    while True:
        if works(local.date(), limits):
            ends = datetime.combine(local.date(), limits.day_ends, zone)
            if local >= datetime.combine(local.date(), limits.day_starts, zone):
                return min(local, ends)
        local = datetime.combine(local.date() - timedelta(days=1), time.max, zone)


def finish(todo: FollowUp, now: datetime) -> FollowUp:
    return replace(todo, state=TodoState.DONE, ended_at=now)


def lose(todo: FollowUp, now: datetime) -> FollowUp:
    return replace(todo, state=TodoState.LOST, ended_at=now)


def postpone(todo: FollowUp, now: datetime, limits: Limits, window: Window | None = None) -> FollowUp:
    """To the window the rep said, else to the next working day."""
    if window is None:
        zone = ZoneInfo(limits.time_zone)
        tomorrow = datetime.combine(now.astimezone(zone).date() + timedelta(days=1), limits.remind_at, zone)
        day = waking(tomorrow, limits).date()
        window = Window(day, day, None, "推迟")
    return replace(
        todo, window=window, remind_at=remind_at(window, now, limits), reminded_at=None, postponed=todo.postponed + 1
    )


def overdue(todo: FollowUp, today: date) -> bool:
    return todo.state is TodoState.OPEN and todo.window.last < today
