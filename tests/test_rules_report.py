"""How often each rule was right: the command's table and JSON, and the evening's word to whoever keeps the rules."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from reports.rules_report import rules_report
from rules.confirmations import Settled, Verdict
from rules.limits import Limits
from rules.people import Employee, Role
from rules.visit import Trace, Visit
from scheduler.daily import recurring_pushes
from storage import confirmations, outbox, people, visits
from storage.database import Database
from storage.people import Account
from tests.databases import POSTGRES, WHOLE, database_url, open_migrated

MORNING = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)  # a Monday, 09:00 in 绍兴
EVENING = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)  # 18:30, when the day ends
REP = Employee("E101", "王建", Role.REP, ("柯桥区",), "E002")
DIRECTOR = Employee("E001", "钱总", Role.DIRECTOR, ())
MANAGER = Employee("E002", "吴经理", Role.AREA_MANAGER, ("柯桥区",), "E001")
OPERATIONS = Employee("E008", "何运", Role.OPERATIONS, ())
GONE = Employee("E009", "旧运", Role.OPERATIONS, (), active=False)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "data").mkdir()
    opened = open_migrated(tmp_path / "data", "zoudian.db")
    with opened.work(WHOLE) as work:
        people.save_employees(work, [DIRECTOR, MANAGER, REP])
        for person in (DIRECTOR, MANAGER, REP):
            people.link(work, Account("web", person.code, person.code, person.code), MORNING)
    yield opened
    opened.close()


def hire(database: Database, *staff: Employee) -> None:
    with database.work(WHOLE) as work:
        people.save_employees(work, staff)
        for person in staff:
            people.link(work, Account("web", person.code, person.code, person.code), MORNING)


def judge(database: Database, rule: str, right: int, wrong: int, *, at: datetime = MORNING, field: str = "") -> None:
    """So many visits in which what this rule had proposed was confirmed, and in which it was corrected."""
    field = field or "objections"
    with database.work(WHOLE) as work:
        for number in range(right + wrong):
            visit = Visit(REP.code, at)
            visit_id = visits.add(work, visit, "Asia/Shanghai")
            stored = visits.load(work, visit_id)
            assert stored is not None
            change = visits.keep_change(work, stored, stored, at, None, None)
            verdict, now = (Verdict.CONFIRMED, "price") if number < right else (Verdict.CORRECTED, "terms")
            trace = Trace(rule, f"第{number}句", 0.9)
            confirmations.keep(work, change, at, [Settled(visit_id, REP.code, field, 0, trace, "price", now, verdict)])


def pushed(database: Database) -> list[tuple[str, str]]:
    """(to whom, the keys and values as stored) of every report on rules; the day's alerts fall due too."""
    with database.read(WHOLE) as work:
        found = [(one.chat_ref, json.dumps(one.body, ensure_ascii=False)) for one in outbox.after(work, 0)]
    return [(to, body) for to, body in found if "learning.head" in body]


def zoudian(tmp_path: Path, *arguments: str) -> Result:
    config = tmp_path / "config.toml"
    config.write_text("", encoding="utf-8")
    where = {"ZOUDIAN_DATA__URL": database_url(tmp_path / "data", "zoudian.db")} if POSTGRES else {}
    return CliRunner().invoke(main, ["--config", str(config), *arguments], env=where)


def test_a_field_sums_up_its_rules_and_the_worst_come_first(database: Database) -> None:
    judge(database, "price.said", 9, 1)
    judge(database, "stock.said", 2, 4)
    judge(database, "role", 3, 0, field="contacts")
    with database.read(WHOLE) as work:
        report = rules_report(work)
    assert [(one.rule, one.judged, one.confirmed) for one in report.rules] == [
        ("stock.said", 6, 2),
        ("price.said", 10, 9),
        ("role", 3, 3),
    ]
    assert [one.rule for one in report.weak] == ["stock.said"]
    assert [(one.field, one.confirmed, one.corrected) for one in report.fields] == [
        ("objections", 11, 5),
        ("contacts", 3, 0),
    ]
    assert [one.quote for one in report.mistakes] == ["第5句", "第4句", "第3句"]


def test_a_mistake_that_was_put_right_later_or_taken_back_is_none(database: Database) -> None:
    """By the span: what was put right after it was a mistake in it."""
    judge(database, "stock.said", 2, 5)
    later = MORNING + timedelta(hours=1)
    with database.work(WHOLE) as work:
        for number, verdict in ((6, Verdict.CONFIRMED), (5, Verdict.REMOVED)):
            stored = visits.load(work, number)
            assert stored is not None
            change = visits.keep_change(work, stored, stored, later, None, None)
            trace = Trace("stock.said", "又说", 0.9)
            item = Settled(number, REP.code, "objections", 0, trace, "price", None, verdict)
            confirmations.keep(work, change, later, [item])
        visits.mark_undone(work, 7, later)  # the change of the last visit
    with database.read(WHOLE) as work:
        assert [(one.visit, one.quote) for one in rules_report(work).mistakes] == [
            (5, "又说"),
            (4, "第3句"),
            (3, "第2句"),
        ]
        (counted,) = rules_report(work).rules
        assert (counted.confirmed, counted.corrected, counted.removed) == (3, 2, 1)
        before = confirmations.mistakes(work, "objections", "stock.said", until=later, limit=9)
        assert [one.visit for one in before] == [6, 5, 4, 3]


def test_the_table_names_weak_rules_and_where_they_went_wrong(database: Database, tmp_path: Path) -> None:
    judge(database, "price.said", 9, 1)
    judge(database, "stock.said", 2, 4)
    database.close()
    result = zoudian(tmp_path, "rules", "report")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "33% ! 6 2 4 0 0 客户异议 stock.said" in lines
    assert "90% 10 9 1 0 0 客户异议 price.said" in lines
    assert "69% 16 11 5 0 0 客户异议" in lines
    assert "拜访 #16「第5句」：price → terms" in lines


def test_json_has_the_same_figures(database: Database, tmp_path: Path) -> None:
    judge(database, "stock.said", 2, 4)
    database.close()
    found = json.loads(zoudian(tmp_path, "rules", "report", "--json").stdout)
    assert found["rules"] == [
        {
            "field": "objections",
            "rule": "stock.said",
            "judged": 6,
            "confirmed": 2,
            "corrected": 4,
            "removed": 0,
            "unjudged": 0,
            "precision": 0.3333,
            "weak": True,
        }
    ]
    assert [one["quote"] for one in found["mistakes"]] == ["第5句", "第4句", "第3句"]


def test_since_counts_from_the_beginning_of_that_local_day(database: Database, tmp_path: Path) -> None:
    midnight = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)  # 00:00 of the 23rd in 绍兴
    judge(database, "price.said", 1, 0, at=midnight - timedelta(seconds=1))
    judge(database, "price.said", 1, 1, at=midnight)
    database.close()
    found = json.loads(zoudian(tmp_path, "rules", "report", "--since", "2026-11-23", "--json").stdout)
    assert found["rules"][0]["judged"] == 2
    assert zoudian(tmp_path, "rules", "report", "--since", "上周").exit_code == 2


def test_without_any_confirmation_the_report_says_so(database: Database, tmp_path: Path) -> None:
    database.close()
    result = zoudian(tmp_path, "rules", "report")
    assert (result.exit_code, result.stdout) == (0, "还没有业务员确认过任何一项，没有可以统计的。\n")


# --- the evening ------------------------------------------------------------------------------------------------------


def evening(database: Database, now: datetime = EVENING) -> int:
    """Let the clock tick then; how many reports on rules it brought."""
    recurring_pushes(database, Limits(), MORNING)  # a first start: nothing of the past is owed
    before = len(pushed(database))
    recurring_pushes(database, Limits(), now)
    return len(pushed(database)) - before


def test_in_the_evening_operations_hear_of_weak_rules_once(database: Database) -> None:
    hire(database, OPERATIONS, GONE)
    judge(database, "stock.said", 2, 4)
    judge(database, "price.said", 9, 1)
    assert evening(database) == 1
    ((to, body),) = pushed(database)
    assert to == OPERATIONS.code
    assert "stock.said" in body
    assert "price.said" not in body
    assert evening(database, EVENING + timedelta(minutes=1)) == 0
    assert len(pushed(database)) == 1


def test_where_nobody_is_in_operations_the_director_hears(database: Database) -> None:
    judge(database, "stock.said", 2, 4)
    evening(database)
    assert [to for to, _ in pushed(database)] == [DIRECTOR.code]


def test_no_weak_rule_no_message(database: Database) -> None:
    hire(database, OPERATIONS)
    judge(database, "price.said", 8, 2)
    judge(database, "stock.said", 0, 4)  # too few to say anything
    assert evening(database) == 0


def test_what_went_wrong_long_ago_is_forgiven(database: Database) -> None:
    hire(database, OPERATIONS)
    judge(database, "stock.said", 0, 6, at=MORNING - timedelta(days=31))
    assert evening(database) == 0


def test_not_before_the_day_ends_and_not_on_a_day_off(database: Database) -> None:
    hire(database, OPERATIONS)
    judge(database, "stock.said", 0, 6)
    assert evening(database, EVENING - timedelta(minutes=1)) == 0
    assert evening(database, EVENING) == 1
    sunday = EVENING + timedelta(days=6)
    assert evening(database, sunday - timedelta(days=1)) == 1
    assert evening(database, sunday) == 0


def test_a_push_that_is_too_late_is_left_out(database: Database) -> None:
    hire(database, OPERATIONS)
    judge(database, "stock.said", 0, 6)
    assert evening(database, EVENING + timedelta(hours=13)) == 0
