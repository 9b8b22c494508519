"""今日异常预警: what is told, what is not, and how long a run of days is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.anomalies import Anomaly, Finding, RepDay, findings, run_of_missed_days
from rules.limits import Limits

LIMITS = Limits()
TUESDAY = date(2026, 3, 3)
MONDAY, SUNDAY, SATURDAY = (TUESDAY - timedelta(days=back) for back in (1, 2, 3))
LONG_AGO = date(2025, 1, 1)
BUSY = {TUESDAY - timedelta(days=back): 1 for back in range(60)}


def rep(
    code: str = "R01", district: str = "柯桥区", new: Mapping[date, int] = BUSY, since: date | None = LONG_AGO
) -> RepDay:
    """A rep about whom there is nothing to say, but for what is given."""
    return RepDay(code, district, since, visits=3, new_outlets=new)


def without(*days: date) -> dict[date, int]:
    return {day: 0 if day in days else count for day, count in BUSY.items()}


def told(*days: RepDay, today: date = TUESDAY, limits: Limits = LIMITS) -> list[Finding]:
    return findings(today, days, limits)


def test_the_firms_own_example() -> None:
    """柯桥区3名业务员连续2天未完成新客开发目标"""
    missed = without(TUESDAY, MONDAY)
    reps = [rep("R03", new=missed), rep("R01", new=missed), rep("R02", new=missed), rep("R04"), rep("R05", "越城区")]
    assert told(*reps) == [Finding(Anomaly.NO_NEW_OUTLET, "柯桥区", ("R01", "R02", "R03"), days=2)]


def test_a_district_is_told_with_the_run_all_its_reps_share() -> None:
    """一人三天、一人两天：合起来说连续 2 天"""
    [finding] = told(rep("R01", new=without(TUESDAY, MONDAY, SATURDAY)), rep("R02", new=without(TUESDAY, MONDAY)))
    assert finding.days == 2


def test_two_districts_are_two_lines() -> None:
    missed = without(TUESDAY, MONDAY)
    found = told(rep("R02", "越城区", missed), rep("R01", "柯桥区", missed))
    assert [(item.district, item.reps) for item in found] == [("柯桥区", ("R01",)), ("越城区", ("R02",))]


def test_one_missed_day_is_no_run() -> None:
    assert told(rep(new=without(TUESDAY))) == []


def test_a_missed_yesterday_is_forgiven_by_today() -> None:
    assert told(rep(new=without(MONDAY, SATURDAY))) == []


@pytest.mark.parametrize(
    ("new", "since", "run"),
    [
        (without(TUESDAY), LONG_AGO, 1),
        (without(TUESDAY, MONDAY), LONG_AGO, 2),
        (without(TUESDAY, MONDAY, SATURDAY), LONG_AGO, 3),
        (without(TUESDAY, MONDAY, SUNDAY), LONG_AGO, 2),
        ({}, MONDAY, 2),
        ({}, TUESDAY, 1),
        ({}, TUESDAY + timedelta(days=1), 0),
        ({}, None, 0),
        (BUSY, LONG_AGO, 0),
    ],
    ids=[
        "今天",
        "今天和昨天",
        "周日不算，接着周六",
        "周日本来就休息",
        "昨天才入职",
        "今天才入职",
        "明天才入职",
        "还没开通",
        "天天完成",
    ],
)
def test_the_run_of_missed_working_days(new: Mapping[date, int], since: date | None, run: int) -> None:
    assert run_of_missed_days(TUESDAY, rep(new=new, since=since), LIMITS) == run


@given(st.sets(st.integers(0, 59)), st.integers(0, 59))
def test_a_run_ends_at_the_last_day_the_target_was_met(missed: set[int], newer: int) -> None:
    """和一天一天数出来的一样"""
    new = without(*(TUESDAY - timedelta(days=back) for back in missed))
    since = TUESDAY - timedelta(days=newer)
    counted = 0
    for back in range(newer + 1):
        day = TUESDAY - timedelta(days=back)
        if day.weekday() == 6:
            continue
        if new[day] >= 1:
            break
        counted += 1
    assert run_of_missed_days(TUESDAY, rep(new=new, since=since), LIMITS) == counted


def test_a_firm_without_a_target_is_told_of_none() -> None:
    assert told(rep(new={}), limits=replace(LIMITS, new_outlets_a_day=0)) == []


def test_a_target_of_three_a_day() -> None:
    assert [item.rule for item in told(rep(), limits=replace(LIMITS, new_outlets_a_day=3))] == [Anomaly.NO_NEW_OUTLET]


@pytest.mark.parametrize(
    ("visits", "since", "today", "expected"),
    [
        (0, LONG_AGO, TUESDAY, True),
        (1, LONG_AGO, TUESDAY, False),
        (0, LONG_AGO, SUNDAY, False),
        (0, None, TUESDAY, True),
        (0, TUESDAY + timedelta(days=1), TUESDAY, False),
    ],
    ids=["今天没有拜访", "有一次拜访", "周日休息", "一直没开通", "明天才入职"],
)
def test_no_visit(visits: int, since: date | None, today: date, expected: bool) -> None:
    found = told(replace(rep(since=since), visits=visits), today=today)
    assert (Anomaly.NO_VISIT in [item.rule for item in found]) is expected


@pytest.mark.parametrize(
    ("flag", "rule"),
    [
        (lambda day, visits: replace(day, short_visits=visits), Anomaly.TOO_SHORT),
        (lambda day, visits: replace(day, doubtful_visits=visits), Anomaly.DOUBTFUL),
        (lambda day, visits: replace(day, same_photo_visits=visits), Anomaly.SAME_PHOTO),
    ],
    ids=["拜访过短", "定位存疑", "照片重复"],
)
def test_visits_are_named_with_their_reps(flag: Callable[[RepDay, tuple[int, ...]], RepDay], rule: Anomaly) -> None:
    flagged = [flag(rep("R02"), (12, 14)), rep("R03"), flag(rep("R01"), (9,))]
    assert told(*flagged) == [Finding(rule, "柯桥区", ("R01", "R02"), visits=(9, 12, 14))]


def test_overdue_follow_ups() -> None:
    assert told(rep("R01"), replace(rep("R02"), overdue_follow_ups=2)) == [Finding(Anomaly.OVERDUE, "柯桥区", ("R02",))]


def test_on_a_day_off_work_done_is_still_looked_at() -> None:
    """周日的拜访存疑，照样预警；周日没有拜访，不算异常"""
    busy, idle = replace(rep("R01"), doubtful_visits=(5,)), replace(rep("R02"), visits=0)
    assert [item.rule for item in told(busy, idle, today=SUNDAY)] == [Anomaly.DOUBTFUL]


def test_a_quiet_day_says_nothing() -> None:
    assert told(rep("R01"), rep("R02", "越城区")) == []
    assert told() == []


@given(st.permutations([rep(f"R{at}", district, new={}) for at, district in enumerate("柯越柯上越")]))
def test_the_order_of_the_reps_changes_nothing(days: list[RepDay]) -> None:
    assert findings(TUESDAY, days, LIMITS) == findings(TUESDAY, sorted(days, key=lambda day: day.rep), LIMITS)
