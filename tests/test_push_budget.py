"""What may be pushed on 公众号: 5 in 48 hours after a message, 3 in a minute after a click, as the platform counts."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import push_budget
from storage.database import Database
from tests.databases import WHOLE, open_migrated

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


def left(database: Database, now: datetime, chat: str = "a") -> tuple[int, int, str]:
    with database.read(WHOLE) as work:
        found = push_budget.budget(work, "mp", chat, now)
    return found.message, found.action, found.why


def test_nobody_who_never_wrote_is_pushed_to(database: Database) -> None:
    assert left(database, NOW) == (0, 0, "window")
    with database.work(WHOLE) as work:
        assert push_budget.take(work, "mp", "a", NOW) is None


def test_a_message_opens_five_for_48_hours(database: Database) -> None:
    with database.work(WHOLE) as work:
        push_budget.opened(work, "mp", "a", "message", NOW)
    assert left(database, NOW + timedelta(hours=48, seconds=-1)) == (5, 0, "count")
    assert left(database, NOW + timedelta(hours=48)) == (0, 0, "window")
    assert left(database, NOW, "b") == (0, 0, "window")
    with database.work(WHOLE) as work:
        taken = [push_budget.take(work, "mp", "a", NOW) for _ in range(7)]
    assert taken == ["message"] * 5 + [None, None]
    assert left(database, NOW) == (0, 0, "count")


def test_what_ends_sooner_is_used_first_and_may_be_given_back(database: Database) -> None:
    with database.work(WHOLE) as work:
        push_budget.opened(work, "mp", "a", "message", NOW)
        push_budget.opened(work, "mp", "a", "action", NOW)
        assert push_budget.take(work, "mp", "a", NOW) == "action"
        push_budget.give_back(work, "mp", "a", "action")
    assert left(database, NOW) == (5, 3, "count")
    assert left(database, NOW + timedelta(seconds=60)) == (5, 0, "count")


@pytest.mark.parametrize(("shut", "why"), [(True, "window"), (False, "count")])
def test_the_platform_is_right(database: Database, shut: bool, why: str) -> None:
    with database.work(WHOLE) as work:
        push_budget.opened(work, "mp", "a", "message", NOW)
        push_budget.exhausted(work, "mp", "a", shut=shut)
    assert left(database, NOW) == (0, 0, why)


def test_each_tick_is_used_once_and_a_refusal_ends_them(database: Database) -> None:
    with database.work(WHOLE) as work:
        assert not push_budget.take_grant(work, "mp", "a", "T")
        push_budget.granted(work, "mp", "a", "T", 1)
        push_budget.granted(work, "mp", "a", "T", 1)
        assert [push_budget.take_grant(work, "mp", "a", "T") for _ in range(3)] == [True, True, False]
        push_budget.granted(work, "mp", "a", "T", 1)
        push_budget.granted(work, "mp", "a", "T", 0)
        assert not push_budget.take_grant(work, "mp", "a", "T")


def test_an_answer_is_kept_for_the_repeats_and_not_for_ever(database: Database) -> None:
    with database.work(WHOLE) as work:
        push_budget.keep_answer(work, "mp", "wx1", "msg:1", "甲", NOW)
        push_budget.keep_answer(work, "mp", "wx1", "msg:1", "乙", NOW)
        assert push_budget.kept_answer(work, "mp", "wx1", "msg:1") == "甲"
        assert push_budget.kept_answer(work, "mp", "wx2", "msg:1") is None
        push_budget.keep_answer(work, "mp", "wx1", "msg:2", "丙", NOW + timedelta(hours=2))
        assert push_budget.kept_answer(work, "mp", "wx1", "msg:1") is None


CHATS = itertools.count()
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.integers(0, 3)),
        st.tuples(st.just("action"), st.integers(0, 3)),
        st.tuples(st.just("send"), st.integers(0, 30 * 3600)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_never_more_than_the_platform_allows(database: Database, acts: list[tuple[str, int]]) -> None:
    """Counted apart: no message beyond 5 since the last one within 48 h, nor beyond 3 since the last click."""
    chat, now = f"chat {next(CHATS)}", NOW
    allowed = {"message": (0, NOW), "action": (0, NOW)}
    with database.work(WHOLE) as work:
        for act, seconds in acts:
            now += timedelta(seconds=seconds)
            if act == "message":
                push_budget.opened(work, "mp", chat, "message", now)
                allowed[act] = (5, now + timedelta(hours=48))
            elif act == "action":
                push_budget.opened(work, "mp", chat, "action", now)
                allowed[act] = (3, now + timedelta(minutes=1))
            else:
                open_now = {kind: count for kind, (count, until) in allowed.items() if until > now and count}
                taken = push_budget.take(work, "mp", chat, now)
                assert (taken is not None) == bool(open_now)
                if taken is not None:
                    assert taken in open_now
                    allowed[taken] = (allowed[taken][0] - 1, allowed[taken][1])


def test_several_acts_of_somebody_new_may_come_at_once(database: Database) -> None:
    """As several processes keep them."""
    together = threading.Barrier(6)

    def acts(number: int) -> None:
        together.wait(20)
        with database.work(WHOLE) as work:
            push_budget.opened(work, "mp", "new", "message" if number % 2 else "action", NOW)
            push_budget.granted(work, "mp", "new", "template", 1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(acts, range(6)))
    assert left(database, NOW, "new") == (5, 3, "count")
    with database.work(WHOLE) as work:
        assert [push_budget.take_grant(work, "mp", "new", "template") for _ in range(7)] == [True] * 6 + [False]
