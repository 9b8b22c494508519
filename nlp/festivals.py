"""Festivals and public holidays as spans of days.

Lunar days come from cnlunardate, published holidays from chinese_calendar. The State Council publishes a year's
holidays only in the autumn before; until then the statutory length counted from the festival itself stands in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import chinese_calendar
from cnlunardate import cnlunardate

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Festival:
    names: tuple[str, ...]
    day: Callable[[int], date]
    """The festival's day in a calendar year."""
    before: int = 0
    after: int = 0
    """Days off before and after the day itself, where nothing is published."""


def _fixed(month: int, day: int) -> Callable[[int], date]:
    return lambda year: date(year, month, day)


def _lunar(month: int, day: int) -> Callable[[int], date]:
    def on(year: int) -> date:
        # The last two lunar months fall into the next solar year.
        return lunar_day(year - 1 if month == 12 else year, month, day)

    return on


def lunar_day(lunar_year: int, month: int, day: int) -> date:
    """Solar date of a lunar day; the 30th of a short month is its 29th. ValueError outside 1900–2100."""
    try:
        solar: date = cnlunardate(lunar_year, month, day).tosolardate()
    except ValueError:
        if day != 30:
            raise
        solar = cnlunardate(lunar_year, month, 29).tosolardate()
    return solar


def _eve(year: int) -> date:
    return lunar_day(year, 1, 1) - _DAY


def _qingming(year: int) -> date:
    # Good from 1900 to 2099 (the usual century constants 5.59 and 4.81).
    short = year % 100
    return date(year, 4, int(short * 0.2422 + (5.59 if year < 2000 else 4.81)) - (short - 1) // 4)


def _winter_solstice(year: int) -> date:
    short = year % 100
    return date(year, 12, int(short * 0.2422 + (22.60 if year < 2000 else 21.94)) - (short - 1) // 4)


# Longer names first: 小年夜 is not 小年.
FESTIVALS = (
    Festival(("春节", "过年", "大年初一", "新年", "年"), _lunar(1, 1), before=1, after=6),
    Festival(("除夕", "年三十", "大年夜", "年夜"), _eve),
    Festival(("元宵节", "元宵"), _lunar(1, 15)),
    Festival(("元旦节", "元旦"), _fixed(1, 1), after=2),
    Festival(("清明节", "清明"), _qingming, after=2),
    Festival(("五一节", "五一", "劳动节"), _fixed(5, 1), after=4),
    Festival(("端午节", "端午"), _lunar(5, 5), after=2),
    Festival(("七夕节", "七夕"), _lunar(7, 7)),
    Festival(("中元节", "七月半"), _lunar(7, 15)),
    Festival(("中秋节", "中秋", "八月半"), _lunar(8, 15), after=2),
    Festival(("国庆节", "国庆", "十一节"), _fixed(10, 1), after=6),
    Festival(("重阳节", "重阳"), _lunar(9, 9)),
    Festival(("双十一",), _fixed(11, 11)),
    Festival(("冬至",), _winter_solstice),
    Festival(("双十二",), _fixed(12, 12)),
    Festival(("平安夜",), _fixed(12, 24)),
    Festival(("圣诞节", "圣诞"), _fixed(12, 25)),
    Festival(("腊八节", "腊八"), _lunar(12, 8)),
    Festival(("小年",), _lunar(12, 23)),
    Festival(("情人节",), _fixed(2, 14)),
    Festival(("妇女节", "三八节"), _fixed(3, 8)),
    Festival(("儿童节", "六一"), _fixed(6, 1)),
)


def span(festival: Festival, year: int) -> tuple[date, date]:
    """First and last day of the festival with the days off around it."""
    day = festival.day(year)
    if not festival.before and not festival.after:
        return day, day
    first, last = day, day
    try:
        if not chinese_calendar.is_holiday(day):
            raise NotImplementedError
        while chinese_calendar.is_holiday(first - _DAY):
            first -= _DAY
        while chinese_calendar.is_holiday(last + _DAY):
            last += _DAY
    except NotImplementedError:
        return day - festival.before * _DAY, day + festival.after * _DAY
    return first, last


def next_span(festival: Festival, today: date, *, ends_after: bool = True) -> tuple[date, date] | None:
    """The coming occurrence (or the one running today), None when the calendar does not reach that far."""
    for year in (today.year, today.year + 1):
        try:
            first, last = span(festival, year)
        except (ValueError, OverflowError):
            return None
        if (last if ends_after else first) >= today:
            return first, last
    return None


def next_day(festival: Festival, today: date) -> date | None:
    """The festival's own day, without the days off around it, this year or next."""
    for year in (today.year, today.year + 1):
        try:
            day = festival.day(year)
        except (ValueError, OverflowError):
            return None
        if day >= today:
            return day
    return None
