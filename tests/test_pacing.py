"""Limits that a platform enforces by throwing away: kept exactly, whatever is sent when."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.pacing import FORGET_OVER, Window, Windows, calm_moment

LIMITS = (Window(5, 10.0), Window(12, 60.0))


@given(st.lists(st.tuples(st.floats(0, 8), st.integers(1, 3)), max_size=60))
def test_no_window_ever_holds_more_and_nobody_waits_longer_than_needed(steps: list[tuple[float, int]]) -> None:
    now = [0.0]
    windows = Windows(LIMITS, lambda: now[0])
    sent: list[float] = []
    for pause, messages in steps:
        now[0] += pause
        wait = windows.wait("a", messages)
        if wait:
            now[0] += wait * 0.999
            assert windows.wait("a", messages) > 0, "not a moment longer than needed"
            now[0] += wait * 0.001 + 1e-6
        assert windows.wait("a", messages) == 0
        for _ in range(messages):
            windows.take("a")
            sent.append(now[0])
    for limit in LIMITS:
        for at in sent:
            assert sum(at - limit.seconds < other <= at for other in sent) <= limit.count


def test_more_than_a_window_holds_goes_when_it_is_empty() -> None:
    windows = Windows((Window(3, 10.0),), lambda: 0.0)
    assert windows.wait("a", 100) == 0
    windows.take("a")
    assert windows.wait("a", 100) == 10
    assert windows.wait("b", 100) == 0


def test_what_was_sent_before_counts_in_any_order() -> None:
    windows = Windows((Window(2, 10.0),), lambda: 100.0)
    for ago in (4.0, 12.0, 2.0):
        windows.remember("a", ago)
    assert windows.wait("a") == 6.0


def test_chats_at_rest_are_forgotten() -> None:
    now = [0.0]
    windows = Windows((Window(2, 10.0),), lambda: now[0])
    for number in range(FORGET_OVER + 1):
        windows.take(str(number))
    now[0] = 60.0
    windows.take("x")
    assert list(windows._sent) == ["x"]


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
