"""Which days are worked: the firm's days of the week, but for the public holidays, and the weekends worked for them."""

from datetime import date, timedelta
from functools import lru_cache

import chinese_calendar

from rules.limits import Limits


def works(day: date, limits: Limits) -> bool:
    """A firm that names no working days has no days off.

    Public holidays (and 调休, the weekends worked in their stead) are those the State Council has published; of a year
    that it has not yet, the day of the week decides alone.
    """
    return not limits.work_days or _works(day, limits.work_days, limits.holidays_off)


def worked_before(day: date, limits: Limits) -> date:
    """The last working day before this one."""
    before = day - timedelta(days=1)
    while not works(before, limits):
        before -= timedelta(days=1)
    return before


def holidays_are_known(day: date) -> bool:
    """Whether the public holidays of its year have been published, and this version has them."""
    return _published(day) is not None


@lru_cache(4096)  # asked again for each of thousands of reps
def _works(day: date, work_days: tuple[int, ...], holidays_off: bool) -> bool:
    free, holiday = (_published(day) if holidays_off else None) or (False, None)
    return day.weekday() in work_days if holiday is None else not free


def _published(day: date) -> tuple[bool, str | None] | None:
    """Whether the day is free, and for which holiday (also where it is worked for one); None of an unpublished year."""
    try:
        free, holiday = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:  # the library's word for it
        return None
    return free, holiday
