"""Weeks and months as spans of days: 下周三, 下月初, 十二月中旬."""

import calendar
from datetime import date, timedelta

from nlp.numbers import read_number

WEEKDAYS = {
    char: day for day, chars in enumerate(("一1", "二2", "三3", "四4", "五5", "六6", "日天7")) for char in chars
}
WEEK = r"(?:周|星期|礼拜)"
DAY_NUMBER = r"(?:\d{1,2}|[一二三四五六七八九十廿]{1,3})"
MONTH_NUMBER = r"(?:1[0-2]|0?[1-9]|十[一二]|[一二三四五六七八九十])"

Days = tuple[date, date, str | None]
"""First and last day, and the time of the day."""


def count(text: str) -> int:
    value = read_number(text)
    if value is None:
        raise ValueError(text)
    return int(value)


def months_or_weeks_ahead(which: str) -> int:
    return {"下下": 2, "下": 1}.get(which, 0)


def week_days(which: str, weekday: str, today: date) -> Days | None:
    monday = today - timedelta(days=today.weekday()) + timedelta(weeks=months_or_weeks_ahead(which))
    if weekday == "末":
        return monday + timedelta(days=5), monday + timedelta(days=6), None
    if weekday == "初":
        return monday, monday + timedelta(days=1), None
    if not weekday:
        return monday, monday + timedelta(days=6), None
    day = monday + timedelta(days=WEEKDAYS[weekday])
    if not which and day <= today:
        day += timedelta(weeks=1)
    return (day, day, None) if day >= today else None


def months_on(today: date, months: int) -> date:
    """First day of the month that many months on."""
    years, month = divmod(today.month - 1 + months, 12)
    return date(today.year + years, month + 1, 1)


def month_end(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def month_part(first: date, third: str, today: date, *, rolls: bool) -> Days:
    end = month_end(first)
    start, stop = {
        "初": (1, 5), "头": (1, 5), "上旬": (1, 10), "中旬": (11, 20), "中": (13, 17), "下旬": (21, end.day),
    }.get(third, (end.day - 5 if end.day > 30 else end.day - 4, end.day))  # fmt: skip
    if rolls and first.replace(day=stop) < today:
        return month_part(months_on(first, 1), third, today, rolls=False)
    return first.replace(day=start), first.replace(day=stop), None


def next_day_number(number: int, today: date) -> date:
    """The next day of that number; months too short for it are passed over."""
    if not 1 <= number <= 31:
        raise ValueError(number)
    for months in range(4):
        first = months_on(today, months)
        if number <= month_end(first).day and first.replace(day=number) >= today:
            return first.replace(day=number)
    raise ValueError(number)


def month_later(day: date, months: float) -> date:
    whole = months_on(day, int(months))
    same = whole.replace(day=min(day.day, month_end(whole).day))
    return same + timedelta(days=15) if months % 1 else same
