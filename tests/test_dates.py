"""Appointments said in spoken Chinese become windows of days."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.dates import find_windows, read_window
from nlp.festivals import FESTIVALS, lunar_day, next_span, span
from tests.growth import SQUARE, growth

CHINA = timezone(timedelta(hours=8))
AT = datetime(2026, 11, 18, 10, 0, tzinfo=CHINA)  # a Wednesday


def said(text: str, at: datetime = AT) -> list[tuple[str, str, str | None]]:
    return [(f"{w.first:%m-%d}", f"{w.last:%m-%d}", w.time) for w in find_windows(text, at)]


@pytest.mark.parametrize(
    ("text", "first", "last", "clock"),
    [
        ("下周再约", "11-23", "11-29", None),
        ("下周三下午三点", "11-25", "11-25", "15:00"),
        ("大后天", "11-21", "11-21", None),
        ("月底前", "11-18", "11-30", None),
        ("下个月初", "12-01", "12-05", None),
        ("三天后", "11-21", "11-21", None),
        ("半个月以后", "12-03", "12-03", None),
        ("礼拜五上午", "11-20", "11-20", "morning"),
        ("过两天", "11-20", "11-21", None),
        ("明早九点半", "11-19", "11-19", "09:30"),
        ("下下周一", "11-30", "11-30", None),
        ("周五", "11-20", "11-20", None),
        ("周三", "11-25", "11-25", None),
        ("这周五下午", "11-20", "11-20", "afternoon"),
        ("25号", "11-25", "11-25", None),
        ("２５号", "11-25", "11-25", None),
        ("5号", "12-05", "12-05", None),
        ("十二月五号", "12-05", "12-05", None),
        ("下个月15号上午十点", "12-15", "12-15", "10:00"),
        ("后天晚上八点", "11-20", "11-20", "20:00"),
        ("一个星期后", "11-25", "11-25", None),
        ("两周后", "12-02", "12-02", None),
        ("年底", "12-26", "12-31", None),
        ("下周末", "11-28", "11-29", None),
        ("周日", "11-22", "11-22", None),
        ("下礼拜二十点半", "11-24", "11-24", "10:30"),
        ("月底", "11-26", "11-30", None),
        ("明天中午", "11-19", "11-19", "12:00"),
        ("下午四点", "11-18", "11-18", "16:00"),
        ("半小时后", "11-18", "11-18", "10:30"),
        ("腊月二十三", "01-30", "01-30", None),
        ("春节后", "02-13", "02-19", None),
        ("过完年", "02-13", "02-19", None),
        ("元宵节前", "11-18", "02-19", None),
        ("十一月三十号之前", "11-18", "11-30", None),
        ("三五天以后", "11-21", "11-23", None),
        ("下月中旬", "12-11", "12-20", None),
        ("双十二之前", "11-18", "12-11", None),
        ("下星期一早上8点", "11-23", "11-23", "08:00"),
        ("后天下午两点半", "11-20", "11-20", "14:30"),
        ("十点一刻", "11-18", "11-18", "10:15"),
        ("下周二或者周三", "11-24", "11-25", None),
        ("周四到周五", "11-19", "11-20", None),
        ("25到28号", "11-25", "11-28", None),
        ("三天之内", "11-18", "11-21", None),
        ("明天15:30", "11-19", "11-19", "15:30"),
        ("下週五上午十點", "11-27", "11-27", "10:00"),
        ("冬至前", "11-18", "12-21", None),
        ("正月初八", "02-13", "02-13", None),
    ],
)
def test_one_appointment(text: str, first: str, last: str, clock: str | None) -> None:
    assert said(f"说好{text}再来") == [(first, last, clock)]
    assert find_windows(text, AT)[0].quote in text


@pytest.mark.parametrize(
    "text",
    [
        "他要一点点优惠",
        "有一点贵",
        "上周五送的货",
        "上个月15号签的",
        "昨天来过",
        "三天前",
        "等了三天",
        "账期六十天",
        "今天去了一趟",
        "二号店",
        "两百五一箱",
        "八点五折",
        "十月十号到的货",
        "九月份订的",
        "每周一送货",
        "我一点儿办法没有",
    ],
)
def test_what_is_no_appointment(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "day", "first", "last"),
    [
        ("这周末", 22, "11-22", "11-22"),
        ("月底", 29, "11-29", "11-30"),
        ("本月中旬", 18, "11-18", "11-20"),
        ("这周", 18, "11-18", "11-22"),
    ],
)
def test_a_span_that_has_begun_starts_today(text: str, day: int, first: str, last: str) -> None:
    assert said(f"{text}再来", AT.replace(day=day)) == [(first, last, None)]


def test_the_leap_day_of_next_year() -> None:
    at = datetime(2027, 11, 18, 10, 0, tzinfo=CHINA)
    assert [window.first for window in find_windows("2月29号再来", at)] == [date(2028, 2, 29)]
    assert find_windows("2月29号再来", AT) == []


def test_several_in_order() -> None:
    assert said("明天送货，下周三下午两点再来") == [("11-19", "11-19", None), ("11-25", "11-25", "14:00")]


def test_a_festival_in_the_year_before_the_holidays_are_published() -> None:
    spring = next(festival for festival in FESTIVALS if "春节" in festival.names)
    assert span(spring, 2026) == (date(2026, 2, 15), date(2026, 2, 23))  # as published
    assert span(spring, 2027) == (date(2027, 2, 5), date(2027, 2, 12))  # counted: eve to the seventh day
    assert next_span(spring, date(2100, 12, 31)) is None


def test_the_thirtieth_of_a_short_lunar_month_is_its_last_day() -> None:
    assert lunar_day(2026, 12, 30) == date(2027, 2, 5)
    with pytest.raises(ValueError, match="month"):
        lunar_day(2026, 13, 1)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("下周五", "11-27", "11-27"),
        ("２５号", "11-25", "11-25"),
        ("12月5日", "12-05", "12-05"),
        ("12/5", "12-05", "12-05"),
        ("25", "11-25", "11-25"),
        ("今天", "11-18", "11-18"),
        ("2026-12-05", "12-05", "12-05"),
        ("月底前。", "11-18", "11-30"),
    ],
)
def test_a_typed_answer(text: str, first: str, last: str) -> None:
    window = read_window(text, AT)
    assert window
    assert (f"{window.first:%m-%d}", f"{window.last:%m-%d}") == (first, last)
    assert window.quote in text


@pytest.mark.parametrize("text", ["", "不知道", "32", "13月40日", "以后再说", "2/30"])
def test_a_typed_answer_that_is_no_date(text: str) -> None:
    assert read_window(text, AT) is None


pieces = st.sampled_from(
    [
        "今天",
        "这周末",
        "这周",
        "本月中旬",
        "明天",
        "后天",
        "下周",
        "下下周",
        "周五",
        "礼拜天",
        "星期一",
        "月底",
        "月初",
        "中旬",
        "下个月",
        "十二月",
        "二月",
        "三十号",
        "31号",
        "30号",
        "29号",
        "0号",
        "99号",
        "之前",
        "以后",
        "以内",
        "春节",
        "清明",
        "元旦",
        "国庆",
        "冬至",
        "腊月",
        "正月",
        "初八",
        "三十",
        "三天后",
        "半个月后",
        "一个半月后",
        "两小时后",
        "99天后",
        "0天后",
        "上午",
        "晚上",
        "三点",
        "二十四点",
        "半",
        "一刻",
        "25:61",
        "到",
        "或者",
        "。",
        "再来",
    ]
)
moments = st.datetimes(datetime(2004, 1, 1), datetime(2095, 1, 1), timezones=st.just(CHINA))  # noqa: DTZ001 - given a zone


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=8).map("".join) | st.text(max_size=60), moments)
def test_a_window_never_lies_in_the_past(text: str, at: datetime) -> None:
    for window in find_windows(text, at):
        assert at.date() <= window.first <= window.last
        assert window.quote
        assert window.quote in text


@settings(max_examples=200, deadline=None)
@given(st.dates(date(2020, 1, 1), date(2090, 1, 1)), st.integers(0, 269))
def test_a_written_day_is_read_back(today: date, ahead: int) -> None:
    at = datetime(today.year, today.month, today.day, 9, 0, tzinfo=CHINA)
    day = today + timedelta(days=ahead)
    windows = find_windows(f"{day.month}月{day.day}号再来", at)
    assert [(window.first, window.last) for window in windows] == [(day, day)]


@pytest.mark.parametrize("piece", ["下周", "5", "三", "😀", "月", "明天", "三点", "二十", "或者周三"])
def test_the_cost_of_a_long_text_grows_with_its_length_only(piece: str) -> None:
    assert growth(lambda text: find_windows(text, AT), piece) < SQUARE
