"""待办: when one is made, when the rep is reminded, and how it ends. Mostly Monday 2026-03-02, in 绍兴."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.follow_up import (
    FollowUp,
    TodoState,
    finish,
    lose,
    made_without_asking,
    overdue,
    postpone,
    remind_at,
    waking,
)
from rules.limits import Limits
from rules.windows import Window
from rules.work_days import works

LIMITS = Limits()
ZONE = ZoneInfo("Asia/Shanghai")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(ZONE))  # noqa: DTZ001 - bounds
TIMES = st.one_of(
    st.none(), st.sampled_from(["morning", "afternoon", "evening"]), st.times().map(lambda clock: f"{clock:%H:%M}")
)


def at(text: str) -> datetime:
    """ "03-02 10:00" of 2026 in 绍兴."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=ZONE)


def window(first: str, last: str | None = None, clock: str | None = None) -> Window:
    return Window(date.fromisoformat(f"2026-{first}"), date.fromisoformat(f"2026-{last or first}"), clock, "原话")


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, datetime]:
    """A window that begins up to ten days before `now` or forty after, and is up to forty days long."""
    now = draw(MOMENTS)
    first = now.date() + timedelta(days=draw(st.integers(-10, 40)))
    last = first + timedelta(days=draw(st.integers(0, 40)))
    return Window(first, last, draw(TIMES), "原话"), now


def in_working_hours(moment: datetime) -> bool:
    local = moment.astimezone(ZONE)
    return works(local.date(), LIMITS) and in_hours(moment)


def in_hours(moment: datetime) -> bool:
    return time(8, 30) <= moment.astimezone(ZONE).time() <= time(18, 30)


# --- 超过 25 分钟且说了下周再约 ---


@pytest.mark.parametrize(
    ("minutes", "seconds", "again", "made"),
    [(25, 0, True, False), (25, 1, True, True), (24, 59, True, False), (90, 0, False, False), (90, 0, True, True)],
    ids=["25:00 不建", "25:01 建", "24:59 不建", "没说下周再约不建", "一个半小时建"],
)
def test_strictly_longer_than_25_minutes(minutes: int, seconds: int, again: bool, made: bool) -> None:
    assert made_without_asking(timedelta(minutes=minutes, seconds=seconds), again, LIMITS) is made


# --- 什么时候提醒 ---


@pytest.mark.parametrize(
    ("promised", "now", "reminded"),
    [
        (window("03-04", clock="15:00"), "03-02 10:00", "03-04 14:00"),
        (window("03-04", clock="morning"), "03-02 10:00", "03-04 08:30"),
        (window("03-04", clock="afternoon"), "03-02 10:00", "03-04 13:00"),
        (window("03-04", clock="evening"), "03-02 10:00", "03-04 17:00"),
        (window("03-04", clock="21:00"), "03-02 10:00", "03-04 18:30"),
        (window("03-04", clock="08:30"), "03-02 10:00", "03-03 18:30"),
        (window("03-04", clock="07:00"), "03-02 10:00", "03-03 18:30"),
        (window("03-08", clock="10:00"), "03-02 10:00", "03-07 18:30"),
        (window("03-02", clock="15:00"), "03-02 14:20", "03-02 14:20"),
        (window("03-04"), "03-02 10:00", "03-04 09:00"),
        (window("03-08"), "03-02 10:00", "03-07 18:30"),
        (window("03-09", "03-15"), "03-02 10:00", "03-09 09:00"),
        (window("03-08", "03-10"), "03-02 10:00", "03-09 09:00"),
        (window("03-02", "03-31"), "03-02 10:00", "03-30 09:00"),
        (window("03-02", "03-30"), "03-02 10:00", "03-28 09:00"),
        (window("03-06", "03-07"), "03-06 10:00", "03-07 09:00"),
        (window("03-07", "03-09"), "03-07 10:00", "03-09 09:00"),
        (window("03-02"), "03-02 08:00", "03-02 09:00"),
        (window("03-02"), "03-02 10:00", "03-02 10:00"),
        (window("02-02"), "03-02 10:00", "03-02 10:00"),
        (window("02-02"), "03-02 22:00", "03-03 08:30"),
    ],
    ids=[
        "周三下午三点：提前一小时",
        "周三上午：不早于上班",
        "周三下午",
        "周三傍晚",
        "周三晚上九点：当天下班前",
        "周三八点半：前一天下班前",
        "周三早上七点：前一天下班前",
        "周日上午十点：周六下班前",
        "四十分钟以后：马上",
        "周三：当天早上",
        "周日：周六下班前",
        "下周：周一早上",
        "周日到周二：周一早上",
        "月底前：提前一天",
        "月底前，前一天是周日：周六",
        "这两天，周五说的：周六早上，不是马上",
        "周六说的三天内：周一早上",
        "今天，还没到九点",
        "今天，已过九点：马上",
        "早就过了：马上",
        "早就过了，夜里说的：明早",
    ],
)
def test_when_the_rep_is_reminded(promised: Window, now: str, reminded: str) -> None:
    assert remind_at(promised, at(now), LIMITS) == at(reminded)


@given(windows())
def test_a_reminder_is_never_in_the_past_nor_at_night(promise: tuple[Window, datetime]) -> None:
    promised, now = promise
    reminded = remind_at(promised, now, LIMITS)
    assert reminded >= now
    assert in_hours(reminded)


@given(windows())
def test_nobody_is_reminded_on_a_day_off_unless_it_would_come_too_late(promise: tuple[Window, datetime]) -> None:
    promised, now = promise
    reminded = remind_at(promised, now, LIMITS)
    ends = datetime.combine(promised.last + timedelta(days=1), time(0), ZONE)
    assert in_working_hours(reminded) or waking(now, LIMITS) >= reminded < ends


@pytest.mark.parametrize(
    ("promised", "now", "reminded"),
    [
        (window("10-04", clock="09:30"), "10-03 15:00", "10-04 08:30"),
        (window("10-04"), "10-03 15:00", "10-04 09:00"),
        (window("10-03", clock="17:00"), "10-03 15:00", "10-03 16:00"),
        (window("10-09"), "10-03 15:00", "10-09 09:00"),
        (window("10-04", clock="09:30"), "09-29 15:00", "09-30 18:30"),
    ],
    ids=["国庆里说明天九点半", "国庆里说明天", "国庆里说下午五点", "国庆里说节后", "节前说国庆里：节前下班前"],
)
def test_on_a_holiday_only_who_works_on_it_is_reminded(promised: Window, now: str, reminded: str) -> None:
    assert remind_at(promised, at(now), LIMITS) == at(reminded)


@given(windows())
def test_a_reminder_comes_before_it_is_too_late_wherever_it_can(promise: tuple[Window, datetime]) -> None:
    """只要约定结束以前还有上班时间，就不会等到错过了才提醒"""
    promised, now = promise
    reminded = remind_at(promised, now, LIMITS)
    ends = datetime.combine(promised.last + timedelta(days=1), time(0), ZONE)
    if waking(now, LIMITS) < ends:
        assert reminded < ends


@given(windows())
def test_a_reminder_lies_in_the_window_wherever_that_has_a_working_day_ahead(promise: tuple[Window, datetime]) -> None:
    promised, now = promise
    reminded = remind_at(replace(promised, time=None), now, LIMITS).date()
    length = (promised.last - promised.first).days + 1
    ahead = [day for at in range(length) if (day := promised.first + timedelta(days=at)) > now.date()]
    if any(works(day, LIMITS) for day in ahead):
        assert promised.first <= reminded <= promised.last


@given(windows(), st.sampled_from([UTC, ZoneInfo("America/New_York")]))
def test_the_zone_of_the_clock_changes_nothing(promise: tuple[Window, datetime], other: tzinfo) -> None:
    promised, now = promise
    assert remind_at(promised, now.astimezone(other), LIMITS) == remind_at(promised, now, LIMITS)


# --- 休息时间 ---


@pytest.mark.parametrize(
    ("moment", "woken"),
    [
        ("03-02 08:29", "03-02 08:30"),
        ("03-02 08:30", "03-02 08:30"),
        ("03-02 18:30", "03-02 18:30"),
        ("03-02 18:31", "03-03 08:30"),
        ("03-07 18:31", "03-09 08:30"),
        ("03-08 10:00", "03-09 08:30"),
    ],
    ids=["早了", "上班", "下班", "下班以后", "周六晚上等到周一", "周日等到周一"],
)
def test_nobody_is_disturbed_after_work_or_on_sunday(moment: str, woken: str) -> None:
    assert waking(at(moment), LIMITS) == at(woken)


@given(MOMENTS)
def test_waking_is_the_first_working_moment(moment: datetime) -> None:
    woken = waking(moment, LIMITS)
    assert woken >= moment
    assert in_working_hours(woken)
    if woken > moment:
        assert not in_working_hours(moment)
        assert not in_working_hours(woken - timedelta(microseconds=1))
    assert waking(woken, LIMITS) == woken


def test_a_firm_that_names_no_working_days_works_every_day() -> None:
    assert waking(at("03-08 10:00"), replace(LIMITS, work_days=())) == at("03-08 10:00")


# --- 完成、推迟、丢单 ---


def todo(promised: Window | None = None) -> FollowUp:
    promised = promised or window("03-04")
    return FollowUp("R01", "C001", 1, promised, at("03-04 09:00"), "送样品", reminded_at=at("03-04 09:00"))


@pytest.mark.parametrize(("end", "state"), [(finish, TodoState.DONE), (lose, TodoState.LOST)], ids=["完成", "丢单"])
def test_one_tap_ends_it(end: Callable[[FollowUp, datetime], FollowUp], state: TodoState) -> None:
    ended = end(todo(), at("03-04 10:00"))
    assert (ended.state, ended.ended_at) == (state, at("03-04 10:00"))
    assert not overdue(ended, date(2027, 1, 1))


@pytest.mark.parametrize(
    ("now", "day"), [("03-04 10:00", "03-05"), ("03-07 10:00", "03-09")], ids=["推迟到明天", "周六推迟到周一"]
)
def test_postponed_to_the_next_working_day_and_reminded_again(now: str, day: str) -> None:
    later = postpone(todo(), at(now), LIMITS)
    assert later.remind_at == at(f"{day} 09:00")
    assert later.window.first == later.window.last == later.remind_at.date()
    assert later.reminded_at is None
    assert later.postponed == 1
    assert later.state is TodoState.OPEN


def test_postponed_to_the_day_the_rep_said() -> None:
    later = postpone(todo(), at("03-04 10:00"), LIMITS, window("03-10", clock="15:00"))
    assert later.remind_at == at("03-10 14:00")
    assert postpone(later, at("03-10 14:00"), LIMITS).postponed == 2


@given(MOMENTS)
def test_postponing_always_moves_it_to_a_later_day(now: datetime) -> None:
    later = postpone(todo(), now, LIMITS)
    assert later.remind_at.date() > now.date()
    assert in_working_hours(later.remind_at)


@pytest.mark.parametrize(
    ("today", "state", "late"),
    [
        ("03-04", TodoState.OPEN, False),
        ("03-05", TodoState.OPEN, True),
        ("03-05", TodoState.DONE, False),
        ("03-05", TodoState.VOID, False),
    ],
    ids=["当天不算逾期", "第二天逾期", "完成了", "撤销了"],
)
def test_overdue_from_the_day_after(today: str, state: TodoState, late: bool) -> None:
    assert overdue(replace(todo(), state=state), date.fromisoformat(f"2026-{today}")) is late
