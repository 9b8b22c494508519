"""Which days are worked: weekdays, public holidays, and the weekends worked in their stead (调休)."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies

from rules.anomalies import Anomaly, RepDay, findings, run_of_missed_days
from rules.follow_up import waking
from rules.limits import Limits
from rules.work_days import works
from scheduler.daily import alert_trigger, due_times

LIMITS = Limits()
SHANGHAI = ZoneInfo("Asia/Shanghai")
MANY_YEARS = (int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2040, 1, 1, tzinfo=UTC).timestamp()))
MANY_DAYS = strategies.dates(date(2015, 1, 1), date(2060, 12, 31))


@pytest.mark.parametrize(
    ("day", "worked", "why"),
    [
        (date(2026, 9, 30), True, "a Wednesday"),
        (date(2026, 10, 1), False, "国庆节"),
        (date(2026, 10, 7), False, "the last day of the holiday"),
        (date(2026, 10, 10), True, "the Saturday worked for it"),
        (date(2026, 9, 20), True, "a Sunday worked for it"),
        (date(2026, 9, 13), False, "any other Sunday"),
        (date(2026, 2, 17), False, "春节"),
        (date(2049, 10, 1), True, "a Friday: nobody has published 2049 yet"),
    ],
)
def test_the_published_holidays_decide(day: date, worked: bool, why: str) -> None:
    assert works(day, LIMITS) is worked, why


def test_a_firm_whose_reps_work_on_holidays_says_so() -> None:
    own = replace(LIMITS, holidays_off=False)
    assert works(date(2026, 10, 1), own)
    assert not works(date(2026, 9, 20), own), "and then no Sunday is worked for them either"


@given(MANY_DAYS)
def test_a_firm_that_names_no_days_has_no_days_off(day: date) -> None:
    assert works(day, replace(LIMITS, work_days=()))


@given(MANY_DAYS)
def test_without_holidays_the_day_of_the_week_decides(day: date) -> None:
    assert works(day, replace(LIMITS, holidays_off=False)) == (day.weekday() != 6)


def test_on_a_holiday_nobody_is_missed_and_no_run_grows() -> None:
    idle = RepDay("E101", "柯桥区", date(2026, 9, 1), visits=0)
    rules = [found.rule for found in findings(date(2026, 10, 3), [idle], LIMITS)]
    assert Anomaly.NO_VISIT not in rules
    assert Anomaly.NO_VISIT in [found.rule for found in findings(date(2026, 10, 10), [idle], LIMITS)]
    since = replace(idle, since=date(2026, 9, 30))
    assert run_of_missed_days(date(2026, 10, 8), since, LIMITS) == 2, "9-30 and 10-8, with seven days off between"


def test_the_alert_comes_on_the_days_that_are_worked() -> None:
    begin, end = datetime(2026, 9, 19, tzinfo=SHANGHAI), datetime(2026, 10, 12, tzinfo=SHANGHAI)
    days = [at.astimezone(SHANGHAI).date() for at in due_times(alert_trigger(LIMITS), begin, end)]
    everyday = [begin.date() + timedelta(days=number) for number in range(23)]
    assert days == [day for day in everyday if works(day, LIMITS)]
    assert date(2026, 9, 20) in days
    assert date(2026, 10, 1) not in days


@given(
    strategies.integers(MANY_YEARS[0], MANY_YEARS[1]).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    strategies.sampled_from(["Asia/Shanghai", "America/New_York", "Europe/Paris"]),
    strategies.times(time(0, 1), time(23, 59)),
)
def test_the_next_alert_is_on_a_working_day_and_later(now: datetime, zone: str, at: time) -> None:
    limits = replace(LIMITS, time_zone=zone, alert_at=at)
    found = alert_trigger(limits).get_next_fire_time(None, now.astimezone(ZoneInfo(zone)))
    assert found is not None
    assert found >= now
    assert found - now < timedelta(days=12)
    assert works(found.date(), limits)


def test_nobody_is_reminded_on_a_holiday() -> None:
    told = waking(datetime(2026, 10, 1, 10, tzinfo=SHANGHAI), LIMITS)
    assert told == datetime(2026, 10, 8, 8, 30, tzinfo=SHANGHAI)
