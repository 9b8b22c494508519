"""What comes round: each occurrence once, whatever the clock does, wherever the firm is, however many tick at once."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from rules.limits import Limits
from scheduler.daily import Recurring, alert_trigger, make_due, recurring_pushes
from storage import alerts, outbox, people
from storage.alerts import LATE, MADE
from storage.database import Database, Work
from storage.outbox import Outgoing
from storage.people import Account
from storage.tables.managers import OccurrenceRow
from tests.chatfirm import fresh_firm, played
from tests.databases import WHOLE, database_url, open_migrated

Act = Callable[[Database], object]
LIMITS = replace(Limits(), work_days=(0, 1, 2, 3, 4, 5, 6), alert_at=time(18, 0))
ZONE = ZoneInfo(LIMITS.time_zone)
_number = itertools.count()


def note_down(work: Work, day: date, now: datetime, limits: Limits) -> int:
    """Makes a push that is seen: a row in the outbox for each, also for one that is made twice."""
    key = f"{day} {next(_number)}"
    return int(outbox.queue(work, Outgoing(key, "web", "E002", "notice", {}, now, now)) is not None)


PUSH = Recurring("push", alert_trigger, note_down)


def days_made(database: Database) -> list[str]:
    with database.read(WHOLE) as work:
        return sorted(item.dedupe_key[:10] for item in outbox.after(work, 0))


def occurrences(database: Database, name: str = "push") -> dict[date, str]:
    with database.read(WHOLE) as work:
        rows = work.session.execute(
            select(OccurrenceRow.local_day, OccurrenceRow.outcome)
            .where(OccurrenceRow.schedule == name)
            .order_by(OccurrenceRow.local_day)
        )
        return {day: outcome for day, outcome in rows}


def from_to(first: date, last: date) -> list[date]:
    return [first + timedelta(days=day) for day in range((last - first).days + 1)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_migrated(tmp_path)) as opened:
        yield opened


@pytest.fixture
def both(tmp_path: Path, database: Database) -> Iterator[Callable[[Act], None]]:
    """Lets two schedulers do the same at the same moment: two processes' connections on a server, two threads on
    SQLite, where a second process is kept out.
    """
    other = Database(database_url(tmp_path)) if database.shared else database
    together = threading.Barrier(2)

    def one(act: Act, mine: Database) -> None:
        together.wait(20)
        act(mine)

    with ThreadPoolExecutor(2) as pool:

        def run(act: Act) -> None:
            list(pool.map(partial(one, act), (database, other)))

        yield run
    if other is not database:
        other.close()


@pytest.mark.parametrize(
    ("zone", "at", "begins"),
    [
        ("Europe/Berlin", time(2, 30), date(2026, 10, 23)),  # 02:30 comes twice on the 25th
        ("Europe/Berlin", time(2, 30), date(2027, 3, 26)),  # and not at all on the 28th
        ("America/New_York", time(1, 30), date(2026, 10, 30)),  # 01:30 comes twice on 1 November
        ("America/New_York", time(2, 30), date(2027, 3, 12)),  # and 02:30 not at all on the 14th
        ("Asia/Shanghai", time(18, 30), date(2026, 12, 30)),  # into another year
        ("Asia/Shanghai", time(0, 0), date(2026, 12, 30)),
        ("Europe/Berlin", time(23, 50), date(2026, 12, 30)),
    ],
)
def test_once_a_day_where_clocks_change_and_years_end(
    both: Callable[[Act], None], database: Database, zone: str, at: time, begins: date
) -> None:
    limits = replace(LIMITS, time_zone=zone, alert_at=at)
    there, days = ZoneInfo(zone), from_to(begins, begins + timedelta(days=3))
    make_due(PUSH, database, limits, datetime.combine(days[0], time(0), there) - timedelta(minutes=1))
    for day in days:
        due = datetime.combine(day, at, there).astimezone(UTC)
        for minutes in (-61, -31, -1, 0, 5, 29, 59, 61, 89, 121):
            both(lambda mine, now=due + timedelta(minutes=minutes): make_due(PUSH, mine, limits, now))  # type: ignore[misc]
    assert days_made(database) == [str(day) for day in days]


@pytest.mark.parametrize("minutes", [60, -60, -25 * 60, 24 * 60, -400 * 24 * 60])
@pytest.mark.parametrize("before", [90, 30, 0, -30])
def test_once_a_day_when_the_clock_is_wrong_for_an_hour(
    both: Callable[[Act], None], database: Database, minutes: int, before: int
) -> None:
    """Wrong by so many minutes, beginning so many minutes before the second day's moment; right again after an hour."""
    due = datetime(2026, 11, 24, 18, 0, tzinfo=ZONE)
    wrong = due - timedelta(minutes=before)
    ticks = [due - timedelta(days=1, hours=1), due - timedelta(days=1), wrong]
    ticks += [wrong + timedelta(minutes=minutes + late) for late in (1, 30, 59)]
    ticks += [wrong + timedelta(minutes=61), due + timedelta(hours=2), due + timedelta(days=2)]
    ticks += [max(ticks) + timedelta(hours=1)]
    for now in ticks:
        both(lambda mine, now=now: make_due(PUSH, mine, LIMITS, now))  # type: ignore[misc]
    last = max(ticks).astimezone(ZONE)
    wanted = from_to(date(2026, 11, 23), last.date() - timedelta(days=last.time() < LIMITS.alert_at))
    assert sorted(occurrences(database)) == wanted
    assert days_made(database) == [str(day) for day, outcome in occurrences(database).items() if outcome == MADE]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(-300, 400), min_size=2, max_size=15))
def test_no_day_twice_and_none_left_out_however_the_clock_goes(database: Database, steps: Sequence[int]) -> None:
    """Ticks minutes later or earlier than the one before: in the end every day up to the latest moment is there."""
    one = replace(PUSH, name=f"push {next(_number)}")
    known = len(days_made(database))
    ticks = [datetime(2026, 11, 23, 10, 0, tzinfo=ZONE)]
    for minutes in steps:
        ticks.append(ticks[-1] + timedelta(minutes=minutes))
    for now in (*ticks, max(ticks)):
        make_due(one, database, LIMITS, now)
    found = occurrences(database, one.name)
    last = max(ticks)
    assert set(from_to(ticks[0].date(), last.date() - timedelta(days=last.time() < LIMITS.alert_at))) <= set(found)
    assert len(days_made(database)) - known == list(found.values()).count(MADE)


def test_a_first_start_with_a_clock_that_is_ahead_passes_over_nothing(database: Database) -> None:
    right = datetime(2026, 11, 23, 10, 0, tzinfo=ZONE)
    for now in (right + timedelta(days=365), right, right + timedelta(hours=9)):
        make_due(PUSH, database, LIMITS, now)
    assert days_made(database) == ["2026-11-23"]


def test_a_machine_that_began_in_1970_notes_a_month_at_most(database: Database) -> None:
    for now in (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), datetime(2026, 11, 23, 18, 1, tzinfo=ZONE)):
        make_due(PUSH, database, LIMITS, now)
    found = occurrences(database)
    assert (len(found), list(found.values()).count(LATE)) == (31, 30)
    assert days_made(database) == ["2026-11-23"]


def test_after_a_standstill_what_is_in_time_is_made_and_the_managers_hear_of_the_rest(tmp_path: Path) -> None:
    """Off from Tuesday noon to Friday morning: Thursday's alert is made, the two before are too late."""
    with fresh_firm(tmp_path) as (database, _):
        limits = replace(Limits(), alert_catch_up_hours=16)
        with database.work(WHOLE) as work:
            people.link(work, Account("web", "E002", "E002", "E002"), datetime(2026, 11, 24, 9, 0, tzinfo=ZONE))
        back = datetime(2026, 11, 27, 9, 0, tzinfo=ZONE)
        for now in (datetime(2026, 11, 24, 12, 0, tzinfo=ZONE), back, back + timedelta(seconds=10)):
            recurring_pushes(database, limits, now)
        with database.read(WHOLE) as work:
            said = [item.body["say"] for item in outbox.after(work, 0) if item.chat_ref == "E002"]
            missed = [one for one in alerts.missed(work, back - timedelta(days=7)) if one.schedule == "daily_alert"]
            kept = [alerts.of_day(work, "E002", date(2026, 11, day)) for day in (24, 25, 26)]
    assert [one.due_at.astimezone(ZONE).day for one in missed] == [24, 25]
    assert [len(day) for day in kept] == [0, 0, 1]
    notices = [say for say in said if say["key"] == "alert.missed"]
    assert [say["values"]["days"] for say in notices] == [["11月24日", "11月25日"]]


VISIT = """
at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
rep: 老板要了五箱小酥肉，竞品缺货，解决了出餐慢的问题，明天再来。
rep: 确认
"""


@pytest.mark.parametrize(("hours", "late"), [(0.9, False), (4, True), (6 * 24, True)])
def test_a_reminder_comes_however_late_and_says_so(tmp_path: Path, hours: float, *, late: bool) -> None:
    with played(tmp_path, VISIT) as replay:
        replay.clock = datetime(2026, 11, 24, 9, 0, tzinfo=ZONE) + timedelta(hours=hours)
        replay.move_to(replay.clock)
        (said,) = [one for one in replay.turns[-1].said if one.intent == "reminder"]
    assert "跟进提醒：柯桥老灶台酒家" in said.text
    assert ("本该 11月24日 09:00 提醒您" in said.text) is late
