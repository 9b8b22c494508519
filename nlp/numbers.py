"""Numbers as they are said or written: 三百八, 两万三, 2万3, 十来箱, 六十八块五; text evened out (nlp.spoken)."""

import re
from dataclasses import dataclass

from nlp.patterns import regex

_DIGITS = {
    char: value
    for value, chars in enumerate(("零〇", "一幺壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"))
    for char in chars
}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000, "万": 10_000}
_CONTRACTED = (("廿", "二十"), ("卅", "三十"), ("俩", "两"), ("仨", "三"))
_TOKEN = regex(r"\d{1,9}(?:\.\d{1,3})?|[零〇一幺壹二两贰三叁四肆五伍六陆七柒八捌九玖]|[十拾百佰千仟万]")
HANZI_DIGITS = "零〇一幺壹二两贰三叁四肆五伍六陆七柒八捌九玖十拾百佰千仟万廿卅俩仨"
NUMERAL = rf"(?:\d{{1,9}}(?:\.\d{{1,3}})?[{HANZI_DIGITS}]{{0,8}}(?:\d{{1,4}})?|[{HANZI_DIGITS}]{{1,16}})"
"""A run of characters that may be a number; whether it is one is said by `read_number`."""

COUNTERS = ("箱", "包", "瓶", "桶", "盒", "袋", "件", "公斤", "斤", "提", "罐", "托", "板", "扎")
Number = int | float


def read_number(text: str) -> Number | None:
    """The value of a bare numeral, None for a span (二三十) or anything that is not one."""
    for short, long in _CONTRACTED:
        text = text.replace(short, long)
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != text:
        return None
    if not any(token in _UNITS for token in tokens):
        return _without_units(tokens)
    return _with_units(tokens)


def _without_units(tokens: list[str]) -> Number | None:
    if len(tokens) == 1:
        return _digit(tokens[0])
    if not all(token in _DIGITS for token in tokens):
        return None
    values = [_DIGITS[token] for token in tokens]
    if len(values) == 2 and values[1] - values[0] in {1, 2}:  # 两三箱, 三五天: a span, not 23 or 35
        return None
    return int("".join(map(str, values)))


def _with_units(tokens: list[str]) -> Number | None:
    total: Number = 0
    section: Number = 0
    pending: Number | None = None
    last_unit = 0
    after_zero = False
    for token in tokens:
        if token in _UNITS:
            unit = _UNITS[token]
            if unit == 10_000:
                total = (total + section + (pending or 0) or 1) * unit
                section = 0
            else:
                section += (1 if pending is None else pending) * unit
            pending, last_unit, after_zero = None, unit, False
        elif _DIGITS.get(token) == 0:
            after_zero = True
        elif pending is not None:
            return None
        else:
            pending = _digit(token)
    if pending is not None:
        # 三百八 is 380 and 两万三 is 23000, but 三百零八 is 308.
        section += pending * last_unit // 10 if last_unit >= 100 and pending < 10 and not after_zero else pending
    return _tidy(total + section)


def _digit(token: str) -> Number:
    return _DIGITS[token] if token in _DIGITS else _tidy(float(token))


def _tidy(value: float) -> Number:
    return int(value) if value == int(value) else round(value, 3)


@dataclass(frozen=True, slots=True)
class Quantity:
    start: int
    end: int
    value: Number
    unit: str
    about: bool = False


def find_quantities(text: str, units: tuple[str, ...] = COUNTERS) -> list[Quantity]:
    """Every counted quantity (两箱, 半箱, 一箱半, 十来箱, 2 箱); a span such as 两三箱 has no one value: left out."""
    counter = "|".join(sorted(map(re.escape, {*units, *COUNTERS}), key=len, reverse=True))
    pattern = re.compile(
        rf"(?P<half>半)(?P<unit0>{counter})|(?P<number>{NUMERAL})(?P<about>来|多|几)?(?P<unit>{counter})(?!子)(?P<plus>半)?"
    )
    found = []
    for match in pattern.finditer(text):
        if match["half"]:
            found.append(Quantity(match.start(), match.end(), 0.5, match["unit0"]))
            continue
        start, number = match.start(), match["number"]
        if re.fullmatch(r"[一二三四五六七八九]一", number) and re.search(rf"[{HANZI_DIGITS}\d][块元]$", text[:start]):
            # 六十八块五一包: 五 is money.
            start, number = start + 1, number[1]
        value = read_number(number)
        if value is None or value <= 0:
            continue
        if match["plus"]:
            value += 0.5
        found.append(Quantity(start, match.end(), value, match["unit"], bool(match["about"])))
    return found


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in yuan. `bare`: said without 块/元, to be believed only next to words of payment."""

    start: int
    end: int
    value: Number
    bare: bool


_MONEY = regex(
    rf"(?P<whole>{NUMERAL})(?:块钱|块|元)(?:(?P<dime>[一二三四五六七八九\d])(?:毛|角)?(?![十百千万箱包瓶桶盒袋个天]))?"
    rf"|(?P<bare>{NUMERAL})(?P<wan>万元)?"
)
_NOT_MONEY = regex(
    r"(?:月(?!结)|[个天号日点时分年次折箱包瓶桶盒袋件公斤提罐托板扎批家位人来几多楼路%周款条种起样成倍趟])"
)
_SMALLEST_BARE = 100


def find_amounts(text: str) -> list[Amount]:
    """Money in order of appearance: 三块八 = 3.8, 六十八块五 = 68.5, and bare numbers of at least 100."""
    found = []
    for match in _MONEY.finditer(text):
        if match["whole"]:
            value = read_number(match["whole"])
            if value is not None:
                tenth = read_number(match["dime"]) if match["dime"] else 0
                found.append(Amount(match.start(), match.end(), _tidy(value + (tenth or 0) / 10), bare=False))
            continue
        value = read_number(match["bare"])
        if value is None or value < _SMALLEST_BARE or (not match["wan"] and _NOT_MONEY.match(text, match.end())):
            continue
        scale = 10_000 if match["wan"] else 1
        found.append(Amount(match.start(), match.end(), value * scale, bare=not match["wan"]))
    return found
