"""The time of day: part of the day and clock (下午三点一刻, 十点半, 15:30, 一大早)."""

from datetime import datetime

from nlp.numbers import read_number
from nlp.patterns import regex

_MORNING = ("凌晨", "一大早", "一早", "大清早", "清早", "清晨", "早上", "早晨", "上午", "上半日", "上半天", "早")
_NOON = ("中午", "正午")
_AFTERNOON = ("下午", "午后", "下半日", "下半天")
_EVENING = ("傍晚", "晚上", "晚间", "夜里", "夜到", "夜头", "晚")
PART = "|".join((*_MORNING, *_NOON, *_AFTERNOON, *_EVENING))
_HOUR = r"(?:二十[一二三四]?|十[一二三四五六七八九]?|[一二两三四五六七八九]|2[0-4]|1\d|0?[1-9])"
_MINUTE = r"(?:[二三四五]?十[一二三四五六七八九]?|零[一二三四五六七八九]|[0-5]\d)"
# 一点点 and 一点优惠 are no clocks: a bare 一点 never counts, and 点 must not run on into 点点, 点儿, 点心.
CLOCK = (
    rf"(?:{_HOUR}(?:点钟|点整|时整|点(?![点儿心单菜名意见])|时(?![间候节]))(?:半|"
    rf"[一三]刻|{_MINUTE}分?(?![箱包桶瓶盒袋件块折天个]))?"
    r"|(?:[01]?\d|2[0-4]):[0-5]\d)"
)
_READ = regex(
    rf"(?P<hour>{_HOUR})(?:点钟|点整|时整|点|时)(?P<rest>半|[一三]刻|"
    rf"{_MINUTE})?|(?P<digital>\d{{1,2}}):(?P<minutes>\d\d)"
)
_ENDS = {"morning": 12, "afternoon": 18, "evening": 24}
_FIRST_BUSINESS_HOUR = 7


def read_clock(part: str | None, clock: str | None) -> str | None:
    """A clock such as 15:00, or morning, afternoon, evening, or None.

    Without a part of the day, 1 to 6 o'clock is after noon, because that is when shops are visited.
    """
    if not clock:
        return _part(part)
    match = _READ.match(clock)
    if match is None:
        return _part(part)
    if match["digital"]:
        hour, minute = int(match["digital"]), int(match["minutes"])
    else:
        hour, minute = int(read_number(match["hour"]) or 0), _minutes(match["rest"])
        if not part and hour == 1 and not match["rest"] and clock in {"一点", "1点"}:
            return None
    hour = _of_day(hour, part, digital=bool(match["digital"]))
    return f"{hour:02d}:{minute:02d}" if hour < 24 else _part(part)


def part_is_over(time: str | None, at: datetime) -> bool:
    """Whether that time of the day has passed at `at` (local)."""
    if time is None:
        return False
    if time in _ENDS:
        return at.hour >= _ENDS[time]
    return time <= f"{at:%H:%M}"


def _part(part: str | None) -> str | None:
    if not part:
        return None
    if part in _NOON:
        return "12:00"
    if part in _MORNING:
        return "morning"
    return "afternoon" if part in _AFTERNOON else "evening"


def _minutes(rest: str | None) -> int:
    fixed = {None: 0, "半": 30, "一刻": 15, "三刻": 45}
    if rest in fixed:
        return fixed[rest]
    value = read_number((rest or "").removeprefix("零"))
    return int(value) if value is not None else 0


def _of_day(hour: int, part: str | None, *, digital: bool) -> int:
    if part in _AFTERNOON or part in _EVENING:
        return hour + 12 if hour < 12 else hour
    if part in _NOON:
        return hour + 12 if hour < 4 else hour
    if part is None and not digital and hour < _FIRST_BUSINESS_HOUR:
        return hour + 12
    return hour
