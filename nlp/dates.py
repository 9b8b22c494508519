"""When the next meeting is, as a span of days: 下周五上午十点, 月底前, 过两天, 重阳节后, 正月初八.

An own grammar, because no library reads spoken Chinese appointments without being silently wrong now and then:
day, then part of the day, then clock, then 前/后/以内. The result is a window, never a single guessed day; what has
passed rolls forward, and what cannot be an appointment (上周五, a month long gone) gives nothing.
`at` is taken as the firm's local time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nlp.calendar_days import (
    DAY_NUMBER,
    MONTH_NUMBER,
    WEEK,
    Days,
    count,
    month_end,
    month_later,
    month_part,
    months_on,
    months_or_weeks_ahead,
    next_day_number,
    week_days,
)
from nlp.clock import CLOCK, PART, part_is_over, read_clock
from nlp.festivals import FESTIVALS, Festival, lunar_day, next_day, next_span
from nlp.numbers import HANZI_DIGITS, NUMERAL, read_number
from nlp.spans import SPAN, read_span
from nlp.spoken import read_spoken
from rules.windows import Window

_LAST_CHANCE = 270
"""Days. 十月十号 said in late October is history, not an appointment next year."""
_FESTIVAL_AHEAD = 200
"""Days. A festival further away than this is hardly an appointment."""
_SOON = {
    "十来": (10, 15),
    "十几": (11, 15),
    "两": (2, 3),
    "几": (2, 5),
    "两三": (2, 3),
    "三四": (3, 4),
    "三五": (3, 5),
    "四五": (4, 5),
}

_LIKE_NUMBERS = ("五一", "六一")
"""Festivals that are also the end of a number: 两百五一箱."""

_WEEKDAY_GOES_ON = r"(?:[早晚]|[上下中]午|再|之?前|之?后|送[到来]|过来)"
_FESTIVE = (
    r"的?(?:台历|挂历|日历|礼[盒品物包券]|月饼|红包|对联|福利|"
    r"[大小]?活动|促销|大促|特价|政策|套餐|菜单|海报|堆头|卡片|贺卡|年货|备货|粽子|价)"
)
"""What a festival only describes: 新年台历 is no day, 中秋礼盒 none either."""
_FESTIVAL_NAMES = "|".join(
    sorted(
        (name for festival in FESTIVALS for name in festival.names if len(name) > 1 and name not in _LIKE_NUMBERS),
        key=len,
        reverse=True,
    )
)
_DAY = re.compile(
    "|".join(
        (
            r"(?P<iso>20\d\d[-/.年]\d{1,2}[-/.月]\d{1,2}[日号]?)",
            r"(?P<slash>(?<![\d/.月])(?:1[0-2]|0?[1-9])(?:/(?:3[01]|[12]\d|0?[1-9])(?![\d/箱包块元])|"
            r"\.(?:(?:3[01]|[12]\d)(?=[号日早晚前送]|[上下]午|之前|再)|0?[1-9](?=[号日]|再[来去过约谈见联看送]))))",
            r"(?P<near>大后天|大后日|后天|后日|明后天|明天|明日|明朝|明儿|今天|今日|"
            r"今朝|今儿|(?:明|今|后)(?=早上|晚上|早|晚))",
            rf"(?P<past>(?:上上?|前)(?:个)?(?:{WEEK}[一二三四五六日天]?|月(?:{DAY_NUMBER}[号日]|"
            rf"初|底|中旬)?)|昨天|前天)",
            rf"(?P<week>(?P<which>下下|下|这|本)(?:个)?{WEEK}(?P<weekday>[一二三四五六日天末初1-7](?!\d))?)",
            # 七千九百二周一早上 is a Monday, 两周一次 is none.
            rf"(?P<bare_week>(?<![每上个])(?:(?<![一两二三四五六七八九十几\d])|(?<=[周期拜][一二三四五六])|(?={WEEK}.{_WEEKDAY_GOES_ON}))"
            rf"(?:{WEEK}(?P<bare_day>[一二三四五六日天末1-6](?![\d年边])))(?!以来))",
            r"(?P<month>(?P<this>下下|下|这|本)?(?:个)?月(?P<third>[初头]|上旬|中旬|中|下旬|[底末尾]))",
            rf"(?P<next_day>(?P<of>下下|下|这|本)(?:个)?月(?P<its_day>{DAY_NUMBER})[号日])",
            rf"(?P<named>(?P<year>明年|今年)?(?P<number>{MONTH_NUMBER}|元)月份?(?:(?P<part_of>[初头]|"
            rf"上旬|中旬|中|下旬|[底末尾])|(?P<day>{DAY_NUMBER})[号日]?))",
            r"(?P<whole_month>下下?个?月)",
            rf"(?P<only_day>(?<![\d一二三四五六七八九十月第]){DAY_NUMBER})(?:号|(?<=\d)日(?=[上下中]午|[早晚送再来去]|之?前))(?![店线楼柜位码仓机门院])",
            r"(?P<lunar>(?P<lunar_month>正月|腊月|大?年(?=初[二三四五六七八九十](?!后)|廿|二十[四五六七八九]))(?P<lunar_day>初[一二三四五六七八九十]|"
            r"十[一二三四五六七八九]|二十[一二三四五六七八九]?|廿[一二三四五六七八九]?|"
            r"三十))",
            rf"(?P<done>过完|过了)?(?P<festival>(?<![\d{HANZI_DIGITS}])(?:五一|"
            rf"六一)(?=节|前|后|之|以|过|放假|假|期间)|(?:{_FESTIVAL_NAMES}))(?!{_FESTIVE})",
            r"(?P<after_year>过完年|过了年|过年后|年后|年初八后)",
            r"(?P<before_year>(?<![今明去前后每半一两几\d])年前(?!头))",
            r"(?P<year_end>年底|年末)",
            r"(?P<soon>[过隔][个上]?(?P<few>十来|十几|两三|三四|三五|四五|两|几|[三四五六七八九十]|\d{1,2})[天日]|过(?P<some>[一两三四])个?(?P<some_of>月|周|星期|礼拜)|(?P<these>这两天|这几天))",
            rf"(?P<offset>(?P<span>半|一个半|两三|三四|三五|四五|五六|{NUMERAL})(?:个)?(?P<unit>天|"
            rf"日|周|星期|礼拜|月|小时|钟头|分钟)(?:之|以)?(?P<way>后|内|里)(?![天来厨续面]))",
        )
    )
)
_TAIL = re.compile(
    rf"(?:的|那天|左右|前后|期间)?(?P<itself>当天|当日)?(?:(?P<away>(?:之|以)?[前后]|头)(?P<by>[一两三])[天日](?![以之]?[内前后]))?(?:的)?(?P<part>{PART})?(?:的)?(?P<clock>{CLOCK})?(?P<side>(?:之|"
    rf"以)?前(?![天面台])|(?:之|以|过)?后(?!来[^看再谈聊收拿取问找送]|[天厨续面])|(?:之|以)内)?"
)
_THAT_DAY = re.compile(r"(?:那天|那日|那一天|当天|当日|到时候?|那时候?)[的我你，]?\Z")
_PAIRED = (rf"{WEEK}[一二三四五六日天]\Z", r"[号日]\Z")
_JOIN = re.compile(r"(?:到|至|-|~|—|或者是?|或是?|、|和|要么)")
_BARE_RANGE = re.compile(rf"(?P<from>{DAY_NUMBER})号?(?:到|至|-|~|—)(?P<to>{DAY_NUMBER})[号日]")
_BARE_TIME = re.compile(
    rf"(?P<part>{PART})(?:的)?(?P<clock>{CLOCK})|(?<![\d一二三四五六七八九十])(?P<only_clock>{CLOCK})|"
    rf"(?P<only_part>{PART})(?=我?(?:再|就|要|给我?送|送|过来|来|见|"
    rf"联系|答复)(?![了过的]))"
)


@dataclass(frozen=True, slots=True)
class Said:
    """A window and where in the read text it stands."""

    start: int
    end: int
    window: Window


def find_windows(text: str, at: datetime) -> list[Window]:
    """Every appointment said, in order."""
    spoken = read_spoken(text)
    return [said.window for said in find_said(spoken.text, at, spoken.quote)]


def read_window(text: str, at: datetime) -> Window | None:
    """The answer to 什么时候再来: 下周五, ２５号, 12月5日, 12/5, a bare 25, 今天."""
    spoken = read_spoken(text.strip())
    typed = spoken.text.strip("。，！ ")
    slashed = re.fullmatch(r"(\d{1,2})[/.](\d{1,2})", typed)
    if slashed:
        typed = f"{slashed[1]}月{slashed[2]}日"
    elif re.fullmatch(r"\d{1,2}", typed):
        typed += "号"
    said = find_said(
        typed, at, lambda start, end: text.strip() if typed != spoken.text else spoken.quote(start, end), typed=True
    )
    return said[0].window if said else None


def find_said(text: str, at: datetime, quote: Callable[[int, int], str], *, typed: bool = False) -> list[Said]:
    """Windows of an evened-out text with their offsets; `quote` gives the original words of a span.

    `typed`: a bare 今天 counts, because it answers a question; in a note it only tells when the visit was.
    """
    found: list[Said] = []
    days, ranges, times = _Search(_DAY, text), _Search(_BARE_RANGE, text), _Search(_BARE_TIME, text)
    spans = _Search(SPAN, text)
    position = 0
    while position < len(text):
        day = _earlier(spans.after(position), _earlier(ranges.after(position), days.after(position)))
        clock = times.after(position)
        if clock and (day is None or clock.start() < day.start()):
            window = _that_day(found, clock)
            if window is None and not text.endswith("那天", 0, clock.start()):  # of a day gone by
                window = _today_or_tomorrow(clock, at)
            if window:
                found.append(Said(clock.start(), clock.end(), _quoted(window, quote(*clock.span()))))
            position = clock.end()
            continue
        if day is None:
            break
        said = _said_at(day, text, at, typed=typed)
        position = max(day.end(), said.end if said else 0)
        if said is None:
            continue
        joined = _joined(found, said, text, at.date())
        if joined:
            found.pop()
        said = joined or said
        found.append(Said(said.start, said.end, _quoted(said.window, quote(said.start, said.end))))
    return found


class _Search:
    """The next match behind a place, searched again only when the last one lies before it: linear over a text."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._pattern, self._text = pattern, text
        self._match = pattern.search(text)

    def after(self, position: int) -> re.Match[str] | None:
        if self._match and self._match.start() < position:
            self._match = self._pattern.search(self._text, position)
        return self._match


def _earlier(one: re.Match[str] | None, other: re.Match[str] | None) -> re.Match[str] | None:
    """The match that starts first; the first argument among equals."""
    if one and other:
        return one if one.start() <= other.start() else other
    return one or other


def _quoted(window: Window, words: str) -> Window:
    return Window(window.first, window.last, window.time, words)


def _said_at(day: re.Match[str], text: str, at: datetime, *, typed: bool) -> Said | None:
    today = at.date()
    try:
        if day.re is SPAN:
            days = read_span(day, today)
        else:
            days = _range_days(day, today) if day.re is _BARE_RANGE else _days(day, at)
    except (ValueError, OverflowError):
        return None
    if days is None:
        return None
    first, last, time = days
    tail = _TAIL.match(text, day.end())
    end = day.end()
    if tail:
        end = tail.end()
        time = read_clock(tail["part"], tail["clock"]) or time
        side = tail["side"] or ""
        by_clock = bool(tail["clock"]) and days[0] == days[1]  # 周一早上七点前
        if side and not by_clock and not (time and day["near" if day.re is _DAY else 0]):
            first, last = _shifted(first, last, side, today, whole=day.re is _DAY and bool(day["festival"]))
        if tail["by"] or tail["itself"]:
            first, last = _day_beside(day, tail, first, last, today)
    if (
        day.re is _DAY
        and day["near"]
        and first == last == today
        and ((time is None and end == day.end() and not typed) or part_is_over(time, at))
    ):
        return None
    first = max(first, today)
    if last < first:
        return None
    return Said(day.start(), end, Window(first, last, time, ""))


def _day_beside(day: re.Match[str], tail: re.Match[str], first: date, last: date, today: date) -> tuple[date, date]:
    """冬至前一天, 中秋当天: counted from the festival's own day, not from the days off around it; 后 from their end."""
    if day.re is _DAY and day["festival"]:
        own = next_day(_festival_called(day["festival"]), today)
        first = own if own else first
    if not tail["by"]:
        return first, first
    away = timedelta(days=count(tail["by"]))
    only = last + away if "后" in tail["away"] else first - away
    return only, only


def _shifted(first: date, last: date, side: str, today: date, *, whole: bool) -> tuple[date, date]:
    if "前" in side:
        return today, (first - timedelta(days=1) if whole else last)
    if "内" in side:
        return today, last
    return last + timedelta(days=1), last + timedelta(days=7)


def _joined(found: list[Said], said: Said, text: str, today: date) -> Said | None:
    """下周二或者周三, 周三到周五: two neighbours make one window."""
    if not found:
        return None
    side_by_side = (
        found[-1].end == said.start
        and any(  # 周四周五都行, 一号二号都行
            all(re.search(kind, text[one.start : one.end]) for one in (found[-1], said)) for kind in _PAIRED
        )
    )
    if not side_by_side and not _JOIN.fullmatch(text, found[-1].end, said.start):
        return None
    left, right = found[-1].window, said.window
    first, last = right.first, right.last
    if re.match(WEEK, text[said.start :]):  # the second weekday belongs to the week of the first
        monday = left.first - timedelta(days=left.first.weekday())
        first = last = monday + timedelta(days=right.first.weekday())
    if first < left.first or (last - left.first).days > 31 or first < today:
        return None
    return Said(found[-1].start, said.end, Window(left.first, max(left.last, last), right.time or left.time, ""))


def _days(day: re.Match[str], at: datetime) -> Days | None:
    today = at.date()
    if day["near"]:
        ahead = {"大": 3, "后": 2, "今": 0}.get(day["near"][0], 1)
        return today + timedelta(days=ahead), today + timedelta(days=2 if day["near"] == "明后天" else ahead), None
    if day["week"] or day["bare_week"]:
        return week_days(day["which"] or "", day["weekday"] or day["bare_day"] or "", today)
    if day["slash"]:
        month, number = map(int, re.findall(r"\d+", day["slash"]))
        return _month_day(month, number, today)
    if day["iso"]:
        year, month, number = map(int, re.findall(r"\d+", day["iso"])[:3])
        return _whole(date(year, month, number))
    if day["month"]:
        return month_part(
            months_on(today, months_or_weeks_ahead(day["this"] or "")), day["third"], today, rolls=not day["this"]
        )
    if day["next_day"]:
        return _whole(months_on(today, months_or_weeks_ahead(day["of"])).replace(day=count(day["its_day"])))
    if day["named"]:
        return _named_month(day, today)
    if day["whole_month"]:
        first = months_on(today, 2 if day["whole_month"].startswith("下下") else 1)
        return first, month_end(first), None
    if day["only_day"]:
        return _whole(next_day_number(count(day["only_day"]), today))
    return _far_days(day, at)


def _far_days(day: re.Match[str], at: datetime) -> Days | None:
    today = at.date()
    if day["lunar"]:
        return _lunar(day["lunar_month"], day["lunar_day"], today)
    if day["festival"] or day["after_year"] or day["before_year"]:
        return _festival(day, today)
    if day["year_end"]:
        return max(today, date(today.year, 12, 26)), date(today.year, 12, 31), None
    if day["some"]:
        return _offset(day["some"], day["some_of"], "后", at)
    if day["these"]:
        return today, today + timedelta(days=2 if "两" in day["these"] else 3), None
    if day["soon"]:
        least, most = _SOON.get(day["few"]) or (count(day["few"]),) * 2
        return today + timedelta(days=least), today + timedelta(days=most), None
    if day["offset"]:
        return _offset(day["span"], day["unit"], day["way"], at)
    return None


def _whole(day: date) -> Days:
    return day, day, None


def _named_month(day: re.Match[str], today: date) -> Days | None:
    month = 1 if day["number"] == "元" else count(day["number"])
    year = today.year + (1 if day["year"] == "明年" else 0)
    for candidate in (year, year + 1):
        if day["part_of"]:
            first, last, time = month_part(date(candidate, month, 1), day["part_of"], today, rolls=False)
        else:
            number = count(day["day"])
            if number > month_end(date(candidate, month, 1)).day:
                continue  # 2月29号 waits for its leap year
            first, last, time = _whole(date(candidate, month, number))
        if last >= today:
            near = day["year"] or (first - today).days <= _LAST_CHANCE
            return (first, last, time) if near else None
    return None


def _month_day(month: int, number: int, today: date) -> Days | None:
    """5/24: this year's, or next year's when it is long gone; what has just passed is history."""
    for year in (today.year, today.year + 1):
        day = date(year, month, number)
        if day >= today:
            return _whole(day) if (day - today).days <= _LAST_CHANCE else None
    return None


def _range_days(match: re.Match[str], today: date) -> Days | None:
    first, last = next_day_number(count(match["from"]), today), next_day_number(count(match["to"]), today)
    return (first, last, None) if first <= last else None


def _lunar(month: str, number: str, today: date) -> Days | None:
    wanted = count(number.removeprefix("初"))
    for year in (today.year - 1, today.year, today.year + 1):
        first = month == "正月" or (month.endswith("年") and number.startswith("初"))
        day = lunar_day(year, 1 if first else 12, wanted)
        if day >= today:
            return _whole(day) if (day - today).days <= _FESTIVAL_AHEAD else None
    return None


def _festival_called(name: str) -> Festival:
    return next(festival for festival in FESTIVALS if name in festival.names)


def _festival(day: re.Match[str], today: date) -> Days | None:
    name = day["festival"] or "春节"
    days = next_span(_festival_called(name), today)
    if days is None or (days[0] - today).days > _FESTIVAL_AHEAD:
        return None
    first, last = days
    if day["before_year"]:
        return today, first - timedelta(days=1), None
    if day["after_year"] or day["done"]:
        return last + timedelta(days=1), last + timedelta(days=7), None
    return first, last, None


def _offset(span: str, unit: str, way: str, at: datetime) -> Days | None:
    spans: dict[str, tuple[float, float]] = {
        "半": (0.5, 0.5), "一个半": (1.5, 1.5), "两三": (2, 3), "三四": (3, 4),
        "三五": (3, 5), "四五": (4, 5), "五六": (5, 6),
    }  # fmt: skip
    value = read_number(span)
    least, most = spans.get(span) or (float(value or 0),) * 2
    if not 0 < most <= 366:
        return None
    days_each = {"天": 1, "日": 1, "周": 7, "星期": 7, "礼拜": 7}
    if unit in {"小时", "钟头", "分钟"}:
        later = at + timedelta(minutes=most * (1 if unit == "分钟" else 60))
        clock = f"{later:%H:%M}" if way == "后" else None
        return later.date() if way == "后" else at.date(), later.date(), clock
    if unit == "月":
        first, last = (month_later(at.date(), months) for months in (least, most))
    else:
        first, last = (at.date() + timedelta(days=round(many * days_each[unit])) for many in (least, most))
    return (first, last, None) if way == "后" else (at.date(), last, None)


def _that_day(found: list[Said], match: re.Match[str]) -> Window | None:
    """七月十五号修好，那天上午十点: the day said before, with the time said now."""
    if not found or not _THAT_DAY.search(match.string, 0, match.start()):
        return None
    day = found[-1].window
    time = read_clock(match["part"] or match["only_part"], match["clock"] or match["only_clock"])
    return Window(day.first, day.last, time, "") if time and day.first == day.last else None


def _today_or_tomorrow(match: re.Match[str], at: datetime) -> Window | None:
    """下午三点再来: today if that is still ahead. A bare clock that has passed tells of the visit (三点到的)."""
    time = read_clock(match["part"] or match["only_part"], match["clock"] or match["only_clock"])
    if time is None:
        return None
    if part_is_over(time, at):
        if not match["part"] and not match["only_part"]:
            return None
        if not re.match(r"我?(?:再|来|送|过来|见)(?!了)", match.string[match.end() :]):
            return None
        tomorrow = at.date() + timedelta(days=1)
        return Window(tomorrow, tomorrow, time, "")
    return Window(at.date(), at.date(), time, "")
