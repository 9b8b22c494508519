"""Limits of the platforms as arithmetic: whatever is sent when, no second and no minute ever holds too much."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels import Rate
from bot.pacing import FORGET_OVER, Buckets, Window, calm_moment, taken, window_wait
from bot.telegram_channel import PACE
from bot.wecom_robot import GROUP_WINDOWS
from bot.wecom_sending import MEMBER_WINDOWS

LIMITS = (Window(5, 10.0), Window(12, 60.0))
PAUSES = st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 100))
RATES = st.builds(Rate, st.floats(0.1, 50), st.integers(1, 10))


@given(RATES, st.lists(st.tuples(PAUSES, st.integers(1, 12)), max_size=80))
def test_no_time_holds_more_than_a_burst_and_its_share(rate: Rate, steps: list[tuple[float, int]]) -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    sent: list[tuple[float, int]] = []
    for pause, messages in steps:
        now[0] += pause
        sent.append((now[0] + buckets.wait("a", rate, messages), messages))
    assert [at for at, _ in sent] == sorted(at for at, _ in sent), "in the order in which they asked"
    for first, (since, at_once) in enumerate(sent):
        count = 0
        too_many = max(0, at_once - rate.burst)  # more together than a burst goes after a rest
        for until, messages in sent[first:]:
            count += messages
            most = too_many + rate.burst + rate.per_second * (until - since)
            assert count <= most * (1 + 1e-9) + 1e-6


@given(RATES, st.lists(st.tuples(PAUSES, st.integers(1, 3)), min_size=1, max_size=40))
def test_nobody_waits_while_there_is_room(rate: Rate, steps: list[tuple[float, int]]) -> None:
    """What was waited for was there no sooner: asked for a moment earlier it would have been too much."""
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    given_out = 0.0  # of a bucket that fills itself, what is in it
    level, at = float(rate.burst), 0.0
    for pause, messages in steps:
        now[0] += pause
        go = now[0] + buckets.wait("a", rate, messages)
        level = min(rate.burst, level + (now[0] - at) * rate.per_second) if now[0] > at else level
        at = max(at, now[0])
        expected = max(0.0, (messages - level) / rate.per_second)
        assert go - now[0] == pytest.approx(expected, abs=1e-6)
        level -= messages
        given_out += messages


def test_the_buckets_let_bursts_pass_and_hold_the_rate() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    assert [buckets.wait("a", Rate(1, 5)) for _ in range(7)] == pytest.approx([0, 0, 0, 0, 0, 1, 2])
    now[0] = 100.0
    assert buckets.wait("a", Rate(1, 5), messages=5) == 0
    assert buckets.wait("a", Rate(1, 5)) == pytest.approx(1.0)
    assert buckets.wait("b", Rate(1, 5)) == 0


@given(RATES, st.lists(st.floats(0, 100), max_size=30))
def test_a_restart_knows_what_went_before_it(rate: Rate, times: list[float]) -> None:
    now = [0.0]
    before = Buckets(lambda: now[0])
    went = []
    for at in sorted(times):
        now[0] = at
        went.append(at + before.wait("a", rate))
    now[0] = restart = max(went, default=0.0)
    after = Buckets(lambda: now[0])
    for at in went:
        after.remember("a", rate, restart - at)
    # Reckoned from when they went rather than when they asked, which is later.
    assert after.wait("a", rate) >= before.wait("a", rate) - 1e-6


def test_buckets_at_rest_are_forgotten() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    for number in range(3 * FORGET_OVER):
        now[0] += 1.0
        buckets.wait(f"chat {number}", Rate(1, 1))
    assert len(buckets._full) <= FORGET_OVER + 1
    assert buckets.wait(f"chat {3 * FORGET_OVER - 1}", Rate(1, 1)) == pytest.approx(1.0)


def test_what_we_allow_ourselves_is_within_what_the_platforms_allow() -> None:
    assert PACE.whole.burst + PACE.whole.per_second <= 30, "a second"
    assert PACE.of("-100200300").burst + 60 * PACE.of("-100200300").per_second <= 20, "a minute, to a group"
    assert PACE.of("501").per_second <= 1
    assert {window.seconds: window.count for window in MEMBER_WINDOWS} == {60.0: 28, 3600.0: 950}, "of 30 and 1,000"
    assert GROUP_WINDOWS[0].count <= 20


@given(st.lists(st.tuples(st.floats(0, 8), st.integers(1, 3)), max_size=60))
def test_no_window_ever_holds_more_and_nobody_waits_a_second_too_long(steps: list[tuple[float, int]]) -> None:
    now = 1_000_000.0
    moments: list[tuple[int, int]] = []
    sent: list[float] = []
    for pause, messages in steps:
        now += pause
        wait = window_wait(moments, LIMITS, now, messages)
        if wait:
            full = any(
                sum(now + wait - 1.001 - limit.seconds < at for at in sent) + messages > limit.count for limit in LIMITS
            )
            assert full, "a second earlier it would have been too much"
            now += wait
        assert window_wait(moments, LIMITS, now, messages) <= 1e-6
        moments = taken(moments, LIMITS, now, messages)
        sent += [now] * messages
        assert len(moments) <= 62
    for limit in LIMITS:
        for at in sent:
            assert sum(at - limit.seconds < other <= at for other in sent) <= limit.count


def test_more_than_a_window_holds_goes_when_it_is_empty() -> None:
    three = (Window(3, 10.0),)
    assert window_wait([], three, 0.0, 100) == 0
    assert window_wait(taken([], three, 0.5, 1), three, 0.5, 100) == 10.5


def test_a_clock_that_is_put_back_holds_nothing_up_for_long() -> None:
    two = (Window(2, 10.0),)
    moments = taken([], two, 5000.0, 1)
    moments = taken(moments, two, 100.0, 1)
    assert moments == [(100, 2)] or moments == [(100, 1), (100, 1)]
    assert window_wait(moments, two, 100.0) <= math.ceil(two[0].seconds) + 1


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)), st.text(max_size=10))  # noqa: DTZ001
def test_a_calm_moment_is_near_and_away_from_the_half_hours(now: datetime, key: str) -> None:
    calm = calm_moment(now, key)
    assert now <= calm <= now + timedelta(minutes=17)
    past = calm - calm.replace(minute=0, second=0, microsecond=0)
    assert all(abs(past - timedelta(minutes=half)) >= timedelta(minutes=3) for half in (0, 30, 60))
    assert calm_moment(calm, key) == calm


def test_people_do_not_all_get_it_at_the_same_moment() -> None:
    now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    assert len({calm_moment(now, f"E{number}") for number in range(50)}) > 40
