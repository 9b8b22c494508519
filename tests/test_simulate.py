"""The made-up firm: its answers are found, its seed decides all of it, and it goes into an empty database only."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from bot.cli import main
from bot.simulated import firm as firm_plan
from bot.simulated.answers import compare, days_without_a_new_outlet, findings
from bot.simulated.drive import Driven, drive
from bot.simulated.firm import Plan, SimulatedFirm, works_on
from bot.simulated.visits import KINDS, planned
from bot.simulated.writing import steps, write_firm
from rules.people import Employee, Role
from storage import people, simulated, visits
from storage.database import Database
from storage.migrate import differences
from storage.tables import Base
from tests.databases import POSTGRES, WHOLE, database_url, open_migrated, sqlite_only

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SMALL = Plan(reps=12, outlets=60, days=8, visits=5, seed=3, until=date(2026, 11, 20))


def made(folder: Path, plan: Plan = SMALL, name: str = "firm.db") -> tuple[Database, SimulatedFirm]:
    database, firm = open_migrated(folder, name), SimulatedFirm(plan)
    write_firm(database, firm, lambda: NOW, lambda steps: None)
    return database, firm


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Database, SimulatedFirm]]:
    database, firm = made(tmp_path)
    yield database, firm
    database.close()


def simulate(folder: Path, *options: str) -> Result:
    where = ["--database", database_url(folder, "sim.db")] if POSTGRES else ["--into", str(folder / "sim")]
    return CliRunner().invoke(main, ["simulate", *where, *options])


def everything(database: Database) -> dict[str, list[Any]]:
    with database.read(WHOLE) as work:
        return {
            table.name: [tuple(row) for row in work.run(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
        }


def test_the_bot_finds_what_it_must_and_nothing_else(tmp_path: Path) -> None:
    done = simulate(tmp_path, "--reps", "50", "--outlets", "500", "--days", "10", "--check", "--last", "4")
    assert done.exit_code == 0, done.output
    assert "少 0 个，多 0 个" in done.output
    compared = int(done.output.split("核对了 ")[1].split(" ")[0])
    assert compared > 400
    again = simulate(tmp_path, "--check")  # driven once more, over what is there
    assert again.exit_code == 0, again.output
    assert "造好了" not in again.output
    refused = simulate(tmp_path)
    assert refused.exit_code == 2
    assert "已经有一家造好的模拟公司" in refused.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update visit set grade = 'verified' where grade = 'doubtful' and local_day = '2026-11-20'", "doubtful"),
        ("update visit set local_day = '2026-11-19' where rep = 'E00001'", "no_visit"),
        ("update photo set same_as = null", "same_photo"),
        ("update outlet set created_by_visit = null", "no_new_outlet"),
        ("update follow_up set state = 'done'", "overdue"),
        ("update visit set touched_at = opened_at", ""),  # which nothing asks about
        ("update place set lat = lat + 0.1", "grade"),
    ],
)
def test_what_is_wrong_in_the_database_is_missed_or_too_much(tmp_path: Path, change: str, told: str) -> None:
    """The check would notice a bot that finds too little or too much."""
    database, firm = made(tmp_path, Plan(reps=30, outlets=200, days=8, visits=8, seed=5, until=date(2026, 11, 20)))
    with database.work(WHOLE) as work:
        work.run(text(change))
    driven = drive(database, firm, 1, lambda: None)
    missing, extra, _ = compare(database, firm, driven)
    database.close()
    assert any(told in line for line in (*missing, *extra)) if told else not (missing or extra)


def test_the_same_seed_makes_the_same_firm(tmp_path: Path) -> None:
    first, _ = made(tmp_path, name="a.db")
    second, _ = made(tmp_path, name="b.db")
    other, _ = made(tmp_path, Plan(12, 60, 8, 5, 4, date(2026, 11, 20)), name="c.db")
    same, again, different = everything(first), everything(second), everything(other)
    for database in (first, second, other):
        database.close()
    assert same == again
    assert len(same["visit"]) > 300
    assert [row[1:] for row in same["visit"]] != [row[1:] for row in different["visit"]]


def test_the_shape_of_the_database_is_as_it_was(small: tuple[Database, SimulatedFirm]) -> None:
    """Indexes and references that were taken away for writing are there again, and new rows get new numbers."""
    database, _ = small
    assert differences(database) == []
    with database.work(WHOLE) as work:
        newest = max(row[0] for row in work.run(text("select id from visit")))
        added = visits.add(work, visits.load(work, newest) or pytest.fail("no visit"), "Asia/Shanghai")
        assert added > newest


def test_a_visit_is_stored_as_the_bot_stores_it(small: tuple[Database, SimulatedFirm]) -> None:
    database, _ = small
    with database.read(WHOLE) as work:
        numbers = [row[0] for row in work.run(text("select id from visit"))]
        for number, visit in visits.by_ids(work, numbers).items():
            ((_, before, after, undone),) = visits.history(work, number)
            assert (before, undone) == (None, False)
            assert after == visit
            columns = work.run(text("select outlet, outcome from visit where id = :id"), id=number).one()
            assert columns == (visit.outlet, visit.outcome and visit.outcome.value)


def test_a_firm_broken_off_says_so(tmp_path: Path) -> None:
    database = Database(database_url(tmp_path, "sim.db")) if POSTGRES else None
    if database is None:
        (tmp_path / "sim").mkdir()
        database = Database(f"sqlite:///{tmp_path / 'sim' / 'simulated.db'}")
    from storage.migrate import migrate  # noqa: PLC0415

    migrate(database)
    firm, seen = SimulatedFirm(SMALL), 0

    def stop_half_way(done: int) -> None:
        nonlocal seen
        seen += done
        if seen > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_firm(database, firm, lambda: NOW, stop_half_way)
    with database.read(WHOLE) as work:
        there = simulated.simulated(work)
    database.close()
    assert there is not None
    assert not there.complete
    refused = simulate(tmp_path, "--check")
    assert refused.exit_code == 1
    assert "没有写完" in refused.output


def test_progress_ends_at_the_steps_that_were_told(tmp_path: Path) -> None:
    database, firm, done = open_migrated(tmp_path), SimulatedFirm(SMALL), 0

    def count(steps_done: int) -> None:
        nonlocal done
        done += steps_done

    write_firm(database, firm, lambda: NOW, count)
    assert done == steps(database, firm)
    database.close()


def test_a_real_firms_database_is_not_written_to(tmp_path: Path) -> None:
    database = open_migrated(tmp_path, "real.db")
    url = database_url(tmp_path, "real.db")
    with database.work(WHOLE) as work:
        people.save_employees(work, [Employee("E1", "王建", Role.REP, ("柯桥区",))])
    before = everything(database)
    database.close()
    refused = CliRunner().invoke(main, ["simulate", "--reps", "10", "--database", url, "--check"])
    assert refused.exit_code == 2
    assert "只写进空的数据库" in refused.output
    database = open_migrated(tmp_path, "real.db")
    assert everything(database) == before
    database.close()


@sqlite_only
def test_it_says_where_it_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, ["simulate"])
    assert refused.exit_code == 2
    assert "--into" in refused.output
    assert not (tmp_path / "data").exists()
    (tmp_path / "notes.txt").write_text("mine")
    used = CliRunner().invoke(main, ["simulate", "--into", str(tmp_path)])
    assert used.exit_code == 2
    assert "别的文件" in used.output
    few = CliRunner().invoke(main, ["simulate", "--reps", "10", "--outlets", "20", "--into", str(tmp_path / "new")])
    assert few.exit_code == 2
    assert "30" in few.output


def test_nobody_visits_on_public_holidays_and_on_days_off() -> None:
    assert not works_on(date(2026, 10, 1))  # 国庆
    assert not works_on(date(2026, 11, 22))  # a Sunday
    assert works_on(date(2026, 11, 21))  # a Saturday, which this firm works
    firm = SimulatedFirm(Plan(5, 30, 60, 4, 1, date(2026, 11, 20)))
    holiday = firm.days.index(date(2026, 10, 1))
    assert all(planned(firm, rep, holiday)[0] == [] for rep in firm.reps)
    assert all(one[0] == "no_visit" for found in findings(firm, holiday).values() for one in found[:1])


def test_every_kind_of_visit_and_finding_is_in_a_firm_of_some_size() -> None:
    firm = SimulatedFirm(Plan(300, 3000, 12, 8, 1, date(2026, 11, 20)))
    day = firm.plan.days - 1
    kinds = {one.kind for rep in firm.reps for one in planned(firm, rep, day)[0]}
    assert kinds == set(KINDS)
    rules = {one[0] for day in range(12) for found in findings(firm, day).values() for one in found}
    assert rules == {"no_visit", "no_new_outlet", "too_short", "doubtful", "overdue", "same_photo"}
    assert any(rep.left is not None for rep in firm.reps)
    assert any(rep.joined for rep in firm.reps)
    runs = {days_without_a_new_outlet(firm, rep, day) for rep in firm.reps}
    assert 0 in runs
    assert max(runs) >= 5
    assert len({firm.visit_id(d, r, s) for d in range(12) for r in range(300) for s in range(firm.slots)}) == (
        12 * 300 * firm.slots
    )


def test_what_an_earlier_drive_pushed_is_taken_back(small: tuple[Database, SimulatedFirm]) -> None:
    database, firm = small
    first: Driven = drive(database, firm, 2, lambda: None)
    pushed = everything(database)["outbox"]
    second = drive(database, firm, 2, lambda: None)
    assert [step.count for step in first.steps] == [step.count for step in second.steps]
    assert len(everything(database)["outbox"]) == len(pushed) > 0
    assert firm_plan.LIMITS.new_outlets_a_day == 1  # what the answers are made for
