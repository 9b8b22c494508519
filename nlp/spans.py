"""Parts of weeks and months that need counting: 下月第一个周一, 上半月, 月半, 下周三四, 二十五六号, 12月3日-5日."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise

from nlp.calendar_days import (
    DAY_NUMBER,
    MONTH_NUMBER,
    WEEK,
    WEEKDAYS,
    Days,
    count,
    month_end,
    months_on,
    months_or_weeks_ahead,
    week_days,
)

_LAST_CHANCE = 270
"""Days. A month further away is no appointment."""
_DIGITS = "一二三四五六七八九"
_TWO_IN_ORDER = "|".join(f"{one}{two}" for one, two in pairwise(_DIGITS))
_TWO_WEEKDAYS = "|".join(("一二", "二三", "三四", "四五", "五六", "六日", "六天"))


def _month(name: str) -> str:
    """A month under group names that begin with `name`; 月 alone is this one or the next."""
    return (
        rf"(?<![\d每上个])(?:(?P<{name}_which>下下|下|这|本)个?月|"
        rf"(?P<{name}_number>{MONTH_NUMBER})月份?|月(?=[底末半]))"
    )


SPAN = re.compile(
    "|".join(
        (
            rf"(?P<nth>{_month('nth')}[底末初]?的?(?:第(?P<nth_count>[一二三四])|(?P<nth_last>最后一)|头一)个?"
            rf"(?:{WEEK}(?P<nth_day>[一二三四五六日天])|(?P<nth_week>{WEEK})|(?P<nth_any>[天日])))",
            rf"(?P<half>(?:{_month('half')}的?|(?<![月的一两三四五六七八九十年几这个]))(?P<which_half>[上下前后])半个?月(?![前后内里以之]))",
            r"(?P<mid>(?<![\d每上个一二两三四五六七八九十几半])(?:(?P<mid_which>下下|下|这|本)个?月?)?月半(?![年天个价箱包斤桶袋]))",
            rf"(?P<two_thirds>{_month('thirds')}(?P<thirds>中下旬|上中旬))",
            rf"(?P<half_week>(?P<half_week_which>下下|下|这|本)个?{WEEK}的?(?P<half_week_part>[上下前后])半(?:周|段|个?星期))",
            rf"(?P<weekdays>(?<![每上个])(?P<weekdays_which>下下|下|这|本)?个?{WEEK}"
            rf"(?P<two_days>{_TWO_WEEKDAYS}|[一二三四五六](?:或者?|和|到|至|-)[二三四五六日天])(?![点时十百千箱包个楼号\d]))",
            rf"(?P<two_numbers>(?:{_month('two')}|(?<![\d{_DIGITS}十廿月第]))(?P<tens>二?十|廿)?(?P<units>{_TWO_IN_ORDER})[号日](?![店线楼柜位码仓机门院]))",
            rf"(?P<range>(?<!\d)(?P<range_month>{MONTH_NUMBER})月(?P<range_first>{DAY_NUMBER})[号日]?(?:到|至|-|~|—)"
            rf"(?P<range_last>{DAY_NUMBER})[号日])",
            rf"(?P<whole>(?<![\d{_DIGITS}十])(?P<whole_next>明年)?(?P<whole_number>{MONTH_NUMBER})月份?(?=[我们]*再))",
            r"(?P<tomorrow>(?<![每相])隔[天日](?=(?:我|[早下上晚午])*(?:再|来|送(?!货)|就|给|过去|去))(?![^，。]{0,4}一[次趟回]))",
        )
    )
)


def read_span(said: re.Match[str], today: date) -> Days | None:
    """First and last day of a match of SPAN; None where it has passed. ValueError for a day no month has."""
    if said["tomorrow"]:
        return today + timedelta(days=1), today + timedelta(days=1), None
    if said["half_week"]:
        monday, sunday, _ = week_days(said["half_week_which"], "", today) or (today, today, None)
        middle = monday + timedelta(days=2)
        return (monday, middle, None) if said["half_week_part"] in "上前" else (middle, sunday, None)
    if said["weekdays"]:
        days = week_days(said["weekdays_which"] or "", said["two_days"][0], today)
        apart = WEEKDAYS[said["two_days"][-1]] - WEEKDAYS[said["two_days"][0]]
        return (days[0], days[0] + timedelta(days=apart), None) if days and apart > 0 else None
    if said["range"]:
        month, first, last = (count(said[name]) for name in ("range_month", "range_first", "range_last"))
        return _in_month(None, month, today, lambda start: (start.replace(day=first), start.replace(day=last)))
    if said["two_numbers"]:
        tens = {"十": 10, "二十": 20, "廿": 20}.get(said["tens"] or "", 0)
        number = tens + count(said["units"][0])
        return _in_month(
            said["two_which"],
            _number(said["two_number"]),
            today,
            lambda start: (start.replace(day=number), start.replace(day=number + 1)),
        )
    return _part_of_month(said, today)


def _part_of_month(said: re.Match[str], today: date) -> Days | None:
    if said["nth"]:
        return _in_month(said["nth_which"], _number(said["nth_number"]), today, lambda start: _counted(said, start))
    if said["mid"]:
        return _in_month(said["mid_which"], None, today, lambda start: (start.replace(day=15), start.replace(day=15)))
    if said["half"]:
        early = said["which_half"] in "上前"
        if early and not said["half_which"] and not said["half_number"] and today.day > 15:
            return None  # 上半月要了十箱 tells of the half gone by
        return _in_month(
            said["half_which"],
            _number(said["half_number"]),
            today,
            lambda start: (start, start.replace(day=15)) if early else (start.replace(day=16), month_end(start)),
        )
    if said["whole"]:
        days = _in_month(None, _number(said["whole_number"]), today, lambda start: (start, month_end(start)))
        same_year = days and said["whole_next"] and days[0].year == today.year
        return None if same_year or (days and (days[0] - today).days > _LAST_CHANCE) else days
    early = said["thirds"] == "上中旬"
    return _in_month(
        said["thirds_which"],
        _number(said["thirds_number"]),
        today,
        lambda start: (start, start.replace(day=20)) if early else (start.replace(day=11), month_end(start)),
    )


def _number(month: str | None) -> int | None:
    return count(month) if month else None


def _in_month(
    which: str | None, number: int | None, today: date, days: Callable[[date], tuple[date, date]]
) -> Days | None:
    """`days` of the month named; a month not named rolls on when they have passed."""
    if which:
        starts = [months_on(today, months_or_weeks_ahead(which))]
    elif number:
        starts = [months_on(today, (number - today.month) % 12)]
    else:
        starts = [months_on(today, months) for months in range(2)]
    for start in starts:
        first, last = days(start)
        if today <= last and first <= last:
            return first, last, None
    return None


def _counted(said: re.Match[str], start: date) -> tuple[date, date]:
    """第一个周一, 最后一个周五, 最后一天 of the month that begins with `start`."""
    nth = count(said["nth_count"]) if said["nth_count"] else 1
    end = month_end(start)
    if said["nth_any"]:
        day = end if said["nth_last"] else start + timedelta(days=nth - 1)
        return day, day
    if said["nth_week"]:
        first = end - timedelta(days=6) if said["nth_last"] else start + timedelta(days=7 * (nth - 1))
        return first, first + timedelta(days=6)
    weekday = WEEKDAYS[said["nth_day"]]
    if said["nth_last"]:
        day = end - timedelta(days=(end.weekday() - weekday) % 7)
    else:
        day = start + timedelta(days=(weekday - start.weekday()) % 7 + 7 * (nth - 1))
    return day, day
